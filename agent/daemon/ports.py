"""Ports: where on this host's loopback builds fetch their credentials, held open while no daemon runs.

A port that is free for a moment could be taken by a build in the host's network, which would be shown the tokens of
others. So systemd is handed each socket (its file descriptor store), and hands it to the next process; callers wait.
"""

from __future__ import annotations

import secrets
import socket
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress

from agent.container.inside import listening
from agent.errors import BuildspecdError
from agent.kit.logging import get_logger

_log = get_logger("roles")
_RANGE = range(20_000, 32_000)
"""Below those that kernels hand out: nobody has one by chance while the daemon is away."""
_NAME = "roles-"

Keep = Callable[[str, socket.socket], None]


def any_port() -> int:
    """Return a port by chance."""
    return secrets.choice(_RANGE)


class Ports:
    """Listens for *serve*, on the port *wanted* (0: on any that is free). Safe to share between threads."""

    def __init__(self, serve: Callable[[socket.socket], None], wanted: int = 0) -> None:
        self._serve = serve
        self._wanted = wanted
        self._lock = threading.Lock()
        self._open: set[int] = set()
        self._held: dict[int, socket.socket] = {}
        self._keep: Keep = _forget

    def hold_with(self, keep: Keep, held: Mapping[str, socket.socket]) -> None:
        """Have every socket kept under a name by *keep*; *held* is what was kept for an earlier process."""
        with self._lock:
            self._keep = keep
            for name, found in held.items():
                if name.startswith(_NAME):
                    self._held[int(found.getsockname()[1])] = found

    def __contains__(self, port: int) -> bool:
        with self._lock:
            return port in self._open

    def listen(self, port: int) -> None:
        """Listen on *port*, unless that is so. Raises `OSError` where somebody else does."""
        with self._lock:
            if port in self._open:
                return
            found = self._held.pop(port, None)
            if found is None:
                found = listening(port)
                self._keep(f"{_NAME}{port}", found)
            self._serve(found)
            self._open.add(port)

    def any(self) -> int:
        """Return a port on which this listens from now on. Raises `BuildspecdError` where none is free."""
        with self._lock:
            known = self._open or (self._held.keys() if not self._wanted else ())
            first = min(known, default=0)
        if first:
            self.listen(first)
            return first
        if self._wanted:
            with suppress(OSError):
                self.listen(self._wanted)
                return self._wanted
            _log.warning("the port of role credentials is taken, using another", port=self._wanted)
        for _ in range(100):
            port = any_port()
            with suppress(OSError):
                self.listen(port)
                return port
        raise BuildspecdError("no port is free for the credentials of builds", hint="set roles.port in agent.yml")


def _forget(name: str, held: socket.socket) -> None:
    """Where no systemd is nothing is held."""
