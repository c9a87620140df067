"""Timetable: when a schedule is due; the one door to cronsim. Pure.

Three forms: five fields of cron (`0 3 * * 1-5`), AWS's `cron(0 12 * * ? *)` with its six fields, and `rate(5 minutes)`.
A job at a fixed hour runs once on the day on which the clock is put forward over it (when the gap ends), and once on
the day on which its hour comes twice (the first time). A job at every hour (`*`, `*/2`) follows the time that passes.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from functools import lru_cache
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from agent.model.project import Project, Schedule

_LONGEST = 256
_AWS = re.compile(r"cron\((.*)\)", re.DOTALL)
_RATE = re.compile(r"rate\(\s*(\d{1,9})\s+(minutes?|hours?|days?)\s*\)")
_SECONDS = {"minute": 60, "hour": 3600, "day": 86400}
_YEARS = (1970, 2199)
_YEAR = re.compile(r"(\*|\d{4}(?:-\d{4})?)(?:/(\d{1,3}))?")
_NEAREST = re.compile(r"(\d{1,2})W")
_MOST_TRIES = 1000
"""Days that are passed over, because they do not fit, before an expression counts as one that never comes."""


@dataclass(frozen=True)
class Timetable:
    """When something is due: every *period* seconds, or whenever *cron* says so in *zone*.

    Of the days of *cron* only those count that lie in *years* (None: any), and that *fits* agrees to.
    """

    cron: str = ""
    zone: tzinfo = UTC
    period: float = 0.0
    years: frozenset[int] | None = None
    fits: Callable[[date], bool] = lambda day: True

    def next(self, after: float, born: float) -> float | None:
        """Return the first moment later than *after*, or None where there is none; all in epoch seconds.

        A period is counted from *born*, the moment at which the schedule was first seen.
        """
        if self.period:
            return born + self.period * (math.floor((after - born) / self.period) + 1)
        try:
            return self._next_of_cron(after)
        except (OverflowError, OSError, ValueError, StopIteration):
            return None  # beyond the calendar, or nothing in fifty years

    def _next_of_cron(self, after: float) -> float | None:
        start = datetime.fromtimestamp(after, self.zone)
        for _ in range(_MOST_TRIES):
            moment = next(CronSim(self.cron, start))
            day = moment.date()
            if self.years is not None and day.year not in self.years:
                start = self._just_before(date(min(year for year in self.years if year > day.year), 1, 1))
            elif not self.fits(day):
                start = self._just_before(day + timedelta(days=1))
            elif moment.timestamp() > after:
                return moment.timestamp()
            else:
                start = moment  # an hour that comes twice: this was its first time
        return None

    def _just_before(self, day: date) -> datetime:
        return datetime.combine(day, time(), self.zone) - timedelta(seconds=1)


@lru_cache(maxsize=4096)
def parse(expression: str, zone: str = "UTC") -> Timetable:
    """Return the timetable that *expression* means, in the time zone *zone*. Raises `ValueError` with the reason."""
    text = expression.strip()
    if len(text) > _LONGEST:
        raise ValueError(f"a schedule has at most {_LONGEST} characters")
    if text.startswith("rate("):
        return Timetable(period=_period(text))
    known = find_zone(zone)
    aws = _AWS.fullmatch(text)
    found = _from_aws(aws[1], known) if aws else Timetable(_five(text), known)
    try:
        CronSim(found.cron, datetime(2026, 1, 1, tzinfo=UTC))
    except CronSimError as error:
        raise ValueError(f"{expression!r}: {str(error).lower()}") from None
    return replace(found, cron=_at_fixed_hours(found.cron))


def named(project: Project) -> Iterator[tuple[str, Schedule]]:
    """Yield the schedules of *project* with their names. Pure."""
    for number, schedule in enumerate(project.agent.schedule, start=1):
        yield schedule.name or f"schedule-{number}", schedule


def find_zone(name: str) -> tzinfo:
    """Return a time zone by its name in the IANA database, such as `Europe/Berlin`. Raises `ValueError`."""
    if name == "UTC":
        return UTC
    try:
        return ZoneInfo(name)
    except (ValueError, OSError, LookupError):  # no such file, a directory, a path that leads out, an empty name
        raise ValueError(f"there is no time zone {name[:100]!r}: expected one such as Europe/Berlin or UTC") from None


def _period(text: str) -> float:
    match = _RATE.fullmatch(text)
    if match is None or int(match[1]) == 0:
        raise ValueError(f"{text!r}: expected rate(5 minutes), rate(1 hour) or rate(2 days)")
    number, unit = int(match[1]), match[2]
    if unit.endswith("s") == (number == 1):
        right = unit.removesuffix("s") + ("" if number == 1 else "s")
        raise ValueError(f"{text!r}: write rate({number} {right})")
    return float(number * _SECONDS[unit.removesuffix("s")])


def _five(text: str) -> str:
    count = len(text.split())
    if count != 5:
        advice = "; AWS's own six are written cron(0 12 * * ? *)" if count == 6 else ""
        raise ValueError(f"{text!r}: expected five fields, minute hour day month weekday, not {count}{advice}")
    return text


def _at_fixed_hours(cron: str) -> str:
    """Write `*` minutes of fixed hours as numbers: cronsim moves a job out of a gap only where no star stands."""
    minute, hour, *rest = cron.split()
    if not hour.startswith("*") and minute.startswith("*"):
        minute = "0-59" + minute[1:]
    return " ".join((minute, hour, *rest))


def _from_aws(inner: str, zone: tzinfo) -> Timetable:
    """Return what AWS's six fields mean (EventBridge's user guide)."""
    fields = inner.upper().split()
    if len(fields) != 6:
        raise ValueError(f"cron({inner}): expected six fields, minute hour day month weekday year, not {len(fields)}")
    minute, hour, day, month, weekday, year = fields
    if (day == "?") == (weekday == "?"):
        raise ValueError(f"cron({inner}): either the day or the weekday must be ?, and the other one not")
    nearest = _NEAREST.fullmatch(day)
    if nearest and not 1 <= int(nearest[1]) <= 31:
        raise ValueError(f"cron({inner}): bad day-of-month")
    plain_day = "*" if day == "?" or nearest else day
    plain_weekday = "*" if weekday == "?" else ",".join(map(_weekday, weekday.split(",")))
    found = Timetable(" ".join((minute, hour, plain_day, month, plain_weekday)), zone, years=_years(year))
    if nearest is None:
        return found
    wanted = int(nearest[1])
    return replace(found, fits=lambda one: one.day == _workday(one, wanted))


def _weekday(term: str) -> str:
    """Return a weekday of AWS, where SUN is 1, in cron's numbers, where it is 0; `L` alone is the Saturday."""
    if term == "L":
        return "6"
    days, sign, rest = term.partition("#") if "#" in term else term.partition("/")
    return re.sub(r"\d+", _one_less, days) + sign + rest


