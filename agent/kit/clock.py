"""Clock: what time it is, as a parameter, so that a test can move it."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from agent.kit.service import StopToken

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class Clock(Protocol):
    """`now` is epoch seconds (wall clock), `monotonic` seconds that never jump; both may be called by any thread."""

    def now(self) -> float: ...

    def monotonic(self) -> float: ...

    def wait(self, seconds: float, stop: StopToken) -> bool:
        """Pause for *seconds* or until *stop* is set; return whether it was set."""
        ...


def boot_id() -> str:
    """Return the name of this start of the host; empty where the kernel does not say."""
    try:
        return _BOOT_ID.read_text().strip()
    except OSError:
        return ""


@dataclass(frozen=True)
class Moment:
    """A moment by the host's own clock, which nobody can set: *seconds* of `Clock.monotonic` in the start *boot*."""

    boot: str
    seconds: float

    @classmethod
    def of(cls, clock: Clock) -> Moment:
        """Return the present one."""
        return cls(boot_id(), clock.monotonic())


class Elapsed:
    """How long something has gone on that began at *since* (epoch seconds), maybe under an earlier daemon.

    Time is what this host has run: a clock that is set ends nothing early and lets nothing live longer, and the hours
    of a suspended machine do not count. The wall clock is asked once, and not even that where the *moment* of the
    beginning was kept and the host has not been started anew since.
    """

    def __init__(self, clock: Clock, since: float, moment: Moment | None = None) -> None:
        self._clock = clock
        now = clock.monotonic()
        if moment and moment.boot and moment.boot == boot_id() and moment.seconds <= now:
            self._start = moment.seconds
        else:
            self._start = now - max(0.0, clock.now() - since)

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
