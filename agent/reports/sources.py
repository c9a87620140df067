"""Sources: collects the source files that one coverage file speaks of."""

from __future__ import annotations

from agent.errors import ReportInvalid
from agent.reports.fields import clean
from agent.reports.lines import Amount, Track
from agent.reports.results import Results

MOST_FILES = 50_000
"""Source files in one coverage file."""
MOST_PATH = 4_096
"""Characters of a source file's path."""


class Sources:
    """Source files by path, in the order in which they are first spoken of."""

    def __init__(self, path: str, *, most: int = MOST_FILES) -> None:
        self._path, self._most = path, most
        self._tracks: dict[str, Track] = {}
        self._stated: dict[str, Amount] = {}

    def track(self, name: str | None) -> Track:
        """Return the one place for all that is said of a source file. Raises `ReportInvalid` if there are too many."""
        name = self._named(name)
        if name not in self._tracks:
            if len(self._tracks) >= self._most:
                raise ReportInvalid(f"{self._path}: more than {self._most:,} source files")
            self._tracks[name] = Track()
        return self._tracks[name]

    def state(self, name: str | None, amount: Amount) -> None:
        """Take what the coverage tool itself says of a source file in place of what the lines add up to."""
        self.track(name)
        self._stated[self._named(name)] = amount

    def results(self) -> Results:
        """Return what was collected."""
        lines = {name: track.lines() for name, track in self._tracks.items()}
        amounts = {name: self._stated.get(name) or known.amount() for name, known in lines.items()}
        coverages = tuple(amount.of_file(name) for name, amount in amounts.items())
        return Results(coverages=coverages, lines=lines)

    @staticmethod
    def _named(name: str | None) -> str:
        return clean(name, MOST_PATH) or "(no name)"
