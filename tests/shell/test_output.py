"""Every byte that a build prints arrives once and in order, whatever it does to its output; under three shells."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import pytest

from agent.container import driver
from agent.container.driver import STOP_SIGNAL
from tests.shell.harness import SHELLS, HostBuild, Ran, phase, until


@pytest.fixture(params=SHELLS)
def build(request: pytest.FixtureRequest, tmp_path: Path) -> HostBuild:
    return HostBuild(tmp_path, request.param)


def test_writing_to_dev_stdout_truncates_nothing(build: HostBuild) -> None:
    ran = build.run(
        phase("BUILD", "echo one", "echo two > /dev/stdout", "echo three | tee /dev/stderr", "echo four >&2")
    )
    assert ran.text.split() == ["one", "two", "three", "three", "four"]


def test_any_bytes_arrive_as_they_are(build: HostBuild) -> None:
    (build.source / "bytes").write_bytes(bytes(range(256)) * 3 + b"\xff\xfe no newline")
    ran = build.run(phase("BUILD", "cat bytes"))
    assert bytes(range(256)) * 3 + b"\xff\xfe no newline\n[Container]" in ran.raw


def test_a_line_of_ten_megabytes_arrives_whole(build: HostBuild) -> None:
    ran = build.run(phase("BUILD", "head -c 10000000 /dev/zero | tr '\\0' x; echo; echo end"))
    assert ran.raw.count(b"x" * 10_000_000) == 1
    assert b"\nend\n" in ran.raw


def test_two_hundred_thousand_lines_arrive_in_order(build: HostBuild) -> None:
    ran = build.run(phase("BUILD", "seq 1 200000"))
    assert ran.text.split("\n") == [str(number) for number in range(1, 200_001)]


def test_a_background_job_outlives_its_command_and_its_output_is_kept(build: HostBuild) -> None:
    job = "( until test -e go; do :; done; echo from the background; : > done ) &"
    ran = build.run(phase("BUILD", job, "true"), phase("POST_BUILD", ": > go; until test -e done; do :; done"))
    assert "from the background" in ran.text


def test_a_background_job_that_never_ends_does_not_hold_the_build(build: HostBuild) -> None:
    ran = build.run(phase("BUILD", "sleep 1000 & (trap '' TERM HUP; exec sleep 1000) & echo on"))
    assert ran.text.endswith("on")
    assert ran.result is not None


@pytest.mark.parametrize("victim", ["kill -9 {}", "kill {}", "kill -HUP {}"])
def test_a_killed_pump_is_replaced(build: HostBuild, victim: str) -> None:
    find = 'for p in /proc/[0-9]*; do read -r n < $p/comm; test "$n" != cat || echo ${p#/proc/}; done'
    pump = f"$({find})"
    command = f"echo before; {victim.format(pump)}; seq 1 50000"
    ran = build.run(phase("BUILD", command, "echo after"))
    lines = ran.text.split("\n")
    assert lines[-1] == "after"
    assert lines[-2] == "50000"


def test_killing_everything_does_not_end_the_build(build: HostBuild) -> None:
    ran = build.run(phase("BUILD", "kill -9 -1", "seq 1 50000", "kill -1; kill -TERM -1; echo on"))
    assert ran.text.endswith("on")
    assert "\n50000\n" in ran.log
    assert ran.result is not None
    assert ran.result.outcome == "completed"


def test_killing_the_process_group_does_not_end_the_build(build: HostBuild) -> None:
    ran = build.run(phase("BUILD", "trap 'trap - TERM; kill 0' EXIT; true"), phase("POST_BUILD", "echo on"))
    assert ran.text.endswith("on")


def test_an_image_without_cat_still_has_a_log(build: HostBuild) -> None:
    build.environ = {"PATH": "/no/such"}
    ran = build.run(phase("BUILD", "echo one; (exit 3)"), phase("POST_BUILD", "echo two"))
    assert "one" in ran.text
    assert ran.text.endswith("two")
    assert ran.statuses == [3, 0]


def test_a_retry_pattern_without_grep_is_told_and_not_retried(build: HostBuild) -> None:
    build.environ = {"PATH": "/no/such"}
    ran = build.run(phase("BUILD", "exit 3", on_failure="RETRY", retries=1, pattern="x"))
    assert ran.statuses == [3]
    assert "Cannot match the pattern of on-failure: the image has no grep or tail" in ran.lines


def test_a_build_that_wrecks_the_drivers_files_still_ends(build: HostBuild) -> None:
    wreck = f"rm -rf {build.scratch}/* {build.control}/output {build.control}/go; exit 0"
    ran = build.run(phase("BUILD", wreck, "echo on"), phase("POST_BUILD", f"rm -rf {build.scratch}", "true"))
    assert ran.result is not None


def child_of(process: int) -> int:
    return int(Path(f"/proc/{process}/task/{process}/children").read_text().split()[0])


def test_a_build_that_is_stopped_runs_nothing_more(build: HostBuild) -> None:
    plan = build.plan(phase("BUILD", ": > begun; until test -e over; do :; done", "echo no", finally_=("echo no",)))
    with build.start() as process:
        build.begin(plan)
        until((build.source / "begun").exists)
        Path(f"/proc/{child_of(process.pid)}").stat()
        signal_driver(process.pid)
        (build.source / "over").touch()
        assert process.wait(30) == 0
    ran = Ran(build.control, plan)
    assert ran.result == driver.Result("stopped", plan.phases[0].phase, succeeding=True)
    assert "echo no" not in ran.log


def test_a_build_can_be_stopped_before_it_begins(build: HostBuild) -> None:
    with build.start() as process:
        until(lambda: driver.stop(build.control))
        assert process.wait(30) == 0
    assert driver.read_result(build.control) == driver.Result("stopped", None, succeeding=True)


def test_a_build_that_waits_can_be_stopped_by_a_signal(build: HostBuild) -> None:
    with build.start() as process:
        until(lambda: is_waiting(process.pid))
        until(lambda: has_ended(process) or not signal_driver(process.pid))
        assert process.wait(30) == 0
    assert driver.read_result(build.control) == driver.Result("stopped", None, succeeding=True)


def has_ended(process: subprocess.Popen[bytes]) -> bool:
    return process.poll() is not None


def signal_driver(process: int) -> bool:
    """Send the stop signal; False: there is nobody any more. A single one may meet a shell on its way into `read`."""
    try:
        os.kill(child_of(process), getattr(signal, STOP_SIGNAL))
    except (IndexError, OSError):
        return False
    return True


def is_waiting(process: int) -> bool:
    """Whether the driver has set its trap and opened its log: its pump runs."""
    try:
        return bool(Path(f"/proc/{child_of(process)}/task/{child_of(process)}/children").read_text())
    except (OSError, IndexError):
        return False


def test_terminating_signals_do_not_end_the_driver(build: HostBuild) -> None:
    ran = build.run(phase("BUILD", "kill 1; kill -HUP 1; kill -INT 1; kill -PIPE 1"), phase("POST_BUILD", "echo on"))
    assert ran.text == "on"


def test_the_files_go_back_to_their_owner(build: HostBuild) -> None:
    ran = build.run(phase("BUILD", "mkdir -p a/b; : > a/b/c"), owner=(12345, 54321), checkouts=(str(build.source),))
    assert ran.result is not None
    status = (build.source / "a/b/c").stat()
    assert (status.st_uid, status.st_gid) == (12345, 54321)
    assert (build.control / "driver.log").stat().st_uid == 12345
