"""Transcript: the log of one build, from the first line said to the last byte delivered."""

from __future__ import annotations

import random
import threading
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from agent.buildlog.delivery import Delivery
from agent.buildlog.masking import Masker
from agent.buildlog.pump import Pump
from agent.buildlog.registrations import Registrations
from agent.buildlog.sink import LogSink
from agent.buildlog.spool import Spool
from agent.buildlog.stamps import PREFIX, stamp
from agent.buildlog.tail import Tail
from agent.errors import DiskFull
from agent.kit.clock import Clock
from agent.kit.service import StopToken
from agent.model.build import LogGap

COMMIT_SECONDS = 0.05
COMMIT_BYTES = 1 << 20
SINK_FAREWELL_SECONDS = 0.2
"""How long `leave` waits for a sink that is in the middle of a call."""
HURRY_SECONDS = 0.25
"""How late `close` notices that it has to hurry."""
EXCESSIVE = "warning: the build registered more values than can be masked; what it prints is not shown from here on"
LOST = "warning: the host lost the values that the build registered; what it printed last is not shown"
"""These two stand in place of output that could hold a value that nobody knows."""
_REGISTERED = "registered"
"""Kept in the checkpoint, beside the sums of the steps, once the build has registered a value."""


@dataclass(frozen=True)
class LogTotals:
    """How a log ended: its size, how far each sink is, what it lacks up to there or may have twice, and what is wrong.

    What is well has no problem. Those of reading and storing the output itself stand under `output`.
    """

    bytes: int
    lines: int
    delivered: dict[str, int]
    problems: dict[str, str]
    delivered_lines: dict[str, int] = field(default_factory=dict)
    gaps: tuple[LogGap, ...] = ()
    maybe_twice: tuple[LogGap, ...] = ()


