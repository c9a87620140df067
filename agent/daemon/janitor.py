"""Janitor: removes what builds left behind, and nothing that we did not make."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from agent.cache.local import LocalCaches
from agent.container.engine import Engine
from agent.daemon.cachesweep import shed_caches, sweep_caches
from agent.daemon.calendar import Calendar
from agent.daemon.retention import Keep, Retention, build_directories
from agent.errors import EngineUnavailable
from agent.kit.clock import Clock
from agent.kit.logging import get_logger
from agent.kit.service import StopToken
from agent.store.builds import Builds
from agent.store.database import Database
from agent.store.reports import Reports
from agent.store.requests import Requests
from agent.store.statuses import Statuses

_log = get_logger("janitor")
EVERY_SECONDS = 300.0
LISTEN_SECONDS = 2.0
"""Pause between two looks whether somebody wants room on the disk."""
REMEMBER_REQUESTS_SECONDS = 90 * 86400.0
REMEMBER_STATUSES_SECONDS = 30 * 86400.0
HELPER = "shell:"
"""Start of the build id of a throw-away container of ours; it removes itself, unless we died meanwhile."""


@dataclass(frozen=True)
class Chore:
    """Something else that wants to be swept. `sweep` is given the time and how long things are kept.

    `shed` removes, when the disk is full, what no build needs, until the function that it is given says that there is
    room again. Neither may raise anything but `EngineUnavailable`.
    """

    sweep: Callable[[float, Keep], object] = lambda _, __: None
    shed: Callable[[float, Callable[[], bool]], object] = lambda _, __: None


@dataclass
class Janitor:
    """A Service: sweeps at start and every few minutes. `reclaim` removes a tree that a build wrote as root.

    `chores` are done at every sweep; when the disk is full they shed in their order, then what is kept of builds.
    What is old is told by the `calendar`, or by the clock on the wall where there is none.
    """

    agent_id: str
    database: Database
    engine: Engine
    builds_dir: Path
    secrets_dir: Path
    reclaim: Callable[[Path], None]
    clock: Clock
    caches: LocalCaches | None = None
    keep: Callable[[], Keep] = Keep
    chores: tuple[Chore, ...] = ()
    calendar: Calendar | None = None
    name: str = "janitor"
    _wanted: Callable[[], bool] | None = None
    _sweeping: threading.Lock = field(default_factory=threading.Lock)

    def run(self, stop: StopToken) -> None:
        """Sweep until *stop*."""
        while not stop.is_set:
            self.sweep()
            due = self.clock.monotonic() + EVERY_SECONDS
            while self.clock.monotonic() < due and not self.clock.wait(LISTEN_SECONDS, stop):
                if has_room := self._wanted:
                    self._wanted = None
                    self.shed(has_room)

    def ask_for_room(self, has_room: Callable[[], bool]) -> None:
        """Have the janitor's own thread make room soon, until *has_room*."""
        self._wanted = has_room

    def sweep(self) -> None:
        """Remove containers and directories of builds that have ended or that nobody knows, and what is outlived."""
        with self._sweeping:
            keep, now = self.keep(), self._today()
            # What is there is listed before the builds are: a build that starts in between is in the list of builds.
            roots, secrets = build_directories(self.builds_dir), build_directories(self.secrets_dir)
            owners = self.caches.owners() if self.caches else {}
            try:
                owned = self.engine.owned(self.agent_id)
                running = Builds(self.database).open_ids()
                for container in orphans(owned, running):
                    if owned[container].startswith(HELPER) and self._runs(container):
                        continue
                    _log.info("removing a container that no build owns", container=container[:12])
                    self.engine.remove(container)
            except EngineUnavailable as error:
                _log.warning("the engine does not answer, sweeping later", error=error.message)
                return
            _sweep_secrets(secrets, {build.partition(":")[2] for build in running})
            self._retention.sweep(roots, running, now)
            if self.caches:
                sweep_caches(self.caches, owners, running, now, self.reclaim, keep.caches, keep.caches_size)
            self._do_chores(now, keep)
            self._sweep_tables(now)

    def shed(self, has_room: Callable[[], bool]) -> bool:
        """Remove what no build needs, cheapest to do without first, until *has_room*; return whether it has."""
        with self._sweeping:
            now = self._today()
            for shed in (*(chore.shed for chore in self.chores), self._shed_own):
                if has_room():
                    return True
                try:
                    shed(now, has_room)
                except EngineUnavailable as error:
                    _log.warning("the engine does not answer, some things stay", error=error.message)
            return has_room()

    def _today(self) -> float:
        return self.calendar.now() if self.calendar else self.clock.now()

    @property
    def _retention(self) -> Retention:
        return Retention(self.database, self.builds_dir, self.keep, self.reclaim)

    def _shed_own(self, _: float, has_room: Callable[[], bool]) -> None:
        roots = build_directories(self.builds_dir)
        running = Builds(self.database).open_ids()
        if self.caches:
            shed_caches(self.caches, self.reclaim, has_room)
        if not has_room():
            self._retention.shed_workspaces(roots, running)

    def _do_chores(self, now: float, keep: Keep) -> None:
        for chore in self.chores:
            try:
                chore.sweep(now, keep)
            except EngineUnavailable as error:
                _log.warning("the engine does not answer, some things stay", error=error.message)

    def _sweep_tables(self, now: float) -> None:
        Requests(self.database).prune(now - REMEMBER_REQUESTS_SECONDS)
        Reports(self.database).prune(now)
        Statuses(self.database).prune(now - REMEMBER_STATUSES_SECONDS)
        self.database.compact()

    def _runs(self, container: str) -> bool:
        state = self.engine.inspect(container)
        return state is not None and state.running


def orphans(owned: Mapping[str, str], running: Iterable[str]) -> list[str]:
    """Return the containers whose build is not running any more. Pure."""
    alive = set(running)
    return [container for container, build in owned.items() if build not in alive]


def _sweep_secrets(directories: Iterable[Path], running: set[str]) -> None:
    for directory in directories:
        if directory.name not in running:
            shutil.rmtree(directory, ignore_errors=True)
