"""Interruption: when this host is about to be taken away, its builds end in order and its queue goes elsewhere."""

from __future__ import annotations

import math
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from agent.daemon.gate import Gate, Notice
from agent.daemon.scheduler import Scheduler
from agent.errors import BuildspecdError, Unavailable
from agent.kit.clock import Clock
from agent.kit.logging import get_logger
from agent.kit.service import StopToken
from agent.store.database import Database
from agent.store.queue import Queue

_log = get_logger("interruption")
LOOK_SECONDS = 5.0
"""Pause between two looks at the metadata service."""
ABSENT_SECONDS = 300.0
"""Pause between two tries where there is no metadata service."""
MARGIN_SECONDS = 30.0
"""What is left of a host's last minutes for the logs, the events and the clearing away of the builds that were cut."""
SHUTDOWN_SECONDS = 45.0
"""Longest time that a shutdown of the host is held up; below `TimeoutStopSec` of the unit."""
_STEP_SECONDS = 0.2


class Watched(Protocol):
    """Who knows how long this host lives (`Metadata`). Both raise `Unavailable` when nobody answers."""

    def notice(self) -> Notice | None: ...

    def recommends_to_leave(self) -> bool: ...


class Hold(Protocol):
    """Who waits with the end of the host while we work (`Lifecycle`). Both raise `BuildspecdError`."""

    def heartbeat(self) -> None: ...

    def complete(self) -> None: ...


@dataclass
class Interruptions:
    """A Service that watches for the end of this host.

    With a notice the gate is shut at once. Builds that wait end at once where the disk goes with the host; else they
    stay for when it comes back. Running builds may go on until *stop_grace* and a margin before the hour that was
    named, or, where none was, for *patience* seconds. `tell` is given each notice, or None for a mere recommendation.
    """

    watched: Watched
    hold: Hold
    gate: Gate
    scheduler: Scheduler
    database: Database
    clock: Clock
    tell: Callable[[Notice | None], None]
    patience: Callable[[], float]
    stop_grace: float = 10.0
    name: str = "interruptions"
    _until: float = math.inf
    _warned: bool = False
    _released: bool = False

    def run(self, stop: StopToken) -> None:
        """Look until *stop*."""
        while not stop.is_set:
            self.clock.wait(self.turn(), stop)

    def turn(self) -> float:
        """Look once, and do what is due; return the seconds until the next look."""
        try:
            notice = self.watched.notice()
            recommended = not self._warned and self.watched.recommends_to_leave()
        except Unavailable as error:
            if self.gate.leaving is None:
                _log.debug("nobody tells how long this host lives", error=error.message)
                return ABSENT_SECONDS
            notice, recommended = None, False
        if recommended:
            self._warned = True
            _log.warning("EC2 recommends to leave this host: a Spot interruption is likely")
            self.tell(None)
        if notice is not None and notice != self.gate.leaving:
            self._heard(notice)
        if self.gate.leaving is not None and not self._released:
            self._see_off(self.gate.leaving)
        return LOOK_SECONDS

    def _heard(self, notice: Notice) -> None:
        _log.warning("this host will be taken away", by=notice.whom, action=notice.action, at=notice.at)
        self.gate.leave(notice)
        now = self.clock.monotonic()
        left = self.patience() if notice.at is None else notice.at - self.clock.now() - self.stop_grace - MARGIN_SECONDS
        self._until = min(self._until, now + max(0.0, left))
        self.tell(notice)

    def _see_off(self, notice: Notice) -> None:
        places = Queue(self.database).places()
        late = self.clock.monotonic() >= self._until
        for place in places:
            if late if place.owner else notice.loses_state:
                self.scheduler.stop_build(place.build, notice.reason)
        waits = [place for place in places if place.owner or notice.loses_state]
        try:
            if waits:
                self.hold.heartbeat()
            else:
                self.hold.complete()
                self._released = True
                _log.info("no build is left, this host may go")
        except BuildspecdError as error:
            _log.warning("Auto Scaling cannot be told how far we are", error=error.message, hint=error.hint)


@dataclass(frozen=True)
class Farewell:
    """What is done when this process is to end: nothing, unless the whole host does."""

    gate: Gate
    scheduler: Scheduler
    database: Database
    clock: Clock
    host_is_stopping: Callable[[], bool]

    def say(self) -> None:
        """End the running builds in order when the host shuts down; builds that wait stay for its next start."""
        if not self.host_is_stopping():
            return
        notice = Notice("the host is shut down", "stop")
        _log.warning("the host is shut down: ending the running builds", running=self.scheduler.running())
        self.gate.leave(notice)
        for place in Queue(self.database).places():
            if place.owner:
                self.scheduler.stop_build(place.build, notice.reason)
        end = self.clock.monotonic() + SHUTDOWN_SECONDS
        while self.scheduler.running() and self.clock.monotonic() < end:
            self.clock.wait(_STEP_SECONDS, StopToken())


def systemd_is_stopping() -> bool:
    """Whether systemd is shutting this host down, and not only restarting us; False where there is no systemd."""
    try:
        answer = subprocess.run(
            ["systemctl", "is-system-running"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
            timeout=5,
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return answer.stdout.strip() == b"stopping"
