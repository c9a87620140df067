"""Clock: what time it is, as a parameter, so that a test can move it."""

from __future__ import annotations

import time
from typing import Protocol

from agent.kit.service import StopToken


class Clock(Protocol):
    """`now` is epoch seconds (wall clock), `monotonic` seconds that never jump; both may be called by any thread."""

    def now(self) -> float: ...

    def monotonic(self) -> float: ...

    def wait(self, seconds: float, stop: StopToken) -> bool:
        """Pause for *seconds* or until *stop* is set; return whether it was set."""
        ...


class Elapsed:
    """How long something has gone on that began at *since* (epoch seconds), maybe under an earlier daemon.

    The wall clock is asked once; from then on time is what this host has run: a clock that is set ends nothing early
    and lets nothing live longer, and the hours of a suspended machine do not count.
    """

    def __init__(self, clock: Clock, since: float) -> None:
        self._clock = clock
        self._start = clock.monotonic() - max(0.0, clock.now() - since)

    @property
    def seconds(self) -> float:
        """Seconds until now."""
        return self._clock.monotonic() - self._start


class SystemClock:
    """The clock of this machine."""

    def now(self) -> float:
        return round(time.time(), 6)

    def monotonic(self) -> float:
        return time.monotonic()

    def wait(self, seconds: float, stop: StopToken) -> bool:
        return stop.wait(seconds)
