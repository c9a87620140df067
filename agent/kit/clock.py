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


class SystemClock:
    """The clock of this machine."""

    def now(self) -> float:
        return round(time.time(), 6)

    def monotonic(self) -> float:
        return time.monotonic()

    def wait(self, seconds: float, stop: StopToken) -> bool:
        return stop.wait(seconds)
