"""KnownImages: what build images say of their runtimes, so that each is looked at once."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

from agent.environment.runtimes import Catalogue

_REMEMBERED = 256


@dataclass(frozen=True)
class RuntimesOfImage:
    """What an image says of its runtimes: its list, or why that cannot be read; neither where it has none."""

    catalogue: Catalogue | None = None
    problem: str = ""


class KnownImages:
    """Remembers what images say of their runtimes, by image id, so that each is looked at once. Any thread may ask."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: dict[str, RuntimesOfImage] = {}

    def runtimes(self, image: str, look: Callable[[], RuntimesOfImage]) -> RuntimesOfImage:
        """Return what is known of *image*, after a *look* if that is nothing yet."""
        with self._lock:
            if image in self._known:
                return self._known[image]
        found = look()
        with self._lock:
            while len(self._known) >= _REMEMBERED:
                del self._known[next(iter(self._known))]
            self._known[image] = found
        return found
