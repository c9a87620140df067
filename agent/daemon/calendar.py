"""Calendar: the time by which things grow old. A wall clock that leaps ahead ages nothing at once."""

from __future__ import annotations

import math
import os
from pathlib import Path

from agent.kit.clock import Clock
from agent.kit.logging import get_logger

_log = get_logger("janitor")
LEAP_SECONDS = 43200.0
"""By how much the wall clock may be ahead of what is known and still be believed: clocks drift, and hosts are off."""
DOUBT_SECONDS = 86400.0
"""For how long this host has to have run with a clock that leapt until it is believed."""


class Calendar:
    """Tells what day it is to those who remove what is old; one thread asks at a time.

    A clock that was set wrong, and is mended within the day, costs no log and no record. A host that was off for longer
    than half a day looks the same: it clears away what has grown old meanwhile a day later. A clock that is set back is
    believed: it only makes things younger. *file* keeps the time for the next daemon.
    """

    def __init__(self, clock: Clock, file: Path | None = None) -> None:
        self._clock = clock
        self._file = file
        self._known = self._kept()
        self._as_of = clock.monotonic()
        self._doubt: float | None = None

    def now(self) -> float:
        """Return the time to go by, in epoch seconds."""
        wall, ticks = self._clock.now(), self._clock.monotonic()
        known = self._known + ticks - self._as_of
        if wall <= known + LEAP_SECONDS:
            self._doubt, known = None, wall
        elif self._doubt is None:
            self._doubt = ticks
            _log.warning(
                "the clock is far ahead of what it was, nothing is removed for its age until it stays so",
                seconds=round(wall - known),
                hint="check the host's clock; after a long rest of the host this is as it should be",
            )
        elif ticks - self._doubt >= DOUBT_SECONDS:
            self._doubt, known = None, wall
            _log.warning("the clock has stayed so, it is believed now")
        self._known, self._as_of = known, ticks
        self._keep(known)
        return known

    def _kept(self) -> float:
        """Return the time that the daemon before has known last; there may have been none."""
        try:
            at = float(self._file.read_text()) if self._file else math.inf
        except (OSError, ValueError):
            at = math.inf
        return at if math.isfinite(at) else self._clock.now()

    def _keep(self, at: float) -> None:
        """Write the time over the one before, which is as long: no kill leaves half of it, or another file."""
        if self._file is None:
            return
        try:
            handle = os.open(self._file, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o644)
            try:
                os.pwrite(handle, f"{at:020.3f}\n".encode(), 0)
            finally:
                os.close(handle)
        except OSError as error:
            _log.debug("the time cannot be kept for the next daemon", error=str(error))
