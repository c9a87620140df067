"""Summary: the result files of one report become its numbers, its status and what it lists (buildspec.md 12.4)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from agent.model.report import (
    CodeCoverage,
    CoverageSummary,
    ReportDetails,
    ReportStatus,
    ReportType,
    TestCase,
    TestStatus,
    TestSummary,
)
from agent.reports.formats import Format
from agent.reports.lines import Amount, Lines, Track, amount_of
from agent.reports.results import MOST_CASES, URGENT, Counts, Results, Shelf, Tally
from agent.reports.sources import MOST_FILES

MOST_COVERAGES = 5_000
"""Source files that a coverage report lists; the summary counts the others too."""
FINE: frozenset[TestStatus] = frozenset({"SUCCEEDED", "SKIPPED"})
"""What leaves a report SUCCEEDED. The guide says "all test cases were successful"; a skipped one "did not run"."""


@dataclass(frozen=True)
class Outcome:
    """What a report says: one of the two summaries is there, by its type."""

    type: ReportType
    status: ReportStatus
    truncated: bool
    test_summary: TestSummary | None
    code_coverage_summary: CoverageSummary | None
    details: ReportDetails


def summarise(format: Format, files: Iterable[Results]) -> Outcome:
    """Return what *files*, all read as *format*, say together. They are taken one at a time, and not kept.

    Tests: 500 cases are listed, those that failed first, else in the order of the files; all of them are counted.
    Coverage: a source file in several result files is merged line by line; 5,000 are listed, all of them are counted.
    """
    return _tests(files) if format.type == "TEST" else _coverage(files)


def _tests(files: Iterable[Results]) -> Outcome:
    tally, shelf, fine = Tally(), Shelf(), True
    for results in files:
        tally.add(results.counts or _counted(results.cases))
        shelf.dropped += results.dropped
        for case in results.cases:
            fine = fine and case.status in FINE
            if shelf.has_room(case.status):
                shelf.put(case)
    fine = fine and not any(many for status, many in tally.by_status.items() if status not in FINE)
    kept = sorted(shelf.cases, key=lambda case: case.status not in URGENT)
    return Outcome(
        type="TEST",
        status="SUCCEEDED" if fine else "FAILED",
        truncated=shelf.dropped > 0 or len(kept) > MOST_CASES,
        test_summary=TestSummary(
            total=tally.total, status_counts=dict(tally.by_status), duration_in_nano_seconds=tally.nanoseconds
        ),
        code_coverage_summary=None,
        details=ReportDetails(test_cases=tuple(kept[:MOST_CASES])),
    )


def _counted(cases: Iterable[TestCase]) -> Counts:
    tally = Tally()
    for case in cases:
        tally.count(case.status, case.duration_in_nano_seconds)
    return tally.counts()


def _coverage(files: Iterable[Results]) -> Outcome:
    merged = _Merged()
    for results in files:
        for coverage in results.coverages:
            merged.add(coverage, results.lines.get(coverage.file_path))
    amounts = merged.amounts()
    everything = sum(amounts.values(), merged.beyond)
    listed = list(amounts.items())[:MOST_COVERAGES]
    return Outcome(
        type="CODE_COVERAGE",
        status="SUCCEEDED",
        truncated=len(listed) < len(amounts) or merged.beyond != Amount(),
        test_summary=None,
        code_coverage_summary=everything.in_all(),
        details=ReportDetails(code_coverages=tuple(amount.of_file(path) for path, amount in listed)),
    )


class _Merged:
    """Source files by path, each with all that is known of it."""

    def __init__(self) -> None:
        self.beyond = Amount()
        self._first: dict[str, tuple[CodeCoverage, Lines | None]] = {}
        self._tracks: dict[str, Track] = {}

    def add(self, coverage: CodeCoverage, lines: Lines | None) -> None:
        """Take up one file of one result file; beyond `MOST_FILES` files it is only added to the sum."""
        path, lines = coverage.file_path, _telling(lines)
        before = self._first.get(path)
        if before is None:
            if len(self._first) < MOST_FILES:
                self._first[path] = (coverage, lines)
            else:
                self.beyond += amount_of(coverage)
        elif lines and path in self._tracks:
            self._tracks[path].add(lines)
        elif lines and before[1]:
            self._tracks[path] = Track(before[1], lines)
        elif coverage.lines_covered > before[0].lines_covered:  # no lines to compare: the better one is nearer to both
            self._first[path] = (coverage, lines)

    def amounts(self) -> dict[str, Amount]:
        """Return the numbers of each file, in the order in which they came."""
        merged = {path: track.lines().amount() for path, track in self._tracks.items()}
        return {path: merged.get(path) or amount_of(first) for path, (first, _) in self._first.items()}


def _telling(lines: Lines | None) -> Lines | None:
    """Return *lines* if they can be merged with others."""
    return lines if lines and (lines.covered or lines.missed) else None
