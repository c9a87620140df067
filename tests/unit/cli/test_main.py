"""Errors become a message, a hint and an exit code; never a traceback."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from agent import __version__
from agent.cli.main import app, main
from agent.errors import DaemonNotRunning, UsageError


def command(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "agent", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={"PATH": "/usr/bin:/bin", **environment},
    )


def raising(name: str, error: BaseException) -> Callable[[], None]:
    def fail() -> None:
        raise error

    app.command(name, hidden=True)(fail)
    return fail


def test_the_version_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"buildspecd {__version__}\n"


def test_help_names_every_command_of_the_design(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    output = capsys.readouterr().out
    for name in [
        "run",
        "validate",
        "serve",
        "drain",
        "projects",
        "start",
        "builds",
        "show",
        "logs",
        "stop",
        "retry",
        "doctor",
    ]:
        assert f" {name} " in output


@pytest.mark.parametrize(
    "arguments",
    [["nope"], ["--nope"], ["run", "--timeout", "x"], ["run", "/no/such/dir"], ["builds", "--limit", "0"], ["stop"]],
)
def test_a_command_line_that_makes_no_sense_is_exit_code_2(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    output = capsys.readouterr()
    assert output.out == ""
    assert "Error" in output.err
    assert "Traceback" not in output.err


def test_an_error_of_ours_is_told_with_its_hint_and_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    raising("test-usage", UsageError("no \x1b[2J sense", hint="try this"))
    raising("test-daemon", DaemonNotRunning("nobody there"))
    assert main(["test-usage"]) == 2
    assert capsys.readouterr().err == "error: no \\x1b[2J sense\nhint: try this\n"
    assert main(["test-daemon"]) == 3
    assert capsys.readouterr().err == "error: nobody there\n"


def test_an_interruption_is_exit_code_130() -> None:
    raising("test-interrupt", KeyboardInterrupt())
    assert main(["test-interrupt"]) == 130


def test_a_bug_is_told_as_one_with_a_reference_and_no_traceback(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("BUILDSPECD_DEBUG", raising=False)
    raising("test-bug", ZeroDivisionError("s3cret"))
    assert main(["test-bug"]) == 3
    output = capsys.readouterr().err
    assert "this is a bug" in output
    assert "ZeroDivisionError at test_main.py:" in output
    assert "s3cret" not in output
    assert "Traceback" not in output
    monkeypatch.setenv("BUILDSPECD_DEBUG", "1")
    assert main(["test-bug"]) == 3
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["--version"], ["--help"], ["validate", "/no/such/file"], ["run", "--help"]])
def test_a_reader_that_has_gone_is_no_trouble(arguments: list[str]) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = subprocess.run(
            [sys.executable, "-m", "agent", *arguments],
            stdout=writer,
            stderr=subprocess.PIPE,
            timeout=60,
            check=False,
        )
    finally:
        os.close(writer)
    assert (done.returncode, done.stderr) == (141, b"")


def test_no_daemon_is_told_with_the_way_out(tmp_path: Path) -> None:
    done = command("builds", BUILDSPECD_STATE_DIR=str(tmp_path))
    assert done.returncode == 3
    assert done.stdout == ""
    assert f"no daemon listens on {tmp_path}/agent.sock" in done.stderr
    assert "systemctl start buildspecd" in done.stderr


def test_a_settings_file_that_is_not_there_is_a_mistake(tmp_path: Path) -> None:
    done = command("builds", "--config", str(tmp_path / "nope.yml"))
    assert done.returncode == 2
    assert "nope.yml" in done.stderr


def test_light_commands_load_no_heavy_library() -> None:
    script = (
        "import sys; from agent.cli.main import main; main(['--version']);"
        "print([name for name in ('pydantic', 'yaml', 'boto3', 'docker', 'starlette', 'uvicorn', 'git', 'http.client')"
        " if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_the_shell_can_complete_commands() -> None:
    done = command(
        _BUILDSPECD_COMPLETE="complete_bash", COMP_WORDS="buildspecd pro", COMP_CWORD="1", _TYPER_COMPLETE_ARGS=""
    )
    assert (done.returncode, done.stdout.split()) == (0, ["projects"])


def test_output_that_is_no_terminal_has_no_colour(tmp_path: Path) -> None:
    done = command("--help")
    assert "\x1b" not in done.stdout
