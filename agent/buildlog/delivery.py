"""Delivery: brings the log to one sink, on a thread of its own, from the offset where it stopped last."""

from __future__ import annotations

import random
import threading
from pathlib import Path

from agent.buildlog.offsets import OffsetFile
from agent.buildlog.sink import LogSink, Stretch
from agent.errors import BuildspecdError
from agent.kit.clock import Clock
from agent.kit.service import StopToken
from agent.model.build import LogGap

FIRST_PAUSE = 0.5
LONGEST_PAUSE = 30.0
LONGEST_PAUSE_AT_END = 5.0
IDLE = 60.0
"""Seconds between two looks when nothing is announced; only a safety net."""


class Delivery:
    """Feeds one sink. `grown` and `finish` are called by the transcript, the rest runs on the delivery's thread."""

    def __init__(self, sink: LogSink, log: Path, length: int, clock: Clock, chance: random.Random) -> None:
        self.sink = sink
        self.done = StopToken()
        self._log = log
        self._clock = clock
        self._chance = chance
        self._offsets = OffsetFile(log, sink.name)
        self._trouble = ""
        self._lock = threading.Lock()
        self._length = length
        self._final = False
        self._stopped = False
        self._wake = StopToken()
        self._wanted = 0
        self._seen = 0
        self._thread = threading.Thread(target=self._run, name=f"log-{sink.name}", daemon=True)

    @property
    def delivered(self) -> int:
        """How many bytes of the log are safe with the sink."""
        return self._offsets.offset

    @property
    def reached(self) -> tuple[int, int]:
        """How many bytes and whole lines of the log are safe with the sink, or a gap."""
        return self._offsets.offset, self._offsets.lines

    @property
    def gaps(self) -> tuple[LogGap, ...]:
        """What the sink will never have."""
        return self._offsets.gaps

    @property
    def maybe_twice(self) -> tuple[LogGap, ...]:
        """What the sink may have twice."""
        return self._offsets.maybe_twice

    @property
    def problem(self) -> str:
        """What is wrong, in one line; empty when nothing is."""
        missing = self._length - self.delivered
        why = self._offsets.problem or self._trouble
        if not (self._final and self._stopped and missing > 0):
            return why
        return f"{missing} of {self._length} bytes were not delivered in time" + (f": {why}" if why else "")

    def start(self) -> None:
        """Begin to deliver."""
        self._thread.start()

    def grown(self, length: int) -> None:
        """Say that the log has *length* bytes now."""
        with self._lock:
            self._length = length
            if length >= self._wanted:
                self._wake.set()

    def finish(self) -> None:
        """Say that the log is complete. `done` is set when the sink has all of it."""
        with self._lock:
            self._final = True
            self._wake.set()

    def give_up(self) -> None:
        """End after the call that is under way; what is missing stays in the log."""
        with self._lock:
            self._stopped = True
            self._wake.set()

    def join(self, seconds: float) -> None:
        """Wait for the thread, at most *seconds*."""
        self._thread.join(seconds)

    def _run(self) -> None:
        try:
            failures = 0
            while not self._stopped and not self._taken():
                failures += 1
                self._pause(failures)
            failures = 0
            while (stretch := self._next()) is not None:
                if self._deliver(stretch):
                    failures = 0
                else:
                    failures += 1
                    self._pause(failures)
        finally:
            self._offsets.release()
            self.done.set()

    def _taken(self) -> bool:
        """Whether this delivery is the only one of its sink; an earlier one may be in the middle of a call."""
        try:
            taken = self._offsets.take()
        except OSError as error:
            self._trouble = str(error)
            return False
        self._trouble = "" if taken else "an earlier delivery is still under way"
        return taken

    def _deliver(self, stretch: Stretch) -> bool:
        """Give *stretch* to the sink; return whether that went well."""
        try:
            reached = self._handed_over(stretch)
        except (BuildspecdError, OSError) as error:
            self._trouble = str(error)
            return False
        self._trouble = ""
        self._seen = stretch.end if reached == stretch.start else 0
        return True

    def _handed_over(self, stretch: Stretch) -> int:
        reached = self.sink.deliver(stretch, self._offsets)
        if reached > stretch.start:
            self._offsets.commit(reached)
        elif stretch.final:
            raise BuildspecdError(f"{self.sink.name} took nothing of the end of the log")
        return reached

    def _next(self) -> Stretch | None:
        """Wait for the next stretch that suits the sink's pace; None when there will be none."""
        pace = self.sink.pace
        rested = False
        while True:
            with self._lock:
                length, final, stopped = self._length, self._final, self._stopped
            start = min(self._offsets.offset, length)
            if stopped or (final and start == length):
                return None
            news = length > max(start, self._seen)
            if final or (news and pace.seconds is not None and (rested or length - start >= pace.size_bytes)):
                return Stretch(self._log, start, length, final)
            if news and pace.seconds is not None:
                self._sleep(pace.seconds, start + pace.size_bytes)
                rested = True
            else:
                self._sleep(IDLE, max(start, self._seen) + 1 if pace.seconds is not None else None)

    def _pause(self, failures: int) -> None:
        """Wait longer after each failure, never in step with others; the end of the build interrupts it once."""
        longest = LONGEST_PAUSE_AT_END if self._final else LONGEST_PAUSE
        pause = min(FIRST_PAUSE * 2.0 ** min(failures - 1, 10), longest)
        self._sleep(pause * self._chance.uniform(0.5, 1.0), None, unless_final=False)

    def _sleep(self, seconds: float, wanted: int | None, *, unless_final: bool = True) -> None:
        """Sleep until the log has *wanted* bytes, is complete, or *seconds* are over."""
        with self._lock:
            at_once = self._stopped or (unless_final and self._final)
            if at_once or (wanted is not None and self._length >= wanted):
                return
            self._wake = wake = StopToken()
            self._wanted = wanted if wanted is not None else 1 << 62
        self._clock.wait(seconds, wake)
