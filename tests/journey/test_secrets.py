"""Promise 8: values from Parameter Store and Secrets Manager reach the build, and nobody else."""

from __future__ import annotations

import json
import subprocess
import uuid
from collections.abc import Iterable
from pathlib import Path

import pytest

from tests.images import docker
from tests.journey.cloud import Cloud
from tests.journey.daemon import Daemon, Json, buildspec, failure
from tests.journey.waiting import until

pytestmark = pytest.mark.docker


class Vault:
    """Secrets of one story: what they are called, and what nobody may see."""

    def __init__(self, aws: Cloud) -> None:
        unique = uuid.uuid4().hex[:12]
        self.plain, self.secure = f"plain-{unique}-value", f"secure-{unique}-value"
        self.whole, self.member = f"whole-{unique}-value", f"member-{unique}-value"
        self.older, self.lines = f"older-{unique}-value", f"first-{unique}\nsecond-{unique}"
        self.name = f"journey-{unique}"
        ssm, secrets = aws.client("ssm"), aws.client("secretsmanager")
        ssm.put_parameter(Name=f"/{self.name}/plain", Value=self.plain, Type="String")
        ssm.put_parameter(Name=f"/{self.name}/secure", Value=self.secure, Type="SecureString")
        secrets.create_secret(Name=f"{self.name}-whole", SecretString=self.whole)
        secrets.create_secret(Name=f"{self.name}-lines", SecretString=self.lines)
        secrets.create_secret(Name=f"{self.name}-json", SecretString=json.dumps({"password": self.older}))
        secrets.put_secret_value(SecretId=f"{self.name}-json", SecretString=json.dumps({"password": self.member}))

    @property
    def values(self) -> list[str]:
        """Every value, and every line of those that have several."""
        return [self.plain, self.secure, self.whole, self.member, self.older, *self.lines.split("\n")]

    def variables(self) -> list[Json]:
        """The variables of a project that refer to them."""
        parameters = {"PLAIN": f"/{self.name}/plain", "SECURE": f"/{self.name}/secure"}
        secrets = {
            "WHOLE": f"{self.name}-whole",
            "MULTI": f"{self.name}-lines",
            "MEMBER": f"{self.name}-json:password",
            "OLDER": f"{self.name}-json:password:AWSPREVIOUS",
        }
        return [
            *({"name": name, "value": value, "type": "PARAMETER_STORE"} for name, value in parameters.items()),
            *({"name": name, "value": value, "type": "SECRETS_MANAGER"} for name, value in secrets.items()),
        ]


def found_in(place: Path, values: Iterable[str], *, but: str = "") -> list[str]:
    """Return the files below *place* that hold one of *values*; those whose name is *but* are not looked at."""
    words = [word for value in values for word in ("-e", value)]
    command = ["grep", "--recursive", "--files-with-matches", "--binary-files=text", "-F", *words, str(place)]
    found = subprocess.run(command, capture_output=True, text=True, check=False).stdout.splitlines()
    return [file for file in found if not but or Path(file).name != but]


def test_secrets_reach_the_build_and_are_stars_everywhere_else(
    aws: Cloud, daemon: Daemon, busybox: str, tmp_path: Path
) -> None:
    vault, bucket = Vault(aws), aws.bucket()
    name = f"secret-{uuid.uuid4().hex[:10]}"
    queue = aws.events_queue(name)
    digest = 'printf %s "$PLAIN$SECURE$WHOLE$MEMBER$OLDER$MULTI" | sha256sum'
    commands = [
        f"echo digest $({digest})",
        'for v in PLAIN SECURE WHOLE MEMBER OLDER; do eval "echo $v is \\$$v."; done',
        'echo "MULTI is $MULTI."',
        "printf 'torn %s' \"${SECURE%%-*}\"; sync; printf '%s\\n' \"-${SECURE#*-}\"",
        "echo waiting; until test -e proceed; do usleep 20000; done",
        'sh -c "exit 7 # $WHOLE"',
    ]
    project = daemon.project(
        busybox,
        name=name,
        source={"type": "NO_SOURCE", "buildspec": buildspec(*commands)},
        environment={"environmentVariables": vault.variables()},
        logsConfig={"s3Logs": {"status": "ENABLED", "location": f"{bucket}/logs"}},
    )
    build = daemon.ask(project)
    daemon.until_said(build, "\nwaiting")
    container = daemon.containers(build)[0]
    assert not [value for value in vault.values if value in docker("inspect", container)]
    assert not [value for value in vault.values if value in docker("top", container, "-eo", "pid,args")]
    assert found_in(daemon.state, vault.values, but="output") == []
    look = "cat $(find /codebuild/agent /codebuild/agent-secrets -type f ! -name output)"
    seen = docker("exec", container, "sh", "-c", look)
    assert not [value for value in vault.values if value in seen]
    (daemon.workspace(build) / "proceed").touch()
    build = daemon.ended(build)

    assert build["buildStatus"] == "FAILED"
    text = daemon.text(build)
    expected = subprocess.run(
        ["sha256sum"],
        input="".join([vault.plain, vault.secure, vault.whole, vault.member, vault.older, vault.lines]).encode(),
        capture_output=True,
        check=True,
    ).stdout.decode()
    assert f"digest {expected.split()[0]} -" in text
    for variable in ("PLAIN", "SECURE", "WHOLE", "MEMBER", "OLDER"):
        assert f"\n{variable} is ***.\n" in text
    assert "\ntorn ***\n" in text
    stream = build["id"].partition(":")[2]
    places = {
        "the log on the host": text,
        "CloudWatch": "\n".join(aws.lines(f"/aws/codebuild/{project}", stream)),
        "S3": aws.unzipped(bucket, f"logs/{stream}.gz").decode(),
        "buildspecd logs": daemon.cli("logs", build["id"]).stdout.decode(),
        "buildspecd show": daemon.cli("show", build["id"]).stdout.decode(),
        "buildspecd show --json": json.dumps(build),
        "the daemon's own log": daemon.said(),
        "the events": _events(aws, queue),
    }
    leaks = {place: [value for value in vault.values if value in content] for place, content in places.items()}
    assert not {place: values for place, values in leaks.items() if values}
    assert found_in(daemon.state, vault.values) == []
    assert found_in(daemon.place, vault.values) == []
    assert found_in(daemon.runtime, vault.values) == []
    daemon.assert_nothing_left(build)


