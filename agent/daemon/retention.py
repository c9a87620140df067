"""Retention: what ended builds leave on this host goes by age, count and size; their numbers are never given again."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from agent.errors import EngineUnavailable, ImageUnavailable
from agent.kit.logging import get_logger
from agent.kit.room import taken_by
from agent.model.status import Status
from agent.store.builds import Brief, Builds
from agent.store.database import Database

_log = get_logger("janitor")
DAY = 86400.0
SPARED_SECONDS = 14 * DAY
"""Records and owed logs of younger builds stay: so long may events come again, and sinks that were down come back."""
PASSING = ("control", "out")
"""What only a running build needs, beside its workspace."""
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_RED = (Status.FAILED, Status.FAULT, Status.TIMED_OUT)


@dataclass(frozen=True)
class Keep:
    """How long things are kept, in seconds and bytes; the members are those of `retention` in agent.yml."""

    builds: float | None = 400 * DAY
    builds_count: int | None = 5000
    builds_least: int = 20
    logs: float | None = 90 * DAY
    logs_size: int | None = 20 << 30
    failed_workspaces: float = 0.0
    failed_workspaces_count: int = 5
    failed_workspaces_size: int = 10 << 30
    caches: float = 14 * DAY
    caches_size: int | None = None
    mirrors: float | None = 90 * DAY
    images: float | None = 30 * DAY


@dataclass(frozen=True)
class Lot:
    """Something on the disk that may go: when it was last of use, and its bytes."""

    path: Path
    at: float
    size: int = 0


def outlived(lots: Iterable[Lot], *, before: float, count: int | None = None, size: int | None = None) -> list[Lot]:
    """Return those to be removed, the oldest first: older than *before*, more than *count*, or more bytes than *size*.

    Of several the newest stay. Pure.
    """
    going, number, total = [], 0, 0
    for lot in sorted(lots, key=lambda lot: -lot.at):
        number, total = number + 1, total + lot.size
        if lot.at < before or (count is not None and number > count) or (size is not None and total > size):
            going.append(lot)
    return going[::-1]


@dataclass
class Retention:
    """Goes through the directories and records of ended builds. *reclaim* removes a tree that a build wrote."""

    database: Database
    builds_dir: Path
    keep: Callable[[], Keep]
    reclaim: Callable[[Path], None]

    def sweep(self, roots: Sequence[Path], running: set[str], now: float) -> None:
        """Remove what need not be kept of *roots*, directories of builds; *running* are the ids that have not ended.

        *roots* was listed ahead of *running*, so that a build which starts in between keeps its own.
        """
        keep = self.keep()
        alive = {build.partition(":")[2] for build in running}
        briefs = Builds(self.database).briefs()
        ended = [root for root in roots if root.name not in alive]
        for root in ended:
            for name in PASSING:
                self.remove(root / name)
        self._sweep_workspaces(ended, briefs, keep, now)
        self._sweep_logs(ended, briefs, keep, now)
        self._sweep_records(keep, now)

    def shed_workspaces(self, roots: Sequence[Path], running: set[str]) -> None:
        """Remove the workspaces of all builds that have ended: the disk is full."""
        alive = {build.partition(":")[2] for build in running}
        for root in roots:
            if root.name not in alive:
                self.remove(root / "workspace")

    def remove(self, leftover: Path) -> bool:
        """Remove a file, link or tree, if it is there; return whether it is gone."""
        if leftover.is_symlink() or leftover.is_file():
            leftover.unlink()
        elif leftover.exists():
            _log.info("removing what an ended build left", path=str(leftover))
            try:
                self.reclaim(leftover)
            except (EngineUnavailable, ImageUnavailable) as error:  # what it needs may be there at the next sweep
                _log.warning("it stays for now", path=str(leftover), error=error.message)
                return False
        return not leftover.exists()

    def _sweep_workspaces(self, ended: Sequence[Path], briefs: Mapping[str, Brief], keep: Keep, now: float) -> None:
        kept = []
        for root in ended:
            workspace, brief = root / "workspace", briefs.get(root.name)
            if not workspace.exists() and not workspace.is_symlink():
                continue
            if keep.failed_workspaces and brief and brief.status in _RED and not workspace.is_symlink():
                kept.append(Lot(workspace, root.stat().st_mtime, taken_by(workspace)))
            else:
                self.remove(workspace)
        before = now - keep.failed_workspaces
        for lot in outlived(kept, before=before, count=keep.failed_workspaces_count, size=keep.failed_workspaces_size):
            self.remove(lot.path)

    def _sweep_logs(self, ended: Sequence[Path], briefs: Mapping[str, Brief], keep: Keep, now: float) -> None:
        lots = []
        for root in ended:
            brief = briefs.get(root.name)
            if brief and brief.owing and brief.created >= now - SPARED_SECONDS:
                continue
            lots.append(Lot(root, brief.created if brief else root.stat().st_mtime, taken_by(root / "log")))
        before = float("-inf") if keep.logs is None else now - keep.logs
        for lot in outlived(lots, before=before, size=keep.logs_size):
            self._remove_root(lot.path)

    def _sweep_records(self, keep: Keep, now: float) -> None:
        builds = Builds(self.database)
        surplus = builds.surplus(
            before=None if keep.builds is None else now - keep.builds,
            count=keep.builds_count,
            least=keep.builds_least,
            spared=now - SPARED_SECONDS,
        )
        # The directory goes first: a kill in between leaves a record without one, for the next sweep.
        gone = [build for build in surplus if self._remove_root(self.builds_dir / build.partition(":")[2])]
        builds.forget(gone)
        if gone:
            _log.info("forgetting old builds", builds=len(gone))

    def _remove_root(self, root: Path) -> bool:
        """Remove the directory of an ended build; a workspace that is kept keeps it. Return whether it is gone."""
        if not _UUID.fullmatch(root.name) or root.is_symlink() or not root.is_dir():
            return True
        if (root / "workspace").exists():
            return False
        return self.remove(root)


def build_directories(directory: Path) -> list[Path]:
    """Return the directories below *directory* that are named as we name those of builds; links are none of them."""
    if not directory.is_dir():
        return []
    return [
        child
        for child in directory.iterdir()
        if _UUID.fullmatch(child.name) and child.is_dir() and not child.is_symlink()
    ]
