"""`buildspecd projects import`: from an AWS-shaped server, from files, and never over what is there."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto.server import ThreadedMotoServer

from agent.cli.main import main
from agent.settings.projects import load_projects
from tests.unit.settings.importing.samples import ANSWER, CDK, PLAIN

Capture = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def codebuild() -> Iterator[str]:
    """A CodeBuild with two projects; the address of its server."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    address = f"http://{host}:{port}"
    session = boto3.session.Session(aws_access_key_id="testing", aws_secret_access_key="testing")
    client: Any = session.client("codebuild", endpoint_url=address, region_name="us-east-1")
    wanted = ("source", "artifacts", "environment", "serviceRole", "cache", "timeoutInMinutes", "tags", "vpcConfig")
    for name in ("web", "shop"):
        client.create_project(name=name, **{member: ANSWER[member] for member in wanted})
    yield address
    server.stop()


@pytest.fixture
def config(codebuild: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    monkeypatch.delenv("AWS_PROFILE", raising=False)
    file = tmp_path / "agent.yml"
    file.write_text(f"aws: {{region: us-east-1, endpoint_url: '{codebuild}'}}\n")
    (tmp_path / "projects.d").mkdir()
    return file


def run(config: Path, *words: object) -> int:
    return main(["projects", "import", *map(str, words), "--config", str(config)])


def projects_of(config: Path) -> dict[str, Any]:
    found = load_projects(config.parent / "projects.d")
    assert [str(problem) for problem in found.problems if problem.fatal] == []
    return found.projects


def test_projects_go_from_codebuild_into_files_that_pass_the_check(config: Path, capsys: Capture) -> None:
    assert run(config, "web") == 0
    assert "things to decide" in capsys.readouterr().out
    project = projects_of(config)["web"]
    assert project.source.location == "https://github.com/acme/web.git"
    assert project.source.report_build_status
    assert [variable.name for variable in project.environment.environment_variables] == ["STAGE", "DB_PASSWORD", "KEY"]
    assert main(["projects", "check", "--config", str(config)]) == 0


def test_all_projects_of_the_account_are_taken(config: Path) -> None:
    assert run(config, "--all") == 0
    assert sorted(projects_of(config)) == ["shop", "web"]


def test_nothing_is_written_where_one_file_is_there_already(config: Path, capsys: Capture) -> None:
    (config.parent / "projects.d" / "web.yml").write_text("mine")
    assert run(config, "--all") == 2
    assert "web.yml already; nothing was written" in capsys.readouterr().err
    assert [path.name for path in (config.parent / "projects.d").iterdir()] == ["web.yml"]
    assert run(config, "--all", "--force") == 0
    assert sorted(projects_of(config)) == ["shop", "web"]


def test_a_project_that_is_not_there_is_named(config: Path, capsys: Capture) -> None:
    assert run(config, "nobody", "web") == 2
    assert "CodeBuild has no project nobody" in capsys.readouterr().err
    assert list((config.parent / "projects.d").iterdir()) == []


def test_a_file_and_a_template_go_where_they_are_told_to(config: Path, tmp_path: Path, capsys: Capture) -> None:
    answer, template, cdk = tmp_path / "answer.json", tmp_path / "template.yml", tmp_path / "cdk.json"
    answer.write_text(json.dumps({"projects": [ANSWER]}))
    template.write_text(PLAIN)
    cdk.write_text(json.dumps(CDK))
    output = tmp_path / "other"
    output.mkdir()
    assert run(config, "--file", answer, "--output", output) == 0
    assert run(config, "--template", template, "--parameter", "Stage=prod", "--output", output) == 0
    assert run(config, "--template", cdk, "--output", output) == 0
    assert sorted(path.name for path in output.iterdir()) == ["Build45A36621.yml", "web-prod.yml", "web.yml"]
    assert "warning: " in capsys.readouterr().err


def test_what_is_printed_can_be_put_into_one_file(config: Path, tmp_path: Path, capsys: Capture) -> None:
    answer = tmp_path / "answer.json"
    answer.write_text(json.dumps([ANSWER, {**ANSWER, "name": "shop"}]))
    assert run(config, "--file", answer, "--stdout") == 0
    (config.parent / "projects.d" / "all.yml").write_text(capsys.readouterr().out)
    assert sorted(projects_of(config)) == ["shop", "web"]
    assert run(config, "--file", answer, "--stdout", "shop") == 0
    assert "\nname: web" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "say what to import"),
        (("--all", "web"), "--all stands alone"),
        (("--file", "a", "--template", "b"), "exclude each other"),
        (("web", "--parameter", "a=b"), "--parameter goes with --template"),
        (("--template", "a", "--parameter", "a"), "expected NAME=VALUE"),
        (("--file", "/nowhere/a.json"), "/nowhere/a.json:0:0: cannot be read"),
        (("web", "--output", "/nowhere"), "there is no directory /nowhere"),
    ],
)
def test_a_command_line_that_makes_no_sense_is_refused(
    words: tuple[str, ...], message: str, config: Path, capsys: Capture
) -> None:
    assert run(config, *words) == 2
    assert message in capsys.readouterr().err


def test_two_projects_of_one_name_are_refused(config: Path, tmp_path: Path, capsys: Capture) -> None:
    answer = tmp_path / "answer.json"
    answer.write_text(json.dumps([ANSWER, ANSWER]))
    assert run(config, "--file", answer) == 2
    assert "two of the projects are called web" in capsys.readouterr().err
