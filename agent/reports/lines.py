"""Lines: which lines and branches of a source file ran; what several result files say of it becomes one."""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from dataclasses import dataclass

from agent.model.report import CodeCoverage, CoverageSummary


@dataclass(frozen=True)
class Amount:
    """Lines and branches, covered and missed."""

    lines_covered: int = 0
    lines_missed: int = 0
    branches_covered: int = 0
    branches_missed: int = 0

    def __add__(self, other: Amount) -> Amount:
        return Amount(
            self.lines_covered + other.lines_covered,
            self.lines_missed + other.lines_missed,
            self.branches_covered + other.branches_covered,
            self.branches_missed + other.branches_missed,
        )

    def of_file(self, path: str) -> CodeCoverage:
        """Return it as CodeBuild shows a file."""
        return CodeCoverage(file_path=path, **self._members())

    def in_all(self) -> CoverageSummary:
        """Return it as CodeBuild shows a whole report."""
        return CoverageSummary(**self._members())

    def _members(self) -> dict[str, float]:
        return {
            "line_coverage_percentage": percentage(self.lines_covered, self.lines_missed),
            "lines_covered": self.lines_covered,
            "lines_missed": self.lines_missed,
            "branch_coverage_percentage": percentage(self.branches_covered, self.branches_missed),
            "branches_covered": self.branches_covered,
            "branches_missed": self.branches_missed,
        }


def amount_of(coverage: CodeCoverage) -> Amount:
    """Return the numbers of a file's coverage."""
    return Amount(coverage.lines_covered, coverage.lines_missed, coverage.branches_covered, coverage.branches_missed)


def percentage(covered: int, missed: int) -> float:
    """Return covered / total in percent, cut after two decimals as CodeBuild cuts it (10 of 11 are 90.9)."""
    return covered * 10_000 // (covered + missed) / 100 if covered + missed else 0.0


@dataclass(frozen=True)
class Lines:
    """The lines of one source file that ran and that did not, and (line, covered, all) for each line with branches."""

    covered: array[int]
    missed: array[int]
    branches: array[int]

    def amount(self) -> Amount:
        """Return how many they are."""
        taken, every = sum(self.branches[1::3]), sum(self.branches[2::3])
        return Amount(len(self.covered), len(self.missed), taken, every - taken)


class Track:
    """Puts together what is known of one source file; costs a few bytes for each line that is told."""

    __slots__ = ("_branches", "_covered", "_missed", "_tidy")

    def __init__(self, *known: Lines) -> None:
        self._covered, self._missed, self._branches = array("I"), array("I"), array("I")
        self._tidy = 0
        for lines in known:
            self.add(lines)

    def line(self, number: int, *, ran: bool) -> None:
        """Say of a line whether it ran. One that ran once has run."""
        (self._covered if ran else self._missed).append(number)

    def branch(self, number: int, taken: int, every: int) -> None:
        """Say how many of a line's branches were taken. The most that anybody saw counts."""
        if every > 0:
            self._branches.extend((number, max(0, min(taken, every)), every))

    def add(self, lines: Lines) -> None:
        """Take up what another result file knows."""
        self._covered.extend(lines.covered)
        self._missed.extend(lines.missed)
        self._branches.extend(lines.branches)
        if len(self._covered) + len(self._missed) + len(self._branches) > 2 * self._tidy + 10_000:
            self._take(self.lines())

    def lines(self) -> Lines:
        """Return every line once."""
        covered = set(self._covered)
        missed = set(self._missed) - covered
        most: dict[int, tuple[int, int]] = {}
        told = iter(self._branches)
        for number, taken, every in zip(told, told, told, strict=True):
            before = most.get(number, (0, 0))
            most[number] = (max(before[0], taken), max(before[1], every))
        return Lines(_array(sorted(covered)), _array(sorted(missed)), _array(_flat(most)))

    def _take(self, lines: Lines) -> None:
        self._covered, self._missed, self._branches = lines.covered, lines.missed, lines.branches
        self._tidy = len(lines.covered) + len(lines.missed) + len(lines.branches)


def _array(numbers: Iterable[int]) -> array[int]:
    return array("I", numbers)


def _flat(most: dict[int, tuple[int, int]]) -> Iterable[int]:
    for number, (taken, every) in sorted(most.items()):
        yield from (number, taken, every)
