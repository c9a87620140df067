"""A wall clock that leaps costs nobody a log: what is old is told by a time that is believed only after a day."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.daemon.calendar import DOUBT_SECONDS, LEAP_SECONDS, Calendar
from agent.daemon.retention import DAY
from tests.unit.daemon.test_janitor import Host, names
from tests.unit.store.samples import NOON, ManualClock

YEAR = 365 * DAY


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


def test_time_that_passes_is_time_that_passes(clock: ManualClock) -> None:
    calendar = Calendar(clock)
    assert calendar.now() == NOON
    clock.at += 40 * DAY
    assert calendar.now() == clock.now()


def test_a_clock_that_leaps_ahead_is_believed_when_it_has_stayed_so_for_a_day(clock: ManualClock) -> None:
    calendar = Calendar(clock)
    clock.jumped = YEAR
    for _ in range(3):
        clock.at += 300
        assert calendar.now() == clock.at
    clock.at += DOUBT_SECONDS
    assert calendar.now() == clock.at + YEAR


def test_a_clock_that_was_mended_in_time_has_changed_nothing_and_is_doubted_anew_the_next_time(
    clock: ManualClock,
) -> None:
    calendar = Calendar(clock)
    for _ in range(3):
        clock.jumped = YEAR
        clock.at += DOUBT_SECONDS - 1
        assert calendar.now() == clock.at
        clock.jumped = 0.0
        assert calendar.now() == clock.at


def test_a_clock_that_is_set_back_or_a_little_ahead_is_believed(clock: ManualClock) -> None:
    calendar = Calendar(clock)
    for jump in (LEAP_SECONDS, -YEAR, -YEAR + LEAP_SECONDS):
        clock.jumped = jump
        assert calendar.now() == clock.now()


def test_the_next_daemon_knows_what_time_it_was(clock: ManualClock, tmp_path: Path) -> None:
    file = tmp_path / "clock"
    assert Calendar(clock, file).now() == NOON
    clock.jumped = YEAR
    clock.at += 3600
    after = Calendar(clock, file)
    assert after.now() == NOON, "how long nobody ran is not known"
    clock.at += DOUBT_SECONDS
    assert after.now() == clock.now()
    assert Calendar(clock, file).now() == clock.now()
    assert names(tmp_path) == {"clock"}


@pytest.mark.parametrize("damage", ["", "nan", "\0\0\0", "inf\n"])
def test_a_damaged_file_is_as_none(clock: ManualClock, tmp_path: Path, damage: str) -> None:
    (tmp_path / "clock").write_text(damage)
    assert Calendar(clock, tmp_path / "clock").now() == NOON


def test_where_the_time_cannot_be_kept_it_is_told_all_the_same(clock: ManualClock, tmp_path: Path) -> None:
    assert Calendar(clock, tmp_path / "no" / "clock").now() == NOON


def test_a_sweep_under_a_clock_that_is_a_year_ahead_removes_no_log_for_its_age(tmp_path: Path) -> None:
    host = Host(tmp_path)
    host.janitor.calendar = Calendar(host.clock)
    root = host.build(1)
    host.janitor.sweep()
    host.clock.jumped = YEAR
    host.janitor.sweep()
    assert names(root) == {"log"}
    host.clock.at += DOUBT_SECONDS
    host.janitor.sweep()
    assert not root.exists()
