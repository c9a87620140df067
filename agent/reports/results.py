"""Results: what one result file says, in a size that does not depend on the file's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import get_args

from agent.model.report import CodeCoverage, TestCase, TestStatus
from agent.reports.fields import MOST_NANOSECONDS, clean
from agent.reports.lines import Lines

MOST_CASES = 500
"""Test cases of a report; more are counted, and left out (buildspec.md 12.4)."""
MOST_NAME = 1_000
MOST_MESSAGE = 5_000
"""Characters of a test case's name and message (buildspec.md 12.4)."""

STATUSES: tuple[TestStatus, ...] = get_args(TestStatus)
URGENT = frozenset({"FAILED", "ERROR"})
"""What a report that is too long keeps first."""


@dataclass(frozen=True)
class Counts:
    """How many test cases there are, in all and by status; how long all of them took."""

    total: int
    by_status: Mapping[TestStatus, int]
    duration_in_nano_seconds: int = 0


@dataclass(frozen=True)
class Results:
    """What one file says.

    `cases`: at most 500 that failed and 500 others, in the order of the file; `dropped`: how many more there are.
    `counts`: what JUnit's suites say of themselves, or else what was counted; None for coverage.
    `lines`: which lines of each covered file ran, so that a second file about it can be merged.
    """

    cases: tuple[TestCase, ...] = ()
    coverages: tuple[CodeCoverage, ...] = ()
    counts: Counts | None = None
    dropped: int = 0
    lines: Mapping[str, Lines] = field(default_factory=dict)


class Tally:
    """Counts of cases, as they come."""

    def __init__(self) -> None:
        self.by_status: dict[TestStatus, int] = dict.fromkeys(STATUSES, 0)
        self.nanoseconds = 0

    @property
    def total(self) -> int:
        return sum(self.by_status.values())

    def count(self, status: TestStatus, nanoseconds: int) -> None:
        """Count one case."""
        self.by_status[status] += 1
        self.nanoseconds = min(self.nanoseconds + nanoseconds, MOST_NANOSECONDS)

    def add(self, other: Counts) -> None:
        """Count what somebody else has counted."""
        for status, many in other.by_status.items():
            self.by_status[status] += many
        self.nanoseconds = min(self.nanoseconds + other.duration_in_nano_seconds, MOST_NANOSECONDS)

    def counts(self, nanoseconds: int = 0) -> Counts:
        """Return the counts. *nanoseconds*: what the whole run says that it took, if it says it."""
        return Counts(self.total, dict(self.by_status), nanoseconds or self.nanoseconds)


class Shelf:
    """The first cases that failed and the first others, as many as a report can have of each."""

    def __init__(self) -> None:
        self._cases: list[TestCase] = []
        self._urgent = self._others = self.dropped = 0

    def has_room(self, status: TestStatus) -> bool:
        """Return whether one more of that status is kept; one that is not is counted as dropped."""
        room = (self._urgent if status in URGENT else self._others) < MOST_CASES
        self.dropped += not room
        return room

    def put(self, case: TestCase) -> None:
        """Keep a case that there is room for."""
        self._cases.append(case)
        self._urgent += case.status in URGENT
        self._others += case.status not in URGENT

    @property
    def cases(self) -> tuple[TestCase, ...]:
        return tuple(self._cases)


class Cases:
    """Collects the test cases of one file."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._shelf = Shelf()
        self.tally = Tally()

    def add(
        self,
        name: str | None,
        status: TestStatus,
        *,
        prefix: str | None = None,
        suite: str | None = None,
        nanoseconds: int = 0,
        message: str | None = None,
    ) -> None:
        """Take up one case; texts may have any length, and are cut to what a report shows."""
        self.tally.count(status, nanoseconds)
        if self._shelf.has_room(status):
            case = TestCase(
                name=clean(name, MOST_NAME) or "(no name)",
                prefix=clean(prefix, MOST_NAME) or None,
                test_suite_name=clean(suite, MOST_NAME) or None,
                status=status,
                duration_in_nano_seconds=nanoseconds,
                message=clean(message, MOST_MESSAGE) or None,
                test_raw_data_path=self._path,
            )
            self._shelf.put(case)

    def results(self, counts: Counts | None = None, *, nanoseconds: int = 0) -> Results:
        """Return all that was collected. *counts*: what the file says of itself, if that is to be believed."""
        return Results(
            cases=self._shelf.cases,
            counts=counts or self.tally.counts(nanoseconds),
            dropped=self._shelf.dropped,
        )


def said(message: str | None, detail: str | None) -> str | None:
    """Return a message and the details below it, as one text that does not say things twice."""
    message, detail = (message or "").strip(), (detail or "").strip()
    if message[:200] in detail:
        return detail or None
    return f"{message[:MOST_MESSAGE]}\n{detail}".strip()