def _one_less(number: re.Match[str]) -> str:
    value = int(number[0])
    return str(value - 1) if 1 <= value <= 7 else "8"  # no weekday: cronsim says so


def _workday(day: date, wanted: int) -> int:
    """Return which day of *day*'s month is the workday nearest to the *wanted*-th, 0 where there is no such day."""
    last = _last_day(day)
    if wanted > last:
        return 0
    weekday = day.replace(day=wanted).weekday()
    if weekday == 5:
        return wanted - 1 if wanted > 1 else 3
    if weekday == 6:
        return wanted + 1 if wanted < last else wanted - 2
    return wanted


def _last_day(day: date) -> int:
    following = date(day.year + day.month // 12, day.month % 12 + 1, 1)
    return (following - day.replace(day=1)).days


def _years(text: str) -> frozenset[int] | None:
    """Return the years that a field means; None: all."""
    return None if text == "*" else frozenset(_each_year(text.split(",")))


def _each_year(terms: Iterable[str]) -> Iterator[int]:
    for term in terms:
        match = _YEAR.fullmatch(term)
        if match is None:
            raise ValueError(f"{term[:50]!r} is no year")
        span, step = match[1], int(match[2] or 1)
        first, _, last = span.partition("-")
        begin = _YEARS[0] if span == "*" else int(first)
        end = _YEARS[1] if span == "*" or (match[2] and not last) else int(last or first)
        if not _YEARS[0] <= begin <= end <= _YEARS[1] or step == 0:
            raise ValueError(f"{term[:50]!r} is no year from {_YEARS[0]} to {_YEARS[1]}")
        yield from range(begin, end + 1, step)
