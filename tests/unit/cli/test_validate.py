"""`validate` and `projects check`: files in, problems with their places out."""

from __future__ import annotations

import json
import os
import subprocess
import sys
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
    assert third == f"{tmp_path}/buildspec.yml:0:0: cannot be read: No such file or directory"


def test_a_directory_stands_for_the_buildspec_in_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "buildspec.yml").write_text(GOOD)
    assert main(["validate", str(tmp_path)]) == 0
    assert capsys.readouterr().err == f"{tmp_path}/buildspec.yml: ok\n"


def test_a_dash_is_standard_input() -> None:
    text = b"version: 0.2\nphases:\n  build:\n\tcommands:\n"
    done = subprocess.run([sys.executable, "-m", "agent", "validate", "-"], input=text, capture_output=True)
    assert done.returncode == 2
    assert done.stdout.startswith(b"-:4:1: found character that cannot start any token at line 4")
    assert done.stderr == b"1 error and 0 warnings in 1 file\n"


def test_what_the_terminal_cannot_show_is_shown_as_an_escape(tmp_path: Path) -> None:
    (tmp_path / "b.yml").write_text(GOOD + "k\u00e9y: x\n", encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "agent", "validate", str(tmp_path / "b.yml")],
        capture_output=True,
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
    )
    assert done.returncode == 0
    assert rb"unknown key `k\xe9y` at the top level is ignored" in done.stdout


def test_a_file_that_never_ends_is_told_to_be_too_long(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["validate", "/dev/zero"]) == 2
    assert "/dev/zero:1:1: the text has more than 1048576 bytes" in capsys.readouterr().out


def test_a_batch_that_cannot_be_used_makes_its_file_invalid(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "b.yml"
    file.write_text(GOOD + "batch:\n  build-list:\n    - identifier: my-env\n")
    assert main(["validate", str(file), str(tmp_path / "b.yml")]) == 2
    output = capsys.readouterr()
    assert output.out.startswith(f"{file}:8:19: build identifier `my-env` must contain only alphanumeric characters")
    assert main(["validate", "--json", str(file)]) == 2
    document = json.loads(capsys.readouterr().out)
    assert document["files"] == [{"file": str(file), "valid": False}]


@pytest.mark.parametrize("variable", [{}, {"NO_COLOR": "1"}])
def test_output_that_is_no_terminal_has_no_colours(
    variable: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in variable.items():
        monkeypatch.setenv(name, value)
    (tmp_path / "b.yml").write_text(GOOD + "x: y\n" + "k" * 300 + ": long\n")
    assert main(["validate", str(tmp_path / "b.yml")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"{tmp_path}/b.yml:6:1: warning: unknown key `x` at the top level is ignored"
    assert len(lines) == 2


def test_the_schema_for_editors_is_printed_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["validate", "--schema"]) == 0
    assert json.loads(capsys.readouterr().out)["$schema"] == "http://json-schema.org/draft-07/schema#"


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
    told = capsys.readouterr().err.splitlines()
    assert told[0] == "1 project: web"
    assert "`buildspecd projects check --sources`" in told[1], "who reads 'valid' must not think that sources open"


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
