"""Sweeping mirrors: those that no build uses go, and one of many pieces is put together in a quiet hour."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path

from agent.errors import BuildspecdError
from agent.kit.logging import get_logger
from agent.source import url
from agent.source.credentials import Remote
from agent.source.mirror import Mirrors

_log = get_logger("janitor")
MANY_PACKS = 50
"""Packs of a mirror from which on looking for an object is slow; every fetch of something new adds one."""


def sweep_mirrors(mirrors: Mirrors, used: Collection[Path], before: float | None, *, quiet: bool) -> None:
    """Remove mirrors that were not fetched into since *before*, but for those *used* by builds that have not ended.

    When it is *quiet*, one mirror of many packs is compacted, too.
    """
    if before is not None:
        for path in mirrors.forget_unused(before, frozenset(used)):
            _log.info("removed a mirror that no build uses", path=str(path))
    if quiet and (scattered := next(_scattered(mirrors.root), None)):
        address, _ = url.parse(scattered.as_uri())
        try:
            mirrors.at(scattered, Remote(address)).compact()
        except BuildspecdError as error:  # its next fetch will say more
            _log.warning("cannot compact a mirror", path=str(scattered), error=error.message)


def _scattered(root: Path) -> Iterator[Path]:
    for path in sorted(root.glob("*.git")) if root.is_dir() else ():
        if path.is_dir() and sum(1 for _ in (path / "objects" / "pack").glob("*.pack")) > MANY_PACKS:
            yield path
