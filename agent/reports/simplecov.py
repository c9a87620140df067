"""SimpleCov: Ruby's `.resultset.json`, and the `coverage.json` of its own JSON formatter."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from agent.errors import ReportInvalid
from agent.reports.fields import MOST_WHOLE, number
from agent.reports.jsontext import load
from agent.reports.lines import Track
from agent.reports.results import Results
from agent.reports.sources import Sources

_CONDITION = re.compile(r"\[\s*:?\w+,\s*\d+,\s*(\d{1,9}),")
"""`[:if, 0, 3, 4, 5, 6]`: kind, number, first line, column, last line, column."""


def parse(path: str, data: bytes) -> Results:
    """Return the coverage of a SimpleCov file; several commands in it are taken together, line by line.

    Raises `ReportInvalid`; so for the JSON of the gem `simplecov-json`, as CodeBuild does.
    """
    told = load(path, data)
    files = list(_files(told)) if isinstance(told, dict) else []
    if not files and not _is_empty(told):
        hint = "CodeBuild takes .resultset.json, or coverage.json of SimpleCov's own formatter; not simplecov-json."
        raise ReportInvalid(f'{path}: expected SimpleCov\'s JSON, with files under "coverage"', hint=hint)
    sources = Sources(path)
    for name, lines, branches in files:
        track = sources.track(name)
        _tell_lines(track, lines)
        for line, taken, every in _branches(branches):
            track.branch(line, taken, every)
    return sources.results()


def _is_empty(told: object) -> bool:
    """Return whether it is SimpleCov's, and speaks of no file."""
    if not isinstance(told, dict):
        return False
    parts = [told, *told.values()]
    return any(isinstance(part, dict) and part.get("coverage") == {} for part in parts)


def _files(told: Mapping[str, Any]) -> Iterator[tuple[str, list[Any], object]]:
    """Yield path, lines and branches of each file, from either shape."""
    own = "coverage" in told and "meta" in told
    for command in [told] if own else told.values():
        coverage = command.get("coverage") if isinstance(command, dict) else None
        for name, file in coverage.items() if isinstance(coverage, dict) else ():
            if isinstance(file, list):  # before SimpleCov 0.18
                yield name, file, None
            elif isinstance(file, dict) and isinstance(file.get("lines"), list):
                yield name, file["lines"], file.get("branches")


def _tell_lines(track: Track, lines: list[Any]) -> None:
    for at, runs in enumerate(lines, start=1):
        value = _runs(runs)  # null: no code; "ignored": switched off
        if value is not None:
            track.line(at, ran=value > 0)


def _branches(told: object) -> Iterator[tuple[int, int, int]]:
    """Yield line, taken and all, added up for the conditions that begin on one line."""
    found: dict[int, tuple[int, int]] = {}
    for line, ran in _sides(told):
        taken, every = found.get(line, (0, 0))
        found[line] = (taken + ran, every + 1)
    for line, (taken, every) in found.items():
        yield line, taken, every


def _sides(told: object) -> Iterator[tuple[int, bool]]:
    """Yield each side of each condition: where it belongs, and whether it ran. Those that are switched off are not."""
    if isinstance(told, dict):
        for condition, sides in told.items():
            place = _CONDITION.match(condition[:200])
            if place and isinstance(sides, dict):
                yield from ((int(place[1]), runs > 0) for runs in map(_runs, sides.values()) if runs is not None)
    elif isinstance(told, list):
        for side in told:
            line = number(side.get("start_line")) if isinstance(side, dict) else None
            runs = _runs(side.get("coverage")) if isinstance(side, dict) else None
            if line is not None and 0 <= line <= MOST_WHOLE and runs is not None:
                yield int(line), runs > 0


def _runs(value: object) -> float | None:
    """Return how often something ran; None for what is no code, or switched off."""
    return None if isinstance(value, str) else number(value)
