"""`buildspecd-mask`, `codebuild-breakpoint` and `codebuild-resume`, under three shells."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.buildlog.registrations import LONGEST, Registrations
from agent.container import breakpoints
from tests.shell.commands import SHELLS, Commands
from tests.shell.harness import until

every_shell = pytest.mark.parametrize("shell", SHELLS)


@pytest.fixture
def commands(tmp_path: Path) -> Commands:
    return Commands(tmp_path)


@every_shell
def test_values_are_registered_as_they_are(commands: Commands, shell: str) -> None:
    values = ["hunter22", "it's \\n %s $x `y`", "-----BEGIN\nab\n\nlast-----", "  inner blanks  ", "k" * 2345, "größe"]
    for value in values[:3]:
        assert commands.run(shell, "buildspecd-mask", data=f"{value}\n".encode()).returncode == 0
    done = commands.run(shell, "buildspecd-mask", *values[3:])
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    assert Registrations(commands.registered).fresh() == values


@every_shell
def test_large_values_that_are_registered_at_once_do_not_mix(commands: Commands, shell: str) -> None:
    values = [f"{letter * 700}\n" * 8 for letter in "abcdef"]
    running = [commands.start(shell, "buildspecd-mask", value) for value in values]
    assert [process.communicate(timeout=60) and process.returncode for process in running] == [0] * 6
    assert sorted(Registrations(commands.registered).fresh()) == [value.strip() for value in values]


@every_shell
@pytest.mark.parametrize(
    ("value", "reason"),
    [(b"abc\n", b"less than 4"), (b"x" * (LONGEST + 1), b"more than"), (b"", b"less than 4"), (b"     ", b"white")],
)
def test_what_cannot_be_masked_is_refused_and_not_repeated(
    commands: Commands, shell: str, value: bytes, reason: bytes
) -> None:
    done = commands.run(shell, "buildspecd-mask", data=value)
    assert done.returncode == 1
    assert reason in done.stderr
    assert len(done.stderr) < 200
    assert Registrations(commands.registered).fresh() == []


@every_shell
def test_a_registration_that_cannot_be_written_fails(commands: Commands, shell: str) -> None:
    commands.registered.unlink()
    assert commands.run(shell, "buildspecd-mask", "hunter22").returncode == 1
    commands.registered.symlink_to("/dev/full")
    assert commands.run(shell, "buildspecd-mask", "hunter22").returncode == 1


@every_shell
def test_without_a_debug_session_nothing_pauses_and_nothing_is_said(commands: Commands, shell: str) -> None:
    for command in ("codebuild-breakpoint", "codebuild-resume"):
        done = commands.run(shell, command)
        assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


@pytest.fixture
def debugged(commands: Commands) -> Commands:
    """The same, of a build that may be debugged."""
    control = commands.root / "debugged"
    control.mkdir()
    (control / "user").symlink_to(commands.user)
    breakpoints.allow(control, "web:1234")
    (control / "user").unlink()
    commands.user.rename(control / "user")
    commands.user.symlink_to(control / "user")
    return commands


@every_shell
def test_a_breakpoint_waits_until_it_is_resumed(debugged: Commands, shell: str) -> None:
    control = debugged.root / "debugged"
    assert debugged.run(shell, "codebuild-resume").returncode == 1  # nobody waits
    with debugged.start(shell, "codebuild-breakpoint") as process:
        until(lambda: breakpoints.is_paused(control))
        assert process.poll() is None
        assert debugged.run(shell, "codebuild-resume").returncode == 0
        out, _ = process.communicate(timeout=30)
    assert process.returncode == 0
    assert b"Paused at a breakpoint since 20" in out
    assert b"buildspecd shell web:1234\n" in out
    assert out.endswith(b"Resumed\n")
    assert not breakpoints.is_paused(control)


@every_shell
def test_a_breakpoint_ends_at_a_signal_as_any_command(debugged: Commands, shell: str) -> None:
    control = debugged.root / "debugged"
    with debugged.start(shell, "codebuild-breakpoint") as process:
        until(lambda: breakpoints.is_paused(control))
        process.terminate()
        assert process.wait(30) in (143, -15)
    until(lambda: not breakpoints.is_paused(control))


def test_a_link_in_place_of_the_files_of_a_pause_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "paused").write_text("1")
    (tmp_path / "user").symlink_to("elsewhere")
    assert not breakpoints.is_paused(tmp_path)
    (tmp_path / "user").unlink()
    (tmp_path / "user").mkdir()
    (tmp_path / "user" / "paused").symlink_to("/etc/passwd")
    assert not breakpoints.is_paused(tmp_path)