class Transcript:
    """Joins what the agent says and what the container prints into one masked log, and has it delivered.

    Any thread may call any method. Opening the directory of an earlier transcript, complete or not, resumes it: no byte
    of the raw file is lost or doubled, the lines that a step said before are not said again, and each sink goes on
    where it was. Give it all secrets that are known before `follow`. Usual order: `begin`, `say`, `add_secrets`,
    `follow`, `drained`, `say`, `close`. Everything that is written can raise `DiskFull`; sinks never raise.
    """

    def __init__(
        self,
        directory: Path,
        *,
        secrets: Iterable[str],
        sinks: Sequence[LogSink],
        clock: Clock,
        raw: Path,
        registered: Path | None = None,
        chance: random.Random | None = None,
    ) -> None:
        """*registered* is the file in which the build itself names values to be masked (`buildspecd-mask`)."""
        self._clock = clock
        self._lock = threading.RLock()
        self._spool = Spool(directory)
        point = self._spool.checkpoint
        self._masker = Masker(secrets, covered=point.covered)
        self._registrations = Registrations(registered) if registered else None
        self._said = {step: list(sums) for step, sums in point.said.items()}
        self._step = ""
        self._known: list[int] = []
        self._consumed = self._stored = point.raw
        self._covered = point.covered
        self._owed = b""
        self._committed_at = clock.monotonic()
        self._tail = Tail(raw, point.raw, clock)
        self._pump: Pump | None = None
        self._closed: LogTotals | None = None
        self._trouble = ""
        chance = chance or random.Random()  # noqa: S311 (spreads retries, guards nothing)
        self._deliveries = [Delivery(sink, self._spool.log, self._spool.committed, clock, chance) for sink in sinks]
        for delivery in self._deliveries:
            delivery.start()

    def add_secrets(self, values: Iterable[str]) -> None:
        """Mask *values* from now on."""
        with self._lock:
            self._masker.add(*values)

    def begin(self, step: str) -> None:
        """Say that what follows is said by *step*; the lines that it said in an earlier attempt are skipped."""
        with self._lock:
            self._step = step
            self._known = list(self._said.get(step, ()))

    def say(self, text: str) -> None:
        """Write `[Container] <time> text`; a text of several lines has the prefix on its first (buildspec.md 14)."""
        self._write(text, f"{PREFIX}{stamp(self._clock.now())} {text}")

    def plain(self, text: str) -> None:
        """Write *text* as a line of its own. It is on disk when this returns."""
        self._write(text, text)

    def follow(self) -> None:
        """Begin to carry what the container prints into the log. Calling it again changes nothing."""
        with self._lock:
            if self._pump is None:
                self._pump = Pump(self._tail, self._take, self._clock)
                self._pump.start()

    def drained(self) -> None:
        """Return when all that the container has printed is in the log; call it when it prints no more.

        `follow` goes on where it has stopped.

        Raises `DiskFull` when the host's disk stays full, `OSError` when it fails.
        """
        pump, self._pump = self._pump, None
        if pump is None:
            return
        pump.drain()
        with self._lock:
            self._owed += self._masker.flush()
            self._store()
            self._commit()

    def leave(self) -> None:
        """Stop at once, finishing nothing: the build goes on, and whoever opens the directory next resumes the log."""
        if self._closed is not None:
            return
        self._abandon()
        for delivery in self._deliveries:
            delivery.give_up()
        for delivery in self._deliveries:
            delivery.join(SINK_FAREWELL_SECONDS)
        with self._lock:
            self._closed = self._totals()
            self._spool.close()

    def close(self, deadline_seconds: float, *, hurry: StopToken | None = None) -> LogTotals:
        """End the log: let the sinks catch up, at most *deadline_seconds* or until *hurry*, and return how it went.

        A sink that is late is a problem in the totals, not an error; a transcript opened on the same directory and
        closed again delivers the rest.
        """
        if self._closed is not None:
            return self._closed
        self._abandon()
        self._settle()
        until = self._clock.monotonic() + deadline_seconds
        for delivery in self._deliveries:
            delivery.finish()
        for delivery in self._deliveries:
            self._let_catch_up(delivery, until, hurry or StopToken())
            delivery.give_up()
        with self._lock:
            self._closed = self._totals()
            self._spool.close()
            return self._closed

    def totals(self) -> LogTotals:
        """Return how the log stands now."""
        with self._lock:
            return self._closed or self._totals()

    def _totals(self) -> LogTotals:
        problems = {"output": self._tail.problem or self._spool.problem or self._trouble}
        problems.update({delivery.sink.name: delivery.problem for delivery in self._deliveries})
        rest, length = 0 if self._spool.at_line_start else 1, self._spool.committed
        reached = {delivery.sink.name: delivery.reached for delivery in self._deliveries}
        return LogTotals(
            bytes=length,
            lines=self._spool.checkpoint.lines + rest,
            delivered={name: offset for name, (offset, _) in reached.items()},
            problems={name: problem for name, problem in problems.items() if problem},
            delivered_lines={
                name: lines + (rest if offset == length else 0) for name, (offset, lines) in reached.items()
            },
            gaps=tuple(gap for delivery in self._deliveries for gap in delivery.gaps),
            maybe_twice=tuple(gap for delivery in self._deliveries for gap in delivery.maybe_twice),
        )

    def _write(self, text: str, line: str) -> None:
        """Write *line* unless the step said *text* before. By content: an attempt may find half of its work done."""
        with self._lock:
            self._learn()
            known = zlib.crc32(self._masked(text))
            if known in self._known:
                self._known.remove(known)
                return
            masked = self._masked(line) + b"\n"
            self._spool.append(masked if self._spool.at_line_start else b"\n" + masked)
            self._said.setdefault(self._step, []).append(known)
            self._commit()

    def _masked(self, text: str) -> bytes:
        return self._masker.mask(text.encode("utf-8", "surrogateescape"))

    def _settle(self) -> None:
        """Make the log survive a power cut too; where that fails, it is a problem of the log, not of the build."""
        try:
            with self._lock:
                self._commit(sync=True)
        except (DiskFull, OSError) as error:
            self._trouble = str(error)

    def _let_catch_up(self, delivery: Delivery, until: float, hurry: StopToken) -> None:
        left = until - self._clock.monotonic()
        while left > 0 and not hurry.is_set and not self._clock.wait(min(left, HURRY_SECONDS), delivery.done):
            left = until - self._clock.monotonic()

    def _abandon(self) -> None:
        pump, self._pump = self._pump, None
        if pump is not None:
            pump.abandon()

    def _take(self, chunk: bytes) -> None:
        """Store what the pump brings; called on its thread. What a full disk refuses is owed, and stored next time."""
        with self._lock:
            if chunk:
                self._consumed = self._tail.offset
                # After the chunk was read: what was printed after a registration is never masked without it.
                self._owed += self._masker.feed(chunk) if self._learn() else self._withheld()
            self._store()
            fresh = self._spool.length - self._spool.committed
            late = self._clock.monotonic() - self._committed_at >= COMMIT_SECONDS
            moved = fresh or self._stored != self._spool.checkpoint.raw
            if moved and (not chunk or late or fresh >= COMMIT_BYTES):
                self._commit()

    def _learn(self) -> bool:
        """Mask what the build has registered meanwhile. False: not all of that is known, so no output may be shown."""
        if self._registrations is None:
            return True
        if fresh := self._registrations.fresh():
            self._masker.add(*fresh)
            self._said.setdefault(_REGISTERED, [])
        return not self._registrations.excessive and not self._is_forgetful

    @property
    def _is_forgetful(self) -> bool:
        """Whether values that an earlier process knew of are gone: the host was started anew."""
        return self._registrations is not None and self._registrations.missing and _REGISTERED in self._said

    def _withheld(self) -> bytes:
        """Return what stands in place of the output, once a log."""
        self._masker.drop()
        reason = LOST if self._is_forgetful else EXCESSIVE
        if reason in self._said:
            return b""
        self._said[reason] = []
        return b"\n" + reason.encode() + b"\n"

    def _store(self) -> None:
        if self._owed:
            self._spool.append(self._owed)
            self._owed = b""
        self._stored = self._consumed - self._masker.held
        self._covered = self._masker.covered

    def _commit(self, *, sync: bool = False) -> None:
        self._spool.commit(raw=self._stored, covered=self._covered, said=self._said, sync=sync)
        self._committed_at = self._clock.monotonic()
        for delivery in self._deliveries:
            delivery.grown(self._spool.committed)
