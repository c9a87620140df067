"""`buildspecd doctor` as an operator sees it: good and bad projects, an AWS that refuses, one that never answers."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agent.cli.main import main
from tests.fakes.aws_door import ROLE, Door, Refusal, aws_door, simulated

Capture = pytest.CaptureFixture[str]
KEY = "arn:aws:kms:us-east-1:123456789012:key/k-1"
WEB = f"""
name: web
source: {{type: NO_SOURCE, buildspec: "version: 0.2"}}
artifacts: {{type: S3, location: its-bucket/web}}
encryptionKey: {KEY}
environment: {{image: debian}}
vpcConfig: {{vpcId: vpc-1, subnets: [subnet-1], securityGroupIds: [sg-1]}}
agent: {{preflight: ["127.0.0.1:{{port}}"]}}
"""
POOR = """
name: poor
source: {type: GIT, location: "http://127.0.0.1:%s/x.git"}
environment: {image: debian}
logsConfig: {cloudWatchLogs: {status: DISABLED}}
agent: {vpc: require, preflight: ["db.invalid:5432"]}
vpcConfig: {vpcId: vpc-1, subnets: [subnet-1], securityGroupIds: [sg-1]}
"""


@pytest.fixture
def silent() -> Iterator[int]:
    """A port where connections are accepted, by the kernel, and never answered."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(64)
        yield listener.getsockname()[1]


@pytest.fixture
def door() -> Iterator[Door]:
    with aws_door() as one:
        yield one


@pytest.fixture
def config(tmp_path: Path, silent: int, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Settings of a host with a project that has all it needs; AWS is still to be named."""
    for name, value in (("AWS_ACCESS_KEY_ID", "testing"), ("AWS_SECRET_ACCESS_KEY", "testing"), ("NO_COLOR", "1")):
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.delenv("AWS_PROFILE", raising=False)
    (tmp_path / "projects.d").mkdir()
    (tmp_path / "projects.d" / "web.yml").write_text(WEB.replace("{port}", str(silent)))
    return tmp_path / "agent.yml"


def settle(config: Path, endpoint: str) -> None:
    config.write_text(f"state_dir: state\nruntime_dir: run\naws: {{region: us-east-1, endpoint_url: '{endpoint}'}}\n")


def looked(config: Path, capsys: Capture, *words: str) -> tuple[int, dict[str, list[dict[str, Any]]]]:
    """Return exit code and checks by name."""
    code = main(["doctor", "--json", "--config", str(config), *words])
    found: dict[str, list[dict[str, Any]]] = {}
    for check in json.loads(capsys.readouterr().out)["checks"]:
        found.setdefault(check["name"], []).append(check)
    return code, found


def test_what_is_wrong_comes_with_the_statement_or_the_command_that_mends_it(
    config: Path, door: Door, silent: int, capsys: Capture
) -> None:
    settle(config, door.address)
    (config.parent / "projects.d" / "poor.yml").write_text(POOR % silent)
    (config.parent / "projects.d" / "broken.yml").write_text("name: broken\n")
    door.answers["GenerateDataKey"] = Refusal(
        "AccessDeniedException", "no resource-based policy allows the kms:GenerateDataKey action"
    )
    door.answers["UploadPart"] = Refusal("AccessDenied", "Access Denied", 403)
    door.answers["SimulatePrincipalPolicy"] = lambda form: (
        simulated(("events:PutEvents", form["ResourceArns.member.1"], "implicitDeny"))
        if form["ActionNames.member.1"] == "events:PutEvents"
        else simulated()
    )
    code, found = looked(config, capsys)
    assert code == 3
    assert found["aws"][0]["status"] == found["connect"][0]["status"] == found["clock"][0]["status"] == "ok", found
    assert found["key of web"][0]["statement"]["Principal"] == {"AWS": ROLE}
    assert found["artifacts of web"][0]["statement"]["Resource"] == ["arn:aws:s3:::its-bucket/web/*"]
    assert found["permission TellOfBuilds"][0]["statement"]["Action"] == ["events:PutEvents"]
    assert found["permission WriteBuildLogs"][0]["status"] == "ok"
    assert found["log group of web"][0]["message"] == "/aws/codebuild/web takes lines"
    assert "answers in" in found["preflight of web"][0]["message"]
    assert "does not resolve" in found["preflight of poor"][0]["message"]
    assert found["source of poor"][0]["status"] == "fail"
    assert (found["vpcConfig of web"][0]["status"], found["vpcConfig of poor"][0]["status"]) == ("warn", "fail")
    assert any("environment is missing" in check["message"] for check in found["configuration"])

    assert main(["doctor", "--config", str(config), "--project", "web"]) == 3
    said = capsys.readouterr().out
    assert "poor" not in said
    assert "\x1b" not in said
    assert "Policy for the role of this host" in said
    assert "Statement for the policy of the key of web" in said
    document = said.partition("to what it has\n")[2].partition("\n\n")[0]
    assert {one["Sid"] for one in json.loads(document)["Statement"]} == {"StoreArtifactsCachesLogs", "TellOfBuilds"}
    assert "that is a bug" not in said


def test_an_aws_that_accepts_and_never_answers_is_named_and_everything_else_is_reported(
    config: Path, silent: int, capsys: Capture
) -> None:
    settle(config, f"http://127.0.0.1:{silent}")
    code, found = looked(config, capsys)
    assert code == 3
    assert "sts:GetCallerIdentity" in found["aws"][0]["message"]
    assert "the proxy" in found["aws"][0]["remedy"]
    assert found["connect"][0]["status"] == "ok", "connecting is not what fails"
    assert "does not answer" in found["clock"][0]["message"]
    assert found["permissions"][0]["status"] == "skipped"
    for name in ("cgroups", "git", "disk", "disk speed", "store", "configuration", "preflight of web"):
        assert found[name][0]["status"] in ("ok", "warn"), found[name]


def test_a_project_that_is_not_there_is_a_mistake_of_the_command_line(config: Path, capsys: Capture) -> None:
    settle(config, "http://127.0.0.1:1")
    assert main(["doctor", "--config", str(config), "--project", "wweb"]) == 2
    assert "did you mean 'web'" in capsys.readouterr().err


def test_settings_that_cannot_be_read_are_a_check_that_fails(config: Path, capsys: Capture) -> None:
    config.write_text("state_dri: x\n")
    code, found = looked(config, capsys)
    assert code == 3
    assert "state_dri" in found["configuration"][0]["message"]
