"""A build with a service role: an SDK's question is answered inside of it, and nowhere else, as long as it runs."""

from __future__ import annotations

import json
import re
import urllib.error
import urllib.request
from collections.abc import Callable

import pytest

from tests.fakes.sts import sts_service
from tests.fakes.vault import vault_service
from tests.journey.cloud import ACCOUNT, CREDENTIALS, Cloud
from tests.journey.daemon import Daemon, Json, buildspec, failure
from tests.journey.waiting import until

pytestmark = pytest.mark.docker

ROLE = f"arn:aws:iam::{ACCOUNT}:role/service-role/web-build"
ASK = (
    'wget -q -O "$1" --header "Authorization: $AWS_CONTAINER_AUTHORIZATION_TOKEN" --header "Accept: application/json" '
    '"$AWS_CONTAINER_CREDENTIALS_FULL_URI"'
)
WAITS = "until [ -e $CODEBUILD_SRC_DIR/{0} ]; do sleep 0.05; done"
TELLS = 'echo "$AWS_CONTAINER_CREDENTIALS_FULL_URI $AWS_CONTAINER_AUTHORIZATION_TOKEN" > told; mv told there'


def ask(uri: str, token: str) -> tuple[int, Json]:
    """Ask as an SDK does; return status and document."""
    request = urllib.request.Request(uri, headers={"Authorization": token, "Accept": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read())


def told(daemon: Daemon, build: Json) -> tuple[str, str]:
    """Return address and token, which the build writes into its workspace."""
    file = daemon.workspace(build) / "there"
    until(file.exists, f"address and token of {build['id']}: {daemon.said()[-2000:]}", 120)
    uri, token = file.read_text().split()
    return uri, token


def project(daemon: Daemon, image: str, network: str, role: str = ROLE) -> str:
    """Make a project whose build asks twice, and waits ahead of the second question."""
    script = f"ask() {{ {ASK}; }}; ask first; {TELLS}; {WAITS.format('go')}; ask second; cat first second"
    return daemon.inline(
        image,
        script,
        "echo masked $AWS_CONTAINER_AUTHORIZATION_TOKEN",
        "echo metadata disabled is $AWS_EC2_METADATA_DISABLED",
        serviceRole=role,
        agent={"network": network},
        environment={"environmentVariables": [{"name": "AWS_ACCESS_KEY_ID", "value": "AKIASTRAY"}]},
    )


def test_each_build_gets_its_role_with_a_token_of_its_own_across_the_death_of_the_daemon(
    new_daemon: Callable[..., Daemon], aws: Cloud, busybox: str
) -> None:
    daemon = new_daemon(environment=aws.environment, settings={"builds": {"max_concurrent": 4}}).start()
    builds = {network: daemon.ask(project(daemon, busybox, network)) for network in ("host", "bridge", "none")}
    passes = {network: told(daemon, build) for network, build in builds.items()}
    other = daemon.ask(project(daemon, busybox, "host"))
    (uri, token), (other_uri, other_token) = passes["host"], told(daemon, other)

    status, document = ask(uri, token)
    assert (status, document["RoleArn"], document["AccountId"]) == (200, ROLE, ACCOUNT)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", document["Expiration"])
    assert ask(uri, other_token)[0] == 403, "the token of another build"
    assert ask(other_uri, token)[0] == 403, "the token of another build"
    assert ask(uri, "")[0] == 403, "no token"
    assert ask(uri, passes["bridge"][1])[0] == 403, "the token of a build in another network"

    assert daemon.process is not None
    daemon.process.kill()
    daemon.process.wait(30)
    daemon.start()
    assert until(lambda: _answered(uri, token), "an answer at the same address")["RoleArn"] == ROLE
    for build in (*builds.values(), other):
        (daemon.workspace(build) / "go").touch()
    for network, build in [*builds.items(), ("host", other)]:
        ended = daemon.ended(build)
        log = daemon.text(ended)
        assert ended["buildStatus"] == "SUCCEEDED", f"{network}: {log}\n{daemon.said()[-3000:]}"
        assert log.count(f'"RoleArn": "{ROLE}"') == 2, f"{network}: {log}"
        assert "masked ***" in log
        assert "metadata disabled is true" in log
        assert (
            f"warning: AWS_ACCESS_KEY_ID is set for this build: SDKs heed it, and not the credentials of {ROLE}" in log
        )
        assert passes[network][1] not in log
    assert ask(uri, token)[0] == 403, "its build has ended"
    files = [file for file in daemon.place.rglob("*") if file.is_file()]
    kept = [file for file in files if any(one.encode() in file.read_bytes() for _, one in passes.values())]
    assert kept == [], f"tokens on the disk, of {len(files)} files"


def _answered(uri: str, token: str) -> Json | None:
    try:
        status, document = ask(uri, token)
    except OSError:
        return None
    return document if status == 200 else None


def test_a_role_that_may_not_be_assumed_ends_the_build_and_one_that_may_reads_its_variables(
    new_daemon: Callable[..., Daemon], aws: Cloud, busybox: str
) -> None:
    with sts_service() as sts, vault_service() as vault:
        sts.denies = True
        vault.opens, vault.values = "ASIAFAKE", {"/web/password": "parameter-1", "web/key": '{"key": "secret-1"}'}
        daemon = new_daemon(environment={**aws.environment, **sts.environment, **vault.environment}).start()
        refused = daemon.build(daemon.inline(busybox, "echo never", serviceRole=ROLE))
        assert failure(refused)[:2] == ("PROVISIONING", "ROLE_REFUSED"), refused
        log = daemon.text(refused)
        assert f"serviceRole {ROLE} cannot be assumed: AccessDenied" in failure(refused)[2]
        assert '"Principal": {"AWS": "arn:aws:iam::123456789012:role/buildspecd-host"}' in log
        assert f':project/{refused["projectName"]}"' in log, "the external id"
        assert "never" not in log
        assert "sts:TagSession" in daemon.cli("show", refused["id"]).stdout.decode()
        daemon.assert_nothing_left(refused)

        sts.denies = False
        variables = [
            {"name": "PASSWORD", "value": "/web/password", "type": "PARAMETER_STORE"},
            {"name": "KEY", "value": "web/key:key", "type": "SECRETS_MANAGER"},
        ]
        members = {"agent": {"network": "none"}, "environment": {"environmentVariables": variables}}
        says = '[ "$PASSWORD $KEY" = "parameter-1 secret-1" ]'
        sts.down = True
        begun = daemon.ask(daemon.inline(busybox, says, ASK.replace("$1", "-"), serviceRole=ROLE, **members))
        until(lambda: sts.turned_away, "the first question", 120)
        sts.down = False
        green = daemon.ended(begun)
        assert green["buildStatus"] == "SUCCEEDED", daemon.text(green)
        assert f'"RoleArn": "{ROLE}"' in daemon.text(green)
        assert sts.asked[-1]["RoleSessionName"] == green["id"].partition(":")[2]
        key, session = f"ASIAFAKE{len(sts.asked):08}", f"session-{len(sts.asked)}"
        reads = ("AmazonSSM.GetParameters", "secretsmanager.GetSecretValue")
        assert sorted(vault.asked) == [(read, key, session) for read in reads], "as the role, and never as the host"

        doctor = json.loads(daemon.cli("doctor", "--json", "--project", green["projectName"]).stdout)
        seen = [
            check["status"] for check in doctor["checks"] if check["name"] == f"variables of {green['projectName']}"
        ]
        assert seen == ["ok", "ok"], doctor
        asked = [check for check in doctor["checks"] if check["name"].startswith("permission Read")]
        assert asked == [], f"nothing that the host itself has to be allowed: {asked}"
        assert all(who.startswith("ASIAFAKE") for _, who, _ in vault.asked)

        alone = daemon.build(daemon.inline(busybox, says, environment=members["environment"]))
        assert "AccessDeniedException" in failure(alone)[2], f"the host's own keys open nothing here: {alone}"
        assert vault.asked[-1][1] == CREDENTIALS["AWS_ACCESS_KEY_ID"]


def test_a_local_build_says_that_it_does_not_assume_the_role(new_daemon: Callable[..., Daemon], busybox: str) -> None:
    daemon = new_daemon()
    tree = daemon.place / "tree"
    tree.mkdir()
    (tree / "buildspec.yml").write_text(buildspec('echo "uri is <$AWS_CONTAINER_CREDENTIALS_FULL_URI>"'))
    (daemon.projects / "web.json").write_text(
        json.dumps(
            {
                "name": "web",
                "source": {"type": "GIT", "location": "https://git.example.com/web.git"},
                "artifacts": {"type": "NO_ARTIFACTS"},
                "environment": {"type": "LINUX_CONTAINER", "image": busybox, "computeType": "BUILD_GENERAL1_SMALL"},
                "serviceRole": ROLE,
            }
        )
    )
    done = daemon.cli("run", str(tree), "--project", "web")
    said = done.stdout.decode() + done.stderr.decode()
    assert f"warning: serviceRole {ROLE} is not assumed by a local build" in said
    assert "uri is <>" in said
