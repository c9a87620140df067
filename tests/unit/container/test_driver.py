"""The daemon's side of the control directory."""

from __future__ import annotations

import os
import stat
import subprocess
from pathlib import Path

import pytest

from agent.buildspec.plan import OnFailure, PhasePlan
from agent.container import driver
from agent.container.driver import DriverPlan, Expanded, Expansion, Result
from agent.kit.clock import SystemClock
from agent.model.phase import PhaseType


@pytest.fixture
def control(tmp_path: Path) -> Path:
    directory = tmp_path / "control"
    driver.prepare_control(directory)
    return directory


def a_plan(**changes: object) -> DriverPlan:
    given = {"phases": (), "source_dir": "/s", "workspace": "/s", "clock_base": 0}
    return DriverPlan(**{**given, **changes})  # type: ignore[arg-type]


def assigned(control: Path, *names: str) -> list[str]:
    script = f'. "{control}/plan.sh"; for n in "$@"; do eval "printf \'%s\\0\' \\"\\$plan_$n\\""; done'
    done = subprocess.run(["sh", "-c", script, "sh", *names], check=True, capture_output=True)
    return done.stdout.decode().split("\0")[:-1]


def test_a_control_directory_is_private_and_has_its_fifos(control: Path) -> None:
    assert stat.S_IMODE(control.stat().st_mode) == 0o700
    assert {path.name for path in control.iterdir()} == {
        "driver.sh",
        "go",
        "pipe",
        "output",
        "journal",
        "driver.log",
        "user",
    }
    assert (control / "go").is_fifo()
    assert stat.S_IMODE((control / "pipe").stat().st_mode) == 0o666


def test_preparing_twice_loses_nothing(control: Path) -> None:
    (control / "output").write_bytes(b"seen")
    driver.prepare_control(control)
    assert (control / "output").read_bytes() == b"seen"


def test_the_plan_is_read_by_a_shell_as_it_was_meant(control: Path) -> None:
    commands = ("echo 'it''s'", "a\nb\n", "$(touch owned) `x` \\")
    build = PhasePlan(
        phase=PhaseType.BUILD,
        commands=commands,
        finally_commands=("f",),
        on_failure=OnFailure(action="RETRY", retries=2, pattern="a'b"),
        run_as="u1",
    )
    driver.write_plan(control, a_plan(phases=(build,), owner=(1, 2), hold=True, isolated=True))
    names = [f"BUILD_commands_{index}" for index in (1, 2, 3)]
    assert tuple(assigned(control, *names)) == commands
    settings = ("BUILD_commands", "BUILD_action", "BUILD_retries", "BUILD_pattern", "BUILD_user", "owner", "hold")
    assert assigned(control, *settings) == ["3", "RETRY", "2", "a'b", "u1", "1:2", "1"]
    assert assigned(control, "INSTALL_commands", "INSTALL_action", "INSTALL_user") == ["0", "DEFAULT", ""]


def test_root_is_nobody_to_switch_to_and_any_failure_needs_no_pattern(control: Path) -> None:
    phase = PhasePlan(phase=PhaseType.BUILD, run_as="root", on_failure=OnFailure(action="RETRY", retries=1))
    driver.write_plan(control, a_plan(phases=(phase,)))
    assert assigned(control, "BUILD_user", "BUILD_pattern") == ["", ""]


def test_the_environment_is_private_and_names_that_no_shell_takes_are_returned(tmp_path: Path) -> None:
    file = tmp_path / "environment"
    skipped = driver.write_environment(file, {"A": "it's\n$x", "npm-x": "1", "1B": "", "_C": ""})
    assert skipped == ("npm-x", "1B")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    script = f". {file}; environment; env -0 | grep -zE '^(A|_C)='"
    done = subprocess.run(["sh", "-c", script], check=True, capture_output=True, env={"PATH": os.environ["PATH"]})
    assert sorted(done.stdout.split(b"\0")[:-1]) == [b"A=it's\n$x", b"_C="]


def test_an_empty_environment_is_valid(tmp_path: Path) -> None:
    driver.write_environment(tmp_path / "environment", {})
    subprocess.run(["sh", "-c", f". {tmp_path}/environment; environment"], check=True)


