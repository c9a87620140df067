"""LogSink: a place where the masked log goes."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol


@dataclass(frozen=True)
class Pace:
    """When a sink is given bytes: *seconds* after the first new one, or when there are *size_bytes* of them.

    `seconds` None: only once, when the log is complete.
    """

    seconds: float | None = 0.0
    size_bytes: int = 1


@dataclass(frozen=True)
class Stretch:
    """The part of the log file that a sink has not got: bytes `start` to `end`, `start < end`.

    `final`: the log is complete, nothing follows `end`.
    """

    log: Path
    start: int
    end: int
    final: bool

    def read(self, limit: int) -> bytes:
        """Return its first bytes, at most *limit*."""
        file = os.open(self.log, os.O_RDONLY | os.O_CLOEXEC)
        try:
            return os.pread(file, min(limit, self.end - self.start), self.start)
        finally:
            os.close(file)


class Ledger(Protocol):
    """What a sink may write down; survives a kill of the agent. Lies beside the log, one for each sink."""

    @property
    def note(self) -> Mapping[str, Any]:
        """What the sink wrote last; empty at first. JSON values."""
        ...

    def write(self, note: Mapping[str, Any]) -> None:
        """Replace the note, whole or not at all."""
        ...

    def lament(self, problem: str) -> None:
        """Say that something cannot be promised; stands in the record of the build."""
        ...

    def lost(self, start: int, end: int, why: str) -> None:
        """Say that the sink will never have the bytes *start* to *end*; stands in the record of the build as a gap."""
        ...

    def doubled(self, start: int, end: int, why: str) -> None:
        """Say that the sink may have the bytes *start* to *end* twice; stands in the record of the build."""
        ...


class LogSink(Protocol):
    """Takes the masked log, at its own pace.

    Each sink has a thread of its own that calls `deliver` with ever later stretches, never two calls at once. After a
    restart of the agent a new object goes on from the last offset that was committed. Sinks do not know each other,
    and one that blocks or fails delays nobody: the build does not wait for it before `Transcript.close`.

    Errors: `deliver` raises a `BuildspecdError` (usually `AwsUnavailable` or `AwsRefused`) or `OSError` for what may
    work later. It is then called again with a stretch of the same `start`, after a pause that grows; a refusal is
    tried again too, slowly, because somebody may grant the permission while the build runs.
    """

    @property
    def name(self) -> str:
        """A short word, unique among the sinks of a build; names the offset file and the entry in the record."""
        ...

    @property
    def pace(self) -> Pace:
        """How often it wants to be called."""
        ...

    def deliver(self, stretch: Stretch, ledger: Ledger) -> int:
        """Take some of *stretch* from its start; return the offset up to which the log is safe there.

        `stretch.start` means that it waits for more bytes (the rest of a line, say); of a final stretch it must take
        at least one byte. The agent may be killed after the bytes are safe and before the offset is committed, so a
        sink whose place can tell looks there whether a stretch has arrived before.
        """
        ...
