"""Waiting for something to become true, with a deadline; never for a time to pass."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TypeVar

Found = TypeVar("Found")

PATIENCE = 60.0
"""Seconds that are enough for anything here, on a machine that is busy with other tests."""
_LOOK_EVERY = 0.02


def until(look: Callable[[], Found], what: str, seconds: float = PATIENCE) -> Found:
    """Return the first truthy answer of *look*; fail with *what* when *seconds* are over."""
    end = time.monotonic() + seconds
    pause = threading.Event()
    while True:
        if found := look():
            return found
        assert time.monotonic() < end, f"waited {seconds:g} s in vain for: {what}"
        pause.wait(_LOOK_EVERY)