def test_going_reaches_a_reader_and_nobody_else(control: Path) -> None:
    assert not driver.go(control)
    reader = os.open(control / "go", os.O_RDONLY | os.O_NONBLOCK)
    try:
        assert driver.go(control)
        assert driver.resume(control)
        assert os.read(reader, 100) == b"begin\nresume\n"
    finally:
        os.close(reader)


def test_what_the_journal_tells_is_not_said_again(control: Path) -> None:
    (control / "journal").write_bytes(b"1\tbegun\n")
    assert driver.go(control)
    assert not driver.resume(control)


@pytest.mark.parametrize("bait", ["symlink", "file", "nothing"])
def test_going_is_not_led_astray(control: Path, tmp_path: Path, bait: str) -> None:
    (control / "go").unlink()
    target = tmp_path / "host-file"
    target.write_bytes(b"")
    if bait == "symlink":
        (control / "go").symlink_to(target)
    elif bait == "file":
        (control / "go").write_bytes(b"")
    assert not driver.go(control)
    assert target.read_bytes() == b""


def test_a_result_is_read_when_it_is_whole(control: Path) -> None:
    assert driver.read_result(control) is None
    whole = b"outcome aborted\nphase BUILD\nsucceeding 0\nend\n"
    for cut in range(len(whole)):
        (control / "result").write_bytes(whole[:cut])
        assert driver.read_result(control) is None
    (control / "result").write_bytes(whole)
    assert driver.read_result(control) == Result("aborted", PhaseType.BUILD, succeeding=False)
    (control / "result").write_bytes(b"outcome stopped\nphase -\nsucceeding 1\nend\n")
    assert driver.read_result(control) == Result("stopped", None, succeeding=True)


@pytest.mark.parametrize(
    "forged",
    [b"outcome x\nphase BUILD\nend\n", b"outcome completed\nphase X\nend\n", b"end\n", b"\xff\nend\n", b"x" * 9999],
)
def test_a_forged_result_counts_as_absent(control: Path, forged: bytes) -> None:
    (control / "result").write_bytes(forged)
    assert driver.read_result(control) is None


def test_a_result_behind_a_link_is_not_read(control: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_bytes(b"outcome completed\nphase BUILD\nsucceeding 1\nend\n")
    (control / "result").symlink_to(tmp_path / "elsewhere")
    assert driver.read_result(control) is None


@pytest.mark.parametrize(
    ("content", "expanded"),
    [
        (b"value\n0\n", Expanded("ok", "value")),
        (b"two\nlines\n\n0\n", Expanded("ok", "two\nlines\n")),
        (b"\n0\n", Expanded("ok", "")),
        (b"a\0b\xff\n0\n", Expanded("ok", "ab\ufffd")),
        (b"\nunset\n", Expanded("unset")),
        (b"\n2\n", Expanded("failed")),
        (b"value\n", Expanded("failed")),
        (b"value\n0", Expanded("failed")),
        (b"", Expanded("failed")),
        (b"x" * 70000 + b"\n0\n", Expanded("failed")),
    ],
)
def test_an_expansion_tells_its_value_or_that_it_failed(control: Path, content: bytes, expanded: Expanded) -> None:
    (control / "after.1").write_bytes(content)
    assert driver.read_expansions(control, "after", (Expansion("name", ""),)) == {"name": expanded}


def test_an_expansion_that_was_not_made_has_failed(control: Path) -> None:
    assert driver.read_expansions(control, "before", (Expansion("name", ""),)) == {"name": Expanded("failed")}


def test_diagnostics_are_the_end_of_the_drivers_own_complaints(control: Path) -> None:
    (control / "driver.log").write_bytes(b"x" * 5000 + b"the end")
    assert driver.read_diagnostics(control).endswith("the end")
    assert len(driver.read_diagnostics(control)) == 4096


def test_the_clock_base_and_the_uptime_make_the_present() -> None:
    clock = SystemClock()
    uptime = float(Path("/proc/uptime").read_text().split()[0])
    assert abs(driver.clock_base(clock) / 1e6 + uptime - clock.now()) < 1


def test_the_driver_asks_for_nothing_outside_of_its_image() -> None:
    text = Path(driver.__file__).with_name("driver.sh").read_text()
    assert text.startswith("#!/bin/sh\n")
    assert driver.COMMAND == ("/bin/sh", "/codebuild/agent/driver.sh")
