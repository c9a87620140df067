"""Following a log: to the end of the build, across restarts of the daemon, no byte twice."""

from __future__ import annotations

import sys
from typing import Any

from agent.cli.client import Client
from agent.errors import DaemonNotRunning, Unavailable
from agent.kit.clock import Clock, SystemClock
from agent.kit.service import StopToken

_PATIENCE = 60.0
"""Seconds that a daemon may be away: an upgrade takes a few, and the build goes on meanwhile."""
_PAUSE = 0.5


def follow_to_the_end(daemon: Client, build: str, clock: Clock | None = None) -> dict[str, Any]:
    """Write the log of *build* to standard output as it grows; return the build once it has ended.

    Raises `DaemonNotRunning` when the daemon stays away for a minute.
    """
    clock = clock or SystemClock()
    offset, away = 0, None
    while True:
        try:
            # Looked at before the log is read, so that a log read after the end is whole.
            found = daemon.build(build)
            away = None
            count = copy_log(daemon, build, offset, follow=not found["buildComplete"])
            offset += count
        except (DaemonNotRunning, Unavailable):
            now = clock.monotonic()
            if away is None:
                away = now
                sys.stderr.write("buildspecd: the daemon is away; the build goes on, waiting\n")
            if now - away > _PATIENCE:
                raise
            clock.wait(_PAUSE, StopToken())
        else:
            if found["buildComplete"]:
                return found
            if not count:
                clock.wait(_PAUSE, StopToken())


def copy_log(daemon: Client, build: str, offset: int = 0, *, follow: bool = False) -> int:
    """Write a build's log from *offset* on to standard output; return how many bytes there were."""
    count = 0
    for piece in daemon.log(build, offset, follow=follow):
        sys.stdout.buffer.write(piece)
        sys.stdout.buffer.flush()
        count += len(piece)
    return count
