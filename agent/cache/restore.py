"""Restore: the cache of an earlier build, before the first command (buildspec.md 11)."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from agent.buildspec.plan import CachePlan
from agent.cache.contents import Wanted
from agent.cache.manifest import Manifest
from agent.cache.shelf import MOST_FALLBACKS, Shelf
from agent.cache.unarchive import Put, unarchive
from agent.errors import BuildspecdError
from agent.kit.tree import Tree

MANIFEST: Final = "cache.manifest"
"""Name of the manifest in the build's scratch directory; `save` looks for it there."""

Say = Callable[[str], None]
"""Takes one line for the build's log, without time stamp."""


@dataclass(frozen=True)
class CacheOutcome:
    """What restoring did. `files` counts what was restored; `object` is the key of the copy that was used."""

    restored: Literal["hit", "miss", "off"]
    files: int = 0
    object: str | None = None


def restore(
    shelf: Shelf | None, plan: CachePlan | None, tree: Tree, scratch: Path, say: Say, put: Put | None = None
) -> CacheOutcome:
    """Bring back the cache that *plan*, whose texts are evaluated already, asks for.

    *shelf* None: the project has no cache. Without a key there is one cache a project; with one, the exact copy is
    looked for, then the newest whose key starts with each fallback key in turn. Files outside the source tree are
    handed to *put*. *scratch*, a private directory of the build that outlives a restart, keeps the manifest.
    Whatever goes wrong with the cache is a line and a cold build: no error is raised, and no part of a cache that
    could not be read whole is left. Safe to call again.
    """
    (scratch / MANIFEST).unlink(missing_ok=True)
    if plan is None or not plan.paths:
        if plan is None:
            say("Cache is not defined in the buildspec")
        say("Skip cache due to: no paths specified to be cached")
        return CacheOutcome("off")
    for path in plan.paths:
        say(f"Expanded cache path {path}")
    if shelf is None:
        say("Skip cache due to: the project has no cache")
        return CacheOutcome("off")
    if plan.action == "save":
        return CacheOutcome("off")
    if plan.key and len(plan.fallback_keys) > MOST_FALLBACKS:
        say(f"Warning: only the first {MOST_FALLBACKS} fallback keys of the cache are used")
    say("Downloading S3 cache...")
    try:
        return _restored(shelf, plan, tree, scratch, say, put)
    except (BuildspecdError, OSError, ValueError) as error:
        say(f"Unable to download cache: {error}")
        return CacheOutcome("miss")


def _restored(shelf: Shelf, plan: CachePlan, tree: Tree, scratch: Path, say: Say, put: Put | None) -> CacheOutcome:
    with tempfile.TemporaryDirectory(prefix="cache-", dir=scratch) as aside:
        file = Path(aside, "cache.tar.zst")
        key = next((key for key in _candidates(shelf, plan) if shelf.store.get(key, file)), None)
        if key is None:
            say("Unable to download cache: there is none yet")
            return CacheOutcome("miss")
        say("Unarchiving cache...")
        manifest = unarchive(file, key, Wanted(plan.paths, tree), scratch, put)
    manifest.write(scratch / MANIFEST)
    say(_hit(shelf, plan, manifest))
    return CacheOutcome("hit", len(manifest.names), key)


def _candidates(shelf: Shelf, plan: CachePlan) -> Iterator[str]:
    if not plan.key:
        yield shelf.only
        return
    yield shelf.keyed(plan.key, plan.paths)
    for prefix in plan.fallback_keys[:MOST_FALLBACKS]:
        found = shelf.newest(prefix, plan.paths) if prefix else None
        if found:
            yield found


def _hit(shelf: Shelf, plan: CachePlan, manifest: Manifest) -> str:
    count = f"{len(manifest.names)} file(s)"
    if not plan.key:
        return f"Restored {count} from the cache"
    exact = manifest.object == shelf.keyed(plan.key, plan.paths)
    return f"Restored {count} from the cache with {'the key' if exact else 'a fallback of the key'} {plan.key}"
