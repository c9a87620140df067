"""Shell: leading a user into the container of a running build, wired."""

from __future__ import annotations

from agent.container.session import Sessions
from agent.kit.clock import SystemClock

__all__ = ["Sessions", "sessions"]


def sessions() -> Sessions:
    """Return the way into the builds that run on this host. Raises `EngineUnavailable`, or `UserError`."""
    return Sessions(SystemClock())
