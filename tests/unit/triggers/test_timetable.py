"""Schedules' expressions: when they are due, also on the two days on which the clock is changed."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.triggers import timetable

NEW_YEAR = "2026-01-01T00:00:00+00:00"
BERLIN = "Europe/Berlin"


def due(expression: str, zone: str = "UTC", since: str = NEW_YEAR, count: int = 3) -> list[str]:
    """Return the next moments, as the clocks of *zone* show them."""
    table, moment, found = timetable.parse(expression, zone), datetime.fromisoformat(since).timestamp(), []
    for _ in range(count):
        following = table.next(moment, 0.0)
        if following is None:
            break
        moment = following
        found.append(datetime.fromtimestamp(moment, ZoneInfo(zone)).isoformat()[2:16])
    return found


def test_a_job_in_the_hour_that_is_left_out_runs_once_when_it_ends() -> None:
    since = "2026-03-28T12:00:00+01:00"
    assert due("30 2 * * *", BERLIN, since, 2) == ["26-03-29T03:00", "26-03-30T02:30"]
    assert due("*/20 2 * * *", BERLIN, since, 3) == ["26-03-29T03:00", "26-03-30T02:00", "26-03-30T02:20"]
    assert due("cron(30 2 * * ? *)", BERLIN, since, 2) == ["26-03-29T03:00", "26-03-30T02:30"]
    assert due("30 2 * * *", "America/New_York", "2026-03-07T12:00:00-05:00", 2) == ["26-03-08T03:00", "26-03-09T02:30"]


def test_a_job_in_the_hour_that_comes_twice_runs_once() -> None:
    since = "2026-10-24T12:00:00+02:00"
    assert due("30 2 * * *", BERLIN, since, 2) == ["26-10-25T02:30", "26-10-26T02:30"]
    assert due("*/30 2 * * *", BERLIN, since, 3) == ["26-10-25T02:00", "26-10-25T02:30", "26-10-26T02:00"]
    second_time = "2026-10-25T02:15:00+01:00"
    assert due("30 2 * * *", BERLIN, second_time, 1) == ["26-10-26T02:30"], "its first time has passed"


def test_a_job_of_every_hour_follows_the_time_that_passes() -> None:
    assert due("30 * * * *", BERLIN, "2026-03-29T01:00:00+01:00", 2) == ["26-03-29T01:30", "26-03-29T03:30"]
    twice = due("30 * * * *", BERLIN, "2026-10-25T02:00:00+02:00", 3)
    assert twice == ["26-10-25T02:30", "26-10-25T02:30", "26-10-25T03:30"]


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("0 3 * * *", ["26-01-01T03:00", "26-01-02T03:00", "26-01-03T03:00"]),
        ("0 12 1 * MON", ["26-01-01T12:00", "26-01-05T12:00", "26-01-12T12:00"]),
        ("0 0 29 2 *", ["28-02-29T00:00", "32-02-29T00:00", "36-02-29T00:00"]),
        ("cron(0 12 * * ? *)", ["26-01-01T12:00", "26-01-02T12:00", "26-01-03T12:00"]),
        ("cron(0 18 ? * MON-FRI *)", ["26-01-01T18:00", "26-01-02T18:00", "26-01-05T18:00"]),
        ("cron(0 18 ? * 2-6 *)", ["26-01-01T18:00", "26-01-02T18:00", "26-01-05T18:00"]),
        ("cron(0 9 ? * 1 *)", ["26-01-04T09:00", "26-01-11T09:00", "26-01-18T09:00"]),
        ("cron(0 9 ? * L *)", ["26-01-03T09:00", "26-01-10T09:00", "26-01-17T09:00"]),
        ("cron(0 10 ? * 6L *)", ["26-01-30T10:00", "26-02-27T10:00", "26-03-27T10:00"]),
        ("cron(0 10 ? * 2#1 *)", ["26-01-05T10:00", "26-02-02T10:00", "26-03-02T10:00"]),
        ("cron(15 10 L * ? *)", ["26-01-31T10:15", "26-02-28T10:15", "26-03-31T10:15"]),
        ("cron(0 8 1W 1-3,8 ? *)", ["26-01-01T08:00", "26-02-02T08:00", "26-03-02T08:00"]),
        ("cron(0 8 31W * ? *)", ["26-01-30T08:00", "26-03-31T08:00", "26-05-29T08:00"]),
        ("cron(0/30 17 ? * * 2030-2031)", ["30-01-01T17:00", "30-01-01T17:30", "30-01-02T17:00"]),
        ("cron(0 0 1 1 ? 2028/2)", ["28-01-01T00:00", "30-01-01T00:00", "32-01-01T00:00"]),
        ("cron(0 0 1 1 ? 1999)", []),
        ("cron(0 0 31W 2 ? *)", []),
        ("rate(1 minute)", ["26-01-01T00:01", "26-01-01T00:02", "26-01-01T00:03"]),
        ("rate( 12 hours )", ["26-01-01T12:00", "26-01-02T00:00", "26-01-02T12:00"]),
    ],
)
def test_the_three_forms_mean_what_they_mean_elsewhere(expression: str, expected: list[str]) -> None:
    assert due(expression) == expected


def test_a_rate_counts_from_the_moment_at_which_the_schedule_was_first_seen() -> None:
    table = timetable.parse("rate(5 minutes)")
    assert table.next(1000.0, 1000.0) == 1300.0
    assert table.next(1299.9, 1000.0) == 1300.0
    assert table.next(1300.0, 1000.0) == 1600.0


@pytest.mark.parametrize(
    ("expression", "reason"),
    [
        ("", "five fields"),
        ("0 3 * *", "five fields"),
        ("0 3 * * ? *", "cron(0 12"),
        ("61 * * * *", "bad minute"),
        ("0 0 31 2 *", "bad day-of-month"),
        ("@daily", "five fields"),
        ("cron(0 12 * * * *)", "must be ?"),
        ("cron(0 12 ? * ? *)", "must be ?"),
        ("cron(0 12 * * ?)", "six fields"),
        ("cron(0 12 ? * 8 *)", "bad day-of-week"),
        ("cron(0 12 32W * ? *)", "bad day-of-month"),
        ("cron(0 12 * * ? 2300)", "no year"),
        ("rate(1 minutes)", "rate(1 minute)"),
        ("rate(5 minute)", "rate(5 minutes)"),
        ("rate(0 days)", "expected rate"),
        ("rate(5 weeks)", "expected rate"),
        ("* " * 200, "at most"),
    ],
)
def test_a_wrong_expression_is_refused_with_a_reason(expression: str, reason: str) -> None:
    with pytest.raises(ValueError) as caught:
        timetable.parse(expression)
    assert reason in str(caught.value)


@pytest.mark.parametrize("zone", ["", "Berlin", "Europe", "../etc/passwd", "/etc/localtime", "a\0b"])
def test_a_time_zone_that_is_none_is_refused(zone: str) -> None:
    with pytest.raises(ValueError, match="no time zone"):
        timetable.parse("0 3 * * *", zone)


FIELD = st.text(alphabet="0123456789*/-,?L#W SUNMOJA", max_size=7)


@settings(max_examples=300, deadline=None)
@given(parts=st.lists(FIELD, min_size=4, max_size=7), aws=st.booleans())
def test_no_text_does_anything_but_mean_something_or_be_refused(parts: list[str], *, aws: bool) -> None:
    text = " ".join(parts)
    now = datetime(2026, 11, 22, tzinfo=UTC).timestamp()
    try:
        table = timetable.parse(f"cron({text})" if aws else text, BERLIN)
    except ValueError:
        return
    following = table.next(now, now)
    assert following is None or following > now
