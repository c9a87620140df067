"""Pump: carries the bytes of a growing file to a taker, on a thread of its own."""

from __future__ import annotations

import threading
from collections.abc import Callable

from agent.buildlog.tail import Tail
from agent.errors import BuildspecdError, DiskFull
from agent.kit.clock import Clock
from agent.kit.service import StopToken

CHUNK_BYTES = 1 << 20
DISK_PATIENCE = 30
"""Seconds that a drain waits for space on a full disk."""


class Pump:
    """Reads from *tail* and calls `take(chunk)`; `take(b"")` means that there is nothing more at the moment.

    When `take` raises `DiskFull` it has kept the chunk, and is called with `b""` again a second later.
    """

    def __init__(self, tail: Tail, take: Callable[[bytes], None], clock: Clock) -> None:
        self._tail = tail
        self._take = take
        self._clock = clock
        self._stop = StopToken()
        self._drain = True
        self._over = False
        self._failure: BuildspecdError | OSError | None = None
        self._thread = threading.Thread(target=self._run, name="log-pump", daemon=True)

    def start(self) -> None:
        """Begin to read."""
        self._thread.start()

    def drain(self) -> None:
        """Return when all that is in the file now has been taken; raises what the pump broke on."""
        self._stop.set()
        self._thread.join()
        if self._failure is not None:
            raise self._failure
        if not self._over:
            raise BuildspecdError("the log pump died", hint="the traceback is in the agent's own log")

    def abandon(self) -> None:
        """End soon, wherever the file is; the rest is for a successor."""
        self._drain = False
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        try:
            self._carry()
            self._over = True
        except (BuildspecdError, OSError) as error:
            self._failure = error
        finally:
            self._tail.close()

    def _carry(self) -> None:
        until: int | None = None
        while True:
            if until is None and self._stop.is_set:
                until = self._tail.size() if self._drain else 0
            if until is not None and self._tail.offset >= until:
                break
            chunk = self._tail.read(CHUNK_BYTES)
            self._hand_over(chunk)
            if chunk:
                continue
            if until is not None:
                break
            self._tail.wait(self._stop)
        self._hand_over(b"")

    def _hand_over(self, chunk: bytes) -> None:
        patience = DISK_PATIENCE
        while True:
            try:
                return self._take(chunk)
            except DiskFull:
                if self._stop.is_set:
                    patience -= 1
                if patience == 0 or not self._drain:
                    raise
            chunk = b""
            self._clock.wait(1.0, StopToken())
