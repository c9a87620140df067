"""Service: a loop with a name that runs until it is told to stop."""

from __future__ import annotations

import threading
from typing import Protocol


class StopToken:
    """Says once, to every thread that asks, that it is time to end."""

    def __init__(self) -> None:
        self._event = threading.Event()

    def set(self) -> None:
        """Tell everybody to end."""
        self._event.set()

    @property
    def is_set(self) -> bool:
        """Whether it is time to end."""
        return self._event.is_set()

    def wait(self, seconds: float | None = None) -> bool:
        """Sleep until the token is set or *seconds* are over; return whether it is set."""
        return self._event.wait(seconds)


class Service(Protocol):
    """A loop on a thread of its own.

    `run` returns soon after *stop* is set and may be called again after it raised: the supervisor restarts
    it, with a pause. It keeps no state that a second run could not find.
    """

    @property
    def name(self) -> str: ...

    def run(self, stop: StopToken) -> None: ...
