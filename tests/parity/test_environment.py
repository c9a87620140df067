"""Cases 51 to 62 of buildspec.md, section 16, and sections 6 and 7: where variables come from and who sees them."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from agent.model.project import FileSystem, Source
from agent.source.layout import source_paths
from tests import images
from tests.fakes.repository import Repository
from tests.parity.site import ACCOUNT, REGION, Ended, Site, spec

pytestmark = pytest.mark.docker

UUID = "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
ROOT = r"/codebuild/output/src\d{3,10}"
ARN = f"arn:aws:codebuild:{REGION}:{ACCOUNT}"


def plain(name: str, value: str) -> dict[str, str]:
    return {"name": name, "value": value, "type": "PLAINTEXT"}


def parameter(name: str, value: str) -> dict[str, str]:
    return {"name": name, "value": value, "type": "PARAMETER_STORE"}


def started_with(*variables: dict[str, str]) -> dict[str, object]:
    return {"environmentVariablesOverride": list(variables)}


def variables_of(ended: Ended) -> dict[str, str]:
    """Return what `env` printed."""
    return dict(line.split("=", 1) for line in ended.output if re.match(r"[A-Za-z_]\w*=", line))


# ------------------------------------------------------------------------------------------------ 6.1, 6.2


def test_case_51_the_start_beats_the_project_and_the_project_the_buildspec(
    site: Site, image_of_another_user: str
) -> None:
    ended = site.build(
        spec(
            env={"variables": {"A": "a", "B": "a", "C": "a", "FROM_IMAGE": "a"}},
            build=["echo $A$B$C $FROM_IMAGE $KEPT"],
        ),
        image=image_of_another_user,
        variables=[plain("B", "b"), plain("C", "b")],
        overrides=started_with(plain("C", "c")),
    )
    assert ended.output == ["abc a image"]


def test_case_52_a_path_of_ones_own_is_literal(site: Site) -> None:
    ended = site.build(
        spec(env={"variables": {"PATH": "$PATH:/x"}}, build=['echo "$PATH"', "ls"], post_build=["echo still here"]),
        image=images.debian_image(),
    )
    assert ended.output == ["$PATH:/x", "/codebuild/output/tmp/script.sh: 4: ls: not found", "still here"]
    assert ended.context("BUILD")[1].endswith("exit status 127")


def test_what_a_command_assigns_shadows_everything(site: Site) -> None:
    ended = site.build(
        spec(install=["C=mine"], build=["echo $C", "unset C", "echo $C"]), overrides=started_with(plain("C", "c"))
    )
    assert ended.output == ["mine", "c"]


def test_names_of_the_agent_are_warned_of_and_stay_the_agents(site: Site) -> None:
    mine = {"CODEBUILD_SRC_DIR": "/tmp", "CODEBUILD_CONFIG_AUTO_DISCOVER": "false", "CODEBUILD_MINE": "x"}
    show = 'echo "$CODEBUILD_SRC_DIR $CODEBUILD_CONFIG_AUTO_DISCOVER $CODEBUILD_MINE"'
    ended = site.build(spec(env={"variables": mine}, build=[show]))
    assert ended.output == [f"{ended.source} false x"]
    warned = [line for line in ended.lines if line.startswith("warning:") and "reserved" in line]
    assert {name for name in mine if any(name in re.findall(r"\w+", line) for line in warned)} == {
        "CODEBUILD_SRC_DIR",
        "CODEBUILD_MINE",
    }


# ------------------------------------------------------------------------------------------------ 6.3, 6.4, 6.7


def test_case_53_a_missing_parameter_fails_download_source(aws_site: Site) -> None:
    ended = aws_site.build(spec(env={"parameter-store": {"P": "/none"}}, build=["echo never"]))
    assert ended.bad_phases == {"DOWNLOAD_SOURCE": "FAILED"}
    assert ended.context("DOWNLOAD_SOURCE") == ("Decrypted Variables Error", "parameter does not exist: /none")
    assert ended.lines[-4:] == [
        "Processing environment variables",
        "Decrypting parameter store environment variables",
        "Phase complete: DOWNLOAD_SOURCE State: FAILED",
        "Phase context status code: Decrypted Variables Error Message: parameter does not exist: /none",
    ]
    assert "INSTALL" not in ended.phases


def test_cases_54_55_and_57_to_60_secrets_parameters_masks_and_exports(aws_site: Site) -> None:
    ssm, secrets = (aws_site.workshop.aws.client(name) for name in ("ssm", "secretsmanager"))
    ssm.put_parameter(Name="/plain/p", Value="a-plain-String", Type="String", Overwrite=True)
    ssm.put_parameter(Name="/secure/p", Value="several\nlines of it", Type="SecureString", Overwrite=True)
    arn = secrets.create_secret(Name="both", SecretString='{"user": "scott", "port": 54321987, "long": "tiger-tiger"}')[
        "ARN"
    ]
    secrets.create_secret(Name="hato", SecretString="hato")
    ended = aws_site.build(
        spec(
            env={
                "variables": {"OPEN": "not hidden", "BOTH": "x"},
                "parameter-store": {"PLAIN": "/plain/p", "SECURE": "/secure/p", "BEATEN": "/none"},
                "secrets-manager": {
                    "U": "both:user",
                    "PORT": "both:port",
                    "L": f"{arn}:long::",
                    "S": "hato",
                    "BOTH": "hato",
                },
                "exported-variables": ["V", "AWS_X", "S", "BEATEN", "NOT_SET", "PROJECT_SECRET"],
            },
            build=[
                "echo 54: $U $PORT",
                "echo 55: $L; test $L = 'tiger'-'tiger'",
                "echo $S",
                "echo hato",
                "echo 58: $(echo $S | base64) $(printf %s $L | base64)",
                'echo "63: $PLAIN $SECURE"; test "$(printf %s "$SECURE" | wc -l)" = 1',
                "echo 67: AKIAIOSFODNN7EXAMPLE $OPEN; test $BOTH = $S",
                "V=early; AWS_X=1",
            ],
            post_build=["V=late"],
        ),
        variables=[plain("BEATEN", "by the project"), parameter("PROJECT_SECRET", "/plain/p")],
    )
    assert (ended.status, ended.bad_phases) == ("SUCCEEDED", {}), ended.log
    printed = ended.output
    assert printed[:4] == ["54: *** ***", "55: ***", "***", "***"]
    assert "Running command echo $S" in ended.lines
    assert "Running command echo ***" in ended.lines
    assert printed[4].startswith("58: aGF0bwo= ***"), (
        "a short secret's base64 stays, that of a longer one is hidden on purpose"
    )
    assert printed[5] == "63: *** ***"
    assert printed[-1] == "67: *** not hidden"
    assert {one.name: one.value for one in ended.build.exported} == {"V": "late", "BEATEN": "by the project"}
    assert ended.lines.count("Decrypting parameter store environment variables") == 1
    assert all(word not in ended.log for word in ("hato\n", "scott", "tiger-tiger", "a-plain-String", "lines of it"))
    assert any("NOT_SET is not set" in line for line in ended.lines)
    assert sum("comes from a secret store and is not exported" in line for line in ended.lines) == 2


class Denied(BaseHTTPRequestHandler):
    """An AWS that refuses everything."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        body = json.dumps({"__type": "AccessDeniedException", "Message": "User: x is not authorized"}).encode()
        self.send_response(400)
        self.send_header("x-amzn-RequestId", "12345678-0000-4000-8000-000000000000")
        self.send_header("Content-Type", "application/x-amz-json-1.1")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: object) -> None:
        """Keep quiet."""


