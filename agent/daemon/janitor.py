"""Janitor: removes what builds left behind, and nothing that we did not make."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from agent.cache.local import LocalCaches
from agent.container.engine import Engine
from agent.daemon.cachesweep import sweep_caches
from agent.errors import EngineUnavailable, ImageUnavailable
from agent.kit.clock import Clock
from agent.kit.logging import get_logger
from agent.kit.service import StopToken
from agent.store.builds import Builds
from agent.store.database import Database
from agent.store.reports import Reports
from agent.store.requests import Requests

_log = get_logger("janitor")
EVERY_SECONDS = 300.0
REMEMBER_REQUESTS_SECONDS = 90 * 86400.0
HELPER = "shell:"
"""Start of the build id of a throw-away container of ours; it removes itself, unless we died meanwhile."""
LEFTOVERS = ("workspace", "control", "out")


@dataclass
class Janitor:
    """A Service: sweeps at start and every few minutes. `reclaim` removes a tree that a build wrote as root."""

    agent_id: str
    database: Database
    engine: Engine
    builds_dir: Path
    secrets_dir: Path
    reclaim: Callable[[Path], None]
    clock: Clock
    caches: LocalCaches | None = None
    name: str = "janitor"

    def run(self, stop: StopToken) -> None:
        """Sweep until *stop*."""
        while not stop.is_set:
            self.sweep()
            self.clock.wait(EVERY_SECONDS, stop)

    def sweep(self) -> None:
        """Remove containers and directories of builds that have ended or that nobody knows."""
        # What is there is listed before the builds are: a build that starts in between is in the list of builds.
        roots, secrets = _children(self.builds_dir), _children(self.secrets_dir)
        owners = self.caches.owners() if self.caches else {}
        try:
            owned = self.engine.owned(self.agent_id)
            running = {build.id for build in Builds(self.database).open()}
            for container in orphans(owned, running):
                if owned[container].startswith(HELPER) and self._runs(container):
                    continue
                _log.info("removing a container that no build owns", container=container[:12])
                self.engine.remove(container)
        except EngineUnavailable as error:
            _log.warning("the engine does not answer, sweeping later", error=error.message)
            return
        self._sweep_directories(roots, secrets, {build.partition(":")[2] for build in running})
        if self.caches:
            sweep_caches(self.caches, owners, running, self.clock.now(), self.reclaim)
        Requests(self.database).prune(self.clock.now() - REMEMBER_REQUESTS_SECONDS)
        Reports(self.database).prune(self.clock.now())

    def _runs(self, container: str) -> bool:
        state = self.engine.inspect(container)
        return state is not None and state.running

    def _sweep_directories(self, roots: list[Path], secrets: list[Path], running: set[str]) -> None:
        for root in roots:
            if root.name not in running:
                for leftover in (root / name for name in LEFTOVERS):
                    if leftover.exists():
                        self._remove(leftover)
        for directory in secrets:
            if directory.name not in running:
                shutil.rmtree(directory, ignore_errors=True)

    def _remove(self, leftover: Path) -> None:
        _log.info("removing what an ended build left", path=str(leftover))
        try:
            self.reclaim(leftover)
        except (EngineUnavailable, ImageUnavailable) as error:  # what it needs may be there at the next sweep
            _log.warning("it stays for now", path=str(leftover), error=error.message)


def orphans(owned: Mapping[str, str], running: Iterable[str]) -> list[str]:
    """Return the containers whose build is not running any more. Pure."""
    alive = set(running)
    return [container for container, build in owned.items() if build not in alive]


def _children(directory: Path) -> list[Path]:
    return [child for child in directory.iterdir() if child.is_dir()] if directory.is_dir() else []
