"""How long something has gone on is told by the host's own clock, whatever the one on the wall is set to."""

from __future__ import annotations

import pytest

from agent.kit.clock import Elapsed, Moment, SystemClock, boot_id
from tests.unit.store.samples import ManualClock

DAY = 86400.0


@pytest.mark.parametrize("jump", [DAY, -DAY])
def test_a_clock_that_is_set_neither_adds_to_what_has_gone_by_nor_takes_from_it(jump: float) -> None:
    clock = ManualClock()
    elapsed = Elapsed(clock, clock.now() - 30)
    clock.jumped = jump
    clock.at += 5
    assert elapsed.seconds == 35


@pytest.mark.parametrize("jump", [DAY, -DAY])
def test_a_clock_that_was_set_while_no_daemon_ran_makes_no_difference_where_the_moment_was_kept(jump: float) -> None:
    clock = ManualClock()
    began, moment = clock.now(), Moment.of(clock)
    clock.at += 60
    clock.jumped = jump
    assert Elapsed(clock, began, moment).seconds == 60


def test_after_a_start_of_the_host_the_wall_clock_is_asked() -> None:
    clock = ManualClock()
    assert Elapsed(clock, clock.now() - 30, Moment("another start", clock.monotonic() - 5)).seconds == 30
    assert Elapsed(clock, clock.now() - 30, Moment("", clock.monotonic() - 5)).seconds == 30
    assert Elapsed(clock, clock.now() - 30, Moment(boot_id(), clock.monotonic() + 5)).seconds == 30


def test_what_begins_in_the_future_has_gone_on_for_no_time() -> None:
    clock = ManualClock()
    assert Elapsed(clock, clock.now() + DAY).seconds == 0


def test_two_processes_of_one_start_of_the_host_read_one_clock() -> None:
    moment = Moment.of(SystemClock())
    assert moment.boot
    assert 0 <= Elapsed(SystemClock(), 0.0, moment).seconds < 60