@pytest.fixture
def denied_site(fresh_site: Callable[..., Site], monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """An agent whose role may do nothing."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    server = ThreadingHTTPServer(("127.0.0.1", 0), Denied)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    yield fresh_site(endpoint=f"http://127.0.0.1:{server.server_port}")
    server.shutdown()
    thread.join()
    server.server_close()


def test_case_56_no_access_to_a_secret_or_a_parameter(denied_site: Site) -> None:
    secret = denied_site.build(spec(env={"secrets-manager": {"S": "name"}}, build=["echo never"]))
    assert secret.bad_phases == {"DOWNLOAD_SOURCE": "FAILED"}
    code, message = secret.context("DOWNLOAD_SOURCE")
    assert (code, *message.splitlines()) == (
        "Secrets Manager Error",
        "AccessDeniedException: User: x is not authorized",
        "status code: 400, request id: 12345678-0000-4000-8000-000000000000",
    )
    parameter = denied_site.build(spec(env={"parameter-store": {"S": "name"}}, build=["echo never"]))
    code, message = parameter.context("DOWNLOAD_SOURCE")
    assert (code, message.splitlines()[0]) == (
        "Decrypted Variables Error",
        "AccessDeniedException: User: x is not authorized",
    )


# ------------------------------------------------------------------------------------------------ 7


def test_case_61_the_built_in_variables_have_codebuilds_shapes(site: Site) -> None:
    primary, other = Repository(site.place / "git", "app"), Repository(site.place / "git", "lib")
    head = primary.commit(**{"buildspec.yml": spec(build=["env"])})
    other.commit()
    ended = site.build(
        name="my-app",
        source=Source(type="GIT", location=primary.url),
        secondary_sources=(Source(type="GIT", location=other.url, source_identifier="s1"),),
        file_system_locations=(FileSystem(identifier="efs1", mount_point="/mnt/efs"),),
        request={"source_version": "main"},
    )
    found = variables_of(ended)
    shapes = {
        "AWS_DEFAULT_REGION": REGION,
        "AWS_REGION": REGION,
        "CODEBUILD_BUILD_ARN": f"{ARN}:build/my-app:{UUID}",
        "CODEBUILD_BUILD_ID": f"my-app:{UUID}",
        "CODEBUILD_BUILD_IMAGE": re.escape(images.BUSYBOX),
        "CODEBUILD_BUILD_NUMBER": "1",
        "CODEBUILD_BUILD_SUCCEEDING": "1",
        "CODEBUILD_BUILD_URL": f"https://{REGION}.console.aws.amazon.com/codebuild/home"
        rf"\?region={REGION}#/builds/my-app:{UUID}/view/new",
        "CODEBUILD_CI": "true",
        "CODEBUILD_GOPATH": ROOT,
        "CODEBUILD_INITIATOR": "tester",
        "CODEBUILD_KMS_KEY_ID": f"arn:aws:kms:{REGION}:{ACCOUNT}:alias/aws/s3",
        "CODEBUILD_LAST_EXIT": "0",
        "CODEBUILD_LOG_PATH": UUID,
        "CODEBUILD_PROJECT_ARN": f"{ARN}:project/my-app",
        "CODEBUILD_RESOLVED_SOURCE_VERSION": head,
        "CODEBUILD_SOURCE_REPO_URL": re.escape(primary.url),
        "CODEBUILD_SOURCE_REPO_URL_s1": re.escape(other.url),
        "CODEBUILD_SOURCE_VERSION": "main",
        "CODEBUILD_SRC_DIR": f"{ROOT}/src/.*",
        "CODEBUILD_SRC_DIR_s1": f"{ROOT}/src/.*",
        "CODEBUILD_START_TIME": r"\d{13}",
        "CODEBUILD_EFS1": "/mnt/efs",
        "HOME": "/root",
        "PWD": f"{ROOT}/src/.*",
    }
    wrong = {name: found.get(name) for name, shape in shapes.items() if not re.fullmatch(shape, found.get(name, ""))}
    assert wrong == {}
    strangers = {name for name in found if name.startswith(("CODEBUILD_", "AWS_"))} - set(shapes)
    assert strangers == set(), "what does not apply is not set"
    assert "CI" not in found


@pytest.mark.parametrize(
    ("ref", "previous", "trigger"),
    [
        ("refs/heads/a/b", "1" * 40, "branch/a/b"),
        ("refs/heads/new", None, "branch/new"),
        ("refs/tags/t", None, "tag/t"),
    ],
)
def test_a_push_that_polling_saw_has_the_variables_of_a_webhook(
    site: Site, ref: str, previous: str | None, trigger: str
) -> None:
    """The table of section 7.1, rows 1 to 3."""
    repository = Repository(site.place / "git")
    head = repository.commit(**{"buildspec.yml": spec(build=["env"])})
    repository.push(f"HEAD:{ref}")
    pushed = {"source_version": head, "source_ref": ref, "previous_revision": previous, "initiator": "buildspecd/poll"}
    found = variables_of(site.build(source=Source(type="GIT", location=repository.url), request=pushed))
    assert {name: value for name, value in found.items() if "WEBHOOK" in name or "SOURCE_VERSION" in name} == {
        "CODEBUILD_SOURCE_VERSION": head,
        "CODEBUILD_RESOLVED_SOURCE_VERSION": head,
        "CODEBUILD_WEBHOOK_EVENT": "PUSH",
        "CODEBUILD_WEBHOOK_HEAD_REF": ref,
        "CODEBUILD_WEBHOOK_TRIGGER": trigger,
        "CODEBUILD_WEBHOOK_PREV_COMMIT": previous or "0" * 40,
    }


@pytest.mark.parametrize(
    ("kind", "location", "directory"),
    [
        ("GITHUB", "https://github.com/acme/shop.git", "src/github.com/acme/shop"),
        ("BITBUCKET", "https://bitbucket.org/acme/shop", "src/bitbucket.org/acme/shop"),
        (
            "CODECOMMIT",
            f"https://git-codecommit.{REGION}.amazonaws.com/v1/repos/shop",
            f"src/git-codecommit.{REGION}.amazonaws.com/v1/repos/shop",
        ),
        ("S3", "bucket/key.zip", "src"),
        ("CODEPIPELINE", None, "src"),
        ("DIRECTORY", "/home/me/shop", "src"),
        ("NO_SOURCE", None, "src"),
    ],
)
def test_source_directories_have_the_shapes_of_section_7_3(kind: str, location: str | None, directory: str) -> None:
    assert source_paths(Source.model_validate({"type": kind, "location": location}), ()) == {None: directory}


def test_several_sources_of_a_pipeline_are_numbered() -> None:
    second = Source(type="CODEPIPELINE", source_identifier="two")
    assert source_paths(Source(type="CODEPIPELINE"), (second,)) == {None: "src/s3/00", "two": "src/s3/01"}


def test_the_directories_of_several_sources_are_where_the_log_says(site: Site) -> None:
    second = Source(type="DIRECTORY", location=str(site.tree({"there": "x"})), source_identifier="two")
    buildspec = spec(build=["pwd", "ls $CODEBUILD_SRC_DIR_two"])
    primary = Source(type="DIRECTORY", location=str(site.tree({"buildspec.yml": buildspec})))
    ended = site.build(source=primary, secondary_sources=(second,))
    assert re.fullmatch(f"{ROOT}/src/s3/00", ended.output[0])
    assert ended.output == [ended.source, "there"]
