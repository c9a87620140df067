"""Sweeping local caches: slots of builds that are gone become free, caches that nobody uses go (docs/JOURNAL.md 1)."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Collection, Mapping
from pathlib import Path

from agent.cache.local import KEEP_SECONDS, LocalCaches, Slot
from agent.daemon.retention import Lot, outlived
from agent.errors import EngineUnavailable, ImageUnavailable
from agent.kit.logging import get_logger
from agent.kit.room import taken_by

_log = get_logger("janitor")


def sweep_caches(
    caches: LocalCaches,
    owners: Mapping[Slot, str],
    running: Collection[str],
    now: float,
    reclaim: Callable[[Path], None],
    keep: float = KEEP_SECONDS,
    size: int | None = None,
) -> None:
    """Free what builds hold that run no more, and remove what is invalid, unused for *keep* seconds, or beyond *size*.

    *owners* was listed ahead of *running*, the ids of the builds that have not ended, so that a build which starts in
    between keeps its slot. The containers of all others are gone. *reclaim* removes a tree that a build wrote.
    """
    for slot, build in owners.items():
        if build not in running:
            _log.info("freeing the local cache of a build that is gone", build=build, path=str(slot.root))
            caches.free(slot, build)
    caches.retire(now, keep)
    if size is not None:
        lots = [Lot(slot.root, slot.root.stat().st_mtime, taken_by(slot.root)) for slot in caches.unused()]
        for lot in outlived(lots, before=float("-inf"), size=size):
            caches.set_aside(Slot(lot.path))
    _remove_retired(caches, reclaim)


def shed_caches(caches: LocalCaches, reclaim: Callable[[Path], None], has_room: Callable[[], bool]) -> None:
    """Remove caches that no build has, the longest unused first, until *has_room*."""
    for slot in caches.unused():
        if has_room():
            return
        _log.info("the disk is full, removing a local cache", path=str(slot.root))
        caches.set_aside(slot)
        _remove_retired(caches, reclaim)


def _remove_retired(caches: LocalCaches, reclaim: Callable[[Path], None]) -> None:
    for slot in caches.retired():
        try:
            for directory in (slot.custom, slot.docker):
                reclaim(directory)
        except (EngineUnavailable, ImageUnavailable) as error:  # what it needs may be there at the next sweep
            _log.warning("a local cache stays for now", path=str(slot.root), error=error.message)
            continue
        if not slot.custom.exists() and not slot.docker.exists():
            shutil.rmtree(slot.root, ignore_errors=True)
