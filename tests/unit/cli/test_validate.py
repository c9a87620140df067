"""`validate` and `projects check`: files in, problems with their places out."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from agent.cli.main import main
from agent.cli.validate import as_object, print_problems
from agent.errors import Problem

GOOD = "version: 0.2\nphases:\n  build:\n    commands:\n      - echo hi\n"


def test_a_right_file_is_exit_code_0(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "b.yml"
    file.write_text(GOOD)
    assert main(["validate", str(file)]) == 0
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err == f"{file}: ok\n"


def test_a_wrong_file_is_exit_code_2_with_file_line_and_column(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "b.yml"
    file.write_text("version: 0.2\nphases:\n  build:\n    commands: {a: b}\n")
    assert main(["validate", str(file)]) == 2
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(f"{file}:4:")
    assert main(["validate", "--json", str(file)]) == 2
    document = json.loads(capsys.readouterr().out)
    assert document["valid"] is False
    assert document["problems"][0]["line"] == 4
    assert document["problems"][0]["severity"] == "error"


def test_a_file_that_cannot_be_read_is_a_problem_and_the_others_are_still_checked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "bytes.yml").write_bytes(b"version: 0.2\n\xff\n")
    names = [str(tmp_path / name) for name in ("nope.yml", "bytes.yml")]
    assert main(["validate", *names, str(tmp_path)]) == 2
    first, second, third = capsys.readouterr().out.splitlines()
    assert first == f"{names[0]}:0:0: cannot be read: No such file or directory"
    assert second.startswith(f"{names[1]}:2:1: invalid UTF-8")
    assert third == f"{tmp_path}:0:0: cannot be read: Is a directory"


def test_warnings_are_marked_and_told_apart(capsys: pytest.CaptureFixture[str]) -> None:
    problem = Problem("b.yml", 1, 2, "odd \x1b[1m", fatal=False)
    print_problems([problem])
    assert capsys.readouterr().out == "b.yml:1:2: warning: odd \\x1b[1m\n"
    assert as_object(problem) == {
        "file": "b.yml",
        "line": 1,
        "column": 2,
        "message": "odd \x1b[1m",
        "severity": "warning",
    }


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "projects.d").mkdir()
    (tmp_path / "agent.yml").write_text("builds: {max_concurrent: 3}\n")
    return tmp_path


WEB = "name: web\nsource: {type: GIT, location: https://host/web.git}\nenvironment: {image: 'debian:12'}\n"


def test_right_projects_are_counted(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (home / "projects.d" / "web.yml").write_text(WEB)
    assert main(["projects", "check", "--config", str(home / "agent.yml")]) == 0
    assert capsys.readouterr().err == "1 project: web\n"


def test_every_mistake_of_every_project_file_is_told(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (home / "projects.d" / "web.yml").write_text(WEB)
    (home / "projects.d" / "bad.yml").write_text("name: bad\nsource: {type: GIT, locaton: x}\n")
    assert main(["projects", "check", "--config", str(home / "agent.yml"), "--json"]) == 2
    document = json.loads(capsys.readouterr().out)
    assert document["valid"] is False
    assert document["projects"] == ["web"]
    assert any("locaton" in problem["message"] and problem["line"] == 2 for problem in document["problems"])


def test_wrong_settings_are_told_with_their_place(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (home / "agent.yml").write_text("builds: {max_concurrent: none}\nbuidls: {}\n")
    assert main(["projects", "check", "--config", str(home / "agent.yml")]) == 2
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(":")[1] for line in lines] == ["1", "2"]