def _events(aws: Cloud, queue: str) -> str:
    seen: list[Json] = []

    def told() -> bool:
        seen.extend(aws.received(queue))
        return any(event["detail"].get("build-status") == "FAILED" for event in seen)

    until(told, "the event of the build's end")
    return json.dumps(seen)


def test_variables_of_the_buildspec_come_from_the_stores_too_and_the_strongest_layer_wins(
    aws: Cloud, daemon: Daemon, busybox: str
) -> None:
    vault = Vault(aws)
    spec = buildspec(
        'echo "A=${A} B=${B} C=${C} D=${D}"',
        'test "$A" = "$EXPECTED_A"',
        'test "$B" = from-the-project',
        'test "$C" = from-the-start',
        env={
            "variables": {"A": "weak", "EXPECTED_A": "", "B": "weak", "D": "$HOME"},
            "parameter-store": {"A": f"/{vault.name}/secure", "C": f"/{vault.name}/plain"},
            "secrets-manager": {"B": f"{vault.name}-json:password"},
            "exported-variables": ["A", "D", "MADE"],
        },
    ).replace('"EXPECTED_A": ""', json.dumps({"EXPECTED_A": vault.secure})[1:-1])
    project = daemon.project(
        busybox,
        source={"type": "NO_SOURCE", "buildspec": spec},
        environment={"environmentVariables": [{"name": "B", "value": "from-the-project"}]},
    )
    build = daemon.build(project, environmentVariablesOverride=[{"name": "C", "value": "from-the-start"}])
    assert build["buildStatus"] == "SUCCEEDED", daemon.text(build)
    assert "\nA=*** B=from-the-project C=from-the-start D=$HOME\n" in daemon.text(build)
    assert build["exportedEnvironmentVariables"] == [{"name": "D", "value": "$HOME"}]
    assert "A comes from a secret store and is not exported" in daemon.text(build)


@pytest.mark.parametrize(
    ("variable", "code", "message"),
    [
        (
            {"name": "GONE", "value": "/journey/gone", "type": "PARAMETER_STORE"},
            "Decrypted Variables Error",
            "parameter does not exist: /journey/gone",
        ),
        (
            {"name": "GONE", "value": "journey-gone", "type": "SECRETS_MANAGER"},
            "Secrets Manager Error",
            "ResourceNotFoundException: Secrets Manager can't find the specified secret.",
        ),
        (
            {"name": "GONE", "value": "a:b:c:d:e", "type": "SECRETS_MANAGER"},
            "Secrets Manager Error",
            "secret reference 'a:b:c:d:e' has too many parts",
        ),
    ],
    ids=["parameter", "secret", "reference"],
)
def test_a_variable_that_nobody_knows_ends_the_build_before_its_first_command(
    daemon: Daemon, busybox: str, variable: Json, code: str, message: str
) -> None:
    project = daemon.inline(busybox, "echo begun", environment={"environmentVariables": [variable]})
    build = daemon.build(project)
    kind, found, words = failure(build)
    assert (build["buildStatus"], kind, found) == ("FAILED", "DOWNLOAD_SOURCE", code)
    assert words.startswith(message)
    assert build["buildspecd"]["advice"]
    assert f"Phase context status code: {code} Message: {message}" in daemon.text(build)
    assert "begun" not in daemon.text(build)
    daemon.assert_nothing_left(build)
