"""OffsetFile: the ledger of a sink, beside the log: how far it is, its note, what it lacks, or has maybe twice."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from agent.buildlog.spool import sweep
from agent.kit.files import write_atomic
from agent.model.build import LogGap

MOST_GAPS = 200
"""Gaps that are kept apart; more than that become one with the last."""
_PIECE = 1 << 20
_GUARD = threading.Lock()
_TAKEN: set[Path] = set()
"""The files that somebody in this process writes; of other processes none has the state directory."""


class OffsetFile:
    """A `Ledger`; whole or absent on disk. One object at a time writes it: the one that has `take`n it."""

    def __init__(self, log: Path, sink: str) -> None:
        self._log = log
        self._sink = sink
        self._path = log.parent / f"{sink}.offset"
        self._mine = False
        self._load()

    def take(self) -> bool:
        """Become the one that writes, and read what the one before has written. False: there is another still.

        A sink's thread may be inside a call for minutes after its transcript was closed, and the log be opened again
        meanwhile; were both to deliver, lines would be doubled.
        """
        with _GUARD:
            if self._path in _TAKEN:
                return False
            _TAKEN.add(self._path)
        self._mine = True
        sweep(self._path.parent, self._path.name)
        self._load()
        return True

    def release(self) -> None:
        """Let the next one write."""
        if self._mine:
            self._mine = False
            with _GUARD:
                _TAKEN.discard(self._path)

    def commit(self, offset: int) -> None:
        """Remember that nothing is to be done any more for the log up to *offset*."""
        lines = self.lines + count_lines(self._log, self.offset, offset)
        self._save(offset=offset, lines=lines)

    def write(self, note: Mapping[str, Any]) -> None:
        """See `Ledger.write`."""
        self._save(note=dict(note))

    def lament(self, problem: str) -> None:
        """See `Ledger.lament`."""
        self._save(problem=problem)

    def lost(self, start: int, end: int, why: str) -> None:
        """See `Ledger.lost`. What was said before is not said twice; neighbours with one reason become one."""
        self._save(gaps=self._with(self.gaps, start, end, why))

    def doubled(self, start: int, end: int, why: str) -> None:
        """See `Ledger.doubled`; what was said before is not said again."""
        self._save(maybe_twice=self._with(self.maybe_twice, start, end, why))

    def _with(self, gaps: tuple[LogGap, ...], start: int, end: int, why: str) -> tuple[LogGap, ...]:
        if any(gap.start <= start and end <= gap.end for gap in gaps):
            return gaps
        last = gaps[-1] if gaps else None
        lines = count_lines(self._log, start, end, rest=True)
        if last and (len(gaps) >= MOST_GAPS or (last.end == start and last.reason == why)):
            reason = why if why == last.reason else f"{last.reason}; and more"[:500]
            gap = LogGap(sink=self._sink, start=last.start, end=end, lines=last.lines + lines, reason=reason)
            return (*gaps[:-1], gap)
        return (*gaps, LogGap(sink=self._sink, start=start, end=end, lines=lines, reason=why))

    def _save(self, **changed: Any) -> None:
        state: dict[str, Any] = {"offset": self.offset, "lines": self.lines, "note": self.note, "problem": self.problem}
        state |= {"gaps": self.gaps, "maybe_twice": self.maybe_twice, **changed}
        record = {**state, **{name: [gap.wire() for gap in state[name]] for name in ("gaps", "maybe_twice")}}
        write_atomic(self._path, json.dumps(record).encode(), mode=0o600, sync=False)
        self._set(**state)

    def _set(
        self,
        *,
        offset: int = 0,
        lines: int = 0,
        note: Mapping[str, Any] | None = None,
        problem: str = "",
        gaps: tuple[LogGap, ...] = (),
        maybe_twice: tuple[LogGap, ...] = (),
    ) -> None:
        self.offset, self.lines, self.note, self.problem = offset, lines, note or {}, problem
        self.gaps, self.maybe_twice = gaps, maybe_twice

    def _load(self) -> None:
        self._set()
        try:
            record = json.loads(self._path.read_bytes())
            offset = int(record["offset"])
            lines = int(record["lines"]) if "lines" in record else count_lines(self._log, 0, offset)
            gaps, twice = (_gaps(record.get(name, ())) for name in ("gaps", "maybe_twice"))
            note, problem = dict(record["note"]), str(record["problem"])
        except FileNotFoundError:
            return
        except (ValueError, TypeError, KeyError):
            self.problem = f"{self._path.name} was damaged; the log is delivered again from its beginning"
        else:
            self._set(offset=offset, lines=lines, note=note, problem=problem, gaps=gaps, maybe_twice=twice)


def _gaps(found: Iterable[Any]) -> tuple[LogGap, ...]:
    return tuple(LogGap.model_validate(gap) for gap in found)


def count_lines(log: Path, start: int, end: int, *, rest: bool = False) -> int:
    """Return the newlines in the bytes *start* to *end* of *log*; with *rest* also what stands behind the last one."""
    lines, last = 0, b"\n"
    with log.open("rb") as file:
        file.seek(start)
        while start < end and (piece := file.read(min(_PIECE, end - start))):
            lines += piece.count(b"\n")
            start, last = start + len(piece), piece[-1:]
    return lines + (1 if rest and last != b"\n" else 0)
