"""Result files: what one report is made of, read within bounds and parsed one after the other (buildspec.md 12)."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from agent.errors import ReportInvalid, UserError
from agent.kit.tree import Tree
from agent.reports.formats import MOST_BYTES, Format, Results
from agent.reports.summary import Outcome, summarise

MOST_READ = 256 << 20
"""Bytes of all files of one report; what is beyond is a trouble of it."""
_EXCEPTION = re.compile(r"\w+Exception: ")
"""A message in CodeBuild's own words names the exception; the others are of one kind."""
_MOST_TOLD = 5
_LONGEST_TOLD = 500


@dataclass
class ResultFiles:
    """The files of one report. `entries` are names for the report, each with the entry of a tree that has the content.

    `check` is called ahead of each file, and may raise to end it. After `outcome`, `troubles` says what is wrong.
    """

    format: Format
    entries: Iterable[tuple[str, Tree, str]]
    check: Callable[[], None]
    troubles: list[UserError] = field(default_factory=list)
    _parsed: int = 0
    _read: int = 0

    def outcome(self) -> Outcome | None:
        """Return what those of the files say that can be understood; None where none can."""
        outcome = summarise(self.format, self._results())
        return outcome if self._parsed else None

    def _results(self) -> Iterator[Results]:
        for name, tree, entry in self.entries:
            self.check()
            try:
                results = self.format.parse(name, self._content(name, tree, entry))
            except ReportInvalid as error:
                self.troubles.append(error)
                continue
            self._parsed += 1
            yield results

    def _content(self, name: str, tree: Tree, entry: str) -> bytes:
        try:
            handle = tree.open(entry)
        except OSError as error:
            raise ReportInvalid(f"{name}: {error.strerror}") from error
        if handle is None:
            raise ReportInvalid(f"{name} was removed or replaced while it was read")
        limit = min(MOST_BYTES, MOST_READ - self._read)
        with os.fdopen(handle, "rb") as file:
            data = file.read(limit + 1)
        if len(data) > limit:
            raise ReportInvalid(f"{name}: more than {MOST_BYTES >> 20} MiB, or {MOST_READ >> 20} MiB with those before")
        self._read += len(data)
        return data


def told(troubles: Sequence[UserError]) -> str:
    """Return what is wrong with the files of one report, as CodeBuild tells it (buildspec.md 12.5), not at length."""
    more = len(troubles) - _MOST_TOLD
    texts = [_told(error) for error in troubles[:_MOST_TOLD]]
    return ", ".join([*texts, *([f"{more} more"] if more > 0 else [])])


def _told(error: UserError) -> str:
    text = error.message[:_LONGEST_TOLD]
    if not isinstance(error, ReportInvalid):
        return text
    return f"error processing report: [{text if _EXCEPTION.match(text) else f'InvalidInputException: {text}'}]"
