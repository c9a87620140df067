"""The kernel's log tells which process of a container was killed, and cannot be made to tell of another's."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.container.kernel import Victim, read_line, victim_of

ONE, OTHER = "a" * 64, "b" * 64
LINE = (
    "6,5312,17829383,-;oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset={0},mems_allowed=0,"
    "oom_memcg=/docker/{0},task_memcg=/docker/{0},task={1},pid={2},uid=0"
)
SYSTEMD = LINE.replace("/docker/{0}", "/system.slice/docker-{0}.scope")


@pytest.mark.parametrize("line", [LINE, SYSTEMD])
def test_the_victim_of_a_container_is_found_whoever_made_its_group(line: str) -> None:
    assert read_line(line.format(ONE, "cc1plus", 4711), ONE) == Victim("cc1plus", 4711)
    assert read_line(line.format(OTHER, "cc1plus", 4711), ONE) is None


def test_the_last_of_several_counts_and_other_lines_are_passed_over(tmp_path: Path) -> None:
    log = tmp_path / "kmsg"
    told = [
        LINE.format(ONE, "first", 1),
        LINE.format(OTHER, "theirs", 3),
        LINE.format(ONE, "last", 2),
        "4,1,1,-;eth0 up",
    ]
    log.write_text("\n".join(told) + "\n")
    assert victim_of(ONE, log) == Victim("last", 2)
    assert victim_of("c" * 64, log) is None


@pytest.mark.parametrize("name", ["a,pid=1,uid=0,task=x", "\x1b[31mred", "x" * 500])
def test_a_name_that_a_build_has_chosen_does_no_harm(name: str) -> None:
    victim = read_line(LINE.format(ONE, name, 9), ONE)
    assert victim is not None
    assert victim.pid == 9
    assert victim.name.isprintable()
    assert len(victim.name) <= 64


def test_a_log_that_may_not_be_read_tells_nothing(tmp_path: Path) -> None:
    assert victim_of(ONE, tmp_path / "none") is None
    assert victim_of(ONE, tmp_path) is None


def test_the_log_of_this_host_is_read_to_its_end_without_waiting() -> None:
    assert victim_of("0" * 64) is None
