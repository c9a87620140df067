"""Save: what the build left in the cache's paths is kept, unless it is what was restored (buildspec.md 11)."""

from __future__ import annotations

import os
import stat
import tempfile
from pathlib import Path

from agent.buildspec.plan import CachePlan
from agent.cache.archive import write_archive
from agent.cache.contents import IN_ROOT, IN_TREE, Item, Wanted, in_root, in_tree, is_repository, sum_of, unreadable
from agent.cache.manifest import PACK, Manifest
from agent.cache.restore import MANIFEST, Say
from agent.cache.shelf import Shelf
from agent.errors import BuildspecdError
from agent.kit.beyond import Beyond, Fetch
from agent.kit.files import write_atomic
from agent.kit.tree import Tree
from agent.objects.store import Upload

_DIGEST = "buildspecd-digest"
_INTENT = "cache.saving"
"""Name of a file in the build's scratch directory: what is about to be stored."""


def save(
    shelf: Shelf | None, plan: CachePlan | None, tree: Tree, scratch: Path, say: Say, fetch: Fetch | None = None
) -> bool:
    """Store what the paths of *plan* hold now; return whether anything was uploaded.

    Call it only when every phase has succeeded, with the *plan* that `restore` was given: a cache key is evaluated
    once. A cache that is still what `restore` brought is recognised by `lstat` alone; files with other stamps are
    compared by content. A keyed copy that exists is never replaced. *fetch* gives what lies outside the source tree.
    No error is raised: a cache never fails a build. Two builds at once leave one whole cache.
    """
    if shelf is None or plan is None or not plan.paths or plan.action == "restore":
        return False
    try:
        return _saved(shelf, plan, tree, scratch, say, fetch)
    except (BuildspecdError, OSError, ValueError) as error:
        say(f"Unable to upload cache: {error}")
        return False


def _saved(shelf: Shelf, plan: CachePlan, tree: Tree, scratch: Path, say: Say, fetch: Fetch | None) -> bool:
    manifest = Manifest.read(scratch / MANIFEST)
    key = shelf.keyed(plan.key, plan.paths) if plan.key else shelf.only
    if _is_there_already(shelf, key, scratch):
        return True
    if plan.key and ((manifest and manifest.object == key) or shelf.store.head(key)):
        say(f"Skip uploading the cache: there is a copy with the key {plan.key}")
        return False
    wanted = Wanted(plan.paths, tree)
    with tempfile.TemporaryDirectory(prefix="cache-", dir=scratch) as aside:
        beyond = Beyond(tree, fetch, Path(aside))
        if not plan.key and manifest and _is_unchanged(manifest, wanted, beyond):
            say("Skip uploading the cache: it has not changed")
            return False
        items = [*in_tree(wanted), *in_root(wanted, beyond)]
        if not items:
            say("Skip uploading the cache: its paths match no file")
            return False
        say("Uploading S3 cache...")
        return _put(shelf, key, items, Path(aside, "cache.tar.zst"), say, keyed=bool(plan.key), scratch=scratch)


def _is_there_already(shelf: Shelf, key: str, scratch: Path) -> bool:
    """Whether an attempt before this one stored the cache, and was killed before it could say so."""
    try:
        meant = (scratch / _INTENT).read_text()
    except OSError:
        return False
    stored = shelf.store.head(key)
    return stored is not None and meant == f"{key}\n{stored.metadata.get(_DIGEST)}"


def _put(shelf: Shelf, key: str, items: list[Item], file: Path, say: Say, *, keyed: bool, scratch: Path) -> bool:
    digest = write_archive(items, file).digest
    stored = None if keyed else shelf.store.head(key)
    if stored and stored.metadata.get(_DIGEST) == digest:
        say("Skip uploading the cache: it has not changed")
        return False
    upload = Upload(
        encryption=shelf.encryption, content_type="application/zstd", metadata={_DIGEST: digest}, if_absent=keyed
    )
    write_atomic(scratch / _INTENT, f"{key}\n{digest}".encode(), sync=False)
    shelf.store.put(key, file, upload)
    return True


def _is_unchanged(manifest: Manifest, wanted: Wanted, beyond: Beyond) -> bool:
    return not manifest.stale and _tree_is_unchanged(manifest, wanted) and _root_is_unchanged(manifest, wanted, beyond)


def _tree_is_unchanged(manifest: Manifest, wanted: Wanted) -> bool:
    """Compare by stamps, and by content where those differ. This is the loop that 50,000 files go through."""
    tree = wanted.tree
    stamps = dict(zip(manifest.names, manifest.stamps, strict=True))
    look_up, pack = stamps.get, PACK
    differ: list[tuple[str, os.stat_result]] = []
    seen = 0
    for name, _, facts in tree.walk(tree.start, wanted.inside, unreadable) if wanted.inside.patterns else ():
        known = look_up(IN_TREE + name)
        if known == pack(facts.st_ino, facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns, facts.st_mode):
            seen += 1
        elif not (stat.S_ISREG(facts.st_mode) or stat.S_ISLNK(facts.st_mode)) or is_repository(name):
            continue
        elif known is None:
            return False
        else:
            differ.append((name, facts))
    if seen + len(differ) != manifest.in_tree:
        return False
    sums = dict(zip(manifest.names, manifest.sums, strict=True)) if differ else {}
    above = f"{tree.start}/" if tree.start else ""
    return all(
        sum_of(Item(IN_TREE + name, tree, above + name, facts, (0, 0))) == sums[IN_TREE + name]
        for name, facts in differ
    )


def _root_is_unchanged(manifest: Manifest, wanted: Wanted, beyond: Beyond) -> bool:
    """Compare by content: what the container holds outside the tree has to be fetched anyway."""
    missing = (
        {name: digest for name, digest in zip(manifest.names, manifest.sums, strict=True) if name.startswith(IN_ROOT)}
        if wanted.outside.patterns
        else {}
    )
    for item in in_root(wanted, beyond):
        if missing.pop(item.name, None) != sum_of(item):
            return False
    return not missing
