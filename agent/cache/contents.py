"""Contents: the files that a cache's `paths` name, in the source tree and beyond it (buildspec.md 11.4)."""

from __future__ import annotations

import hashlib
import os
import posixpath
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from agent.errors import BuildspecdError
from agent.kit.beyond import Beyond
from agent.kit.globs import Globs, has_wildcard, static_prefix, tidy
from agent.kit.heed import heed
from agent.kit.tree import Tree

IN_TREE: Final = "tree/"
"""Before the names of files in the source tree, relative to the source directory."""
IN_ROOT: Final = "root/"
"""Before the names of files elsewhere in the container, as absolute paths without the first slash."""
_BLOCK: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Item:
    """One file or symlink to keep. `name` is the stored one, `entry` where it lies in *tree*."""

    name: str
    tree: Tree
    entry: str
    facts: os.stat_result
    owner: tuple[int, int]

    @property
    def is_link(self) -> bool:
        """Whether it is kept as a symlink."""
        return stat.S_ISLNK(self.facts.st_mode)


class Wanted:
    """The `paths` of a cache, sorted into those below the source directory and those elsewhere in the container.

    A path whose last part has no wildcard may also be a directory, and then means everything below it.
    """

    def __init__(self, paths: Sequence[str], tree: Tree) -> None:
        source = posixpath.join(tree.seen_as, tree.start) if tree.start else tree.seen_as
        inside: list[str] = []
        outside: list[str] = []
        for path in paths:
            full = tidy(path) if path.startswith("/") else tidy(f"{source}/{path}")
            full = full.rstrip("/")
            if full == source:
                inside.append("**/*")
            elif full.startswith(f"{source}/"):
                inside.extend(_with_below(full[len(source) + 1 :]))
            elif full:
                outside.extend(_with_below(full[1:]))
        self.tree = tree
        self.inside = Globs(inside)
        self.outside = Globs(outside)

    def __contains__(self, name: str) -> bool:
        """Whether the file with the stored *name* is wanted."""
        if name.startswith(IN_TREE):
            below = name[len(IN_TREE) :]
            return not is_repository(below) and bool(self.inside.matches(below))
        return name.startswith(IN_ROOT) and bool(self.outside.matches(name[len(IN_ROOT) :]))

    def tops(self) -> list[str]:
        """Return the absolute container paths outside the source tree that hold all that is wanted there."""
        found: set[str] = set()
        for pattern in self.outside.patterns:
            top = "/" + static_prefix(pattern)[0]
            found.add(top)
        return sorted(top for top in found if not any(top.startswith(f"{other}/") for other in found))


def is_repository(name: str) -> bool:
    """Whether *name* belongs to the checkout's own `.git`: never kept, since a cache must not bring git hooks."""
    return name == ".git" or name.startswith(".git/")


def _with_below(pattern: str) -> list[str]:
    return [pattern] if has_wildcard(posixpath.basename(pattern)) else [pattern, f"{pattern}/**/*"]


def in_tree(wanted: Wanted) -> Iterator[Item]:
    """Yield what is wanted of the source tree, unsorted. Symlinks are not followed; FIFOs and devices are left out."""
    tree = wanted.tree
    above = f"{tree.start}/" if tree.start else ""
    if not wanted.inside.patterns:
        return
    for name, _, facts in tree.walk(tree.start, wanted.inside, unreadable):
        if (stat.S_ISREG(facts.st_mode) or stat.S_ISLNK(facts.st_mode)) and not is_repository(name):
            yield Item(IN_TREE + name, tree, above + name, facts, (facts.st_uid, facts.st_gid))


def in_root(wanted: Wanted, beyond: Beyond) -> Iterator[Item]:
    """Yield what is wanted of the container outside the source tree, which is fetched for that, unsorted."""
    for top in wanted.tops():
        spot = beyond.place(top)
        if spot is None or not spot.name:
            continue
        tree, lead = spot.tree, top[1:]
        facts = tree.lstat(spot.name)
        if facts is not None and not spot.is_directory:
            if wanted.outside.matches(lead):
                owner = beyond.owner(tree, spot.name, (facts.st_uid, facts.st_gid))
                yield Item(IN_ROOT + lead, tree, spot.name, facts, owner)
            continue
        for name, _, found in tree.walk(spot.name, Globs(["**/*"]), unreadable):
            if wanted.outside.matches(f"{lead}/{name}") and (
                stat.S_ISREG(found.st_mode) or stat.S_ISLNK(found.st_mode)
            ):
                entry = f"{spot.name}/{name}"
                owner = beyond.owner(tree, entry, (found.st_uid, found.st_gid))
                yield Item(f"{IN_ROOT}{lead}/{name}", tree, entry, found, owner)


def sum_of(item: Item) -> str:
    """Return a sum over kind, permissions and content, in hexadecimal; times and owners do not count.

    Raises `BuildspecdError` when the file cannot be read.
    """
    if item.is_link:
        return sum_of_link(item.tree.readlink(item.entry) or "")
    digest = hashlib.blake2b(sum_start(item.facts.st_mode), digest_size=16)
    handle = opened(item)
    try:
        while block := os.read(handle, _BLOCK):
            heed()
            digest.update(block)
    finally:
        os.close(handle)
    return digest.hexdigest()


def sum_of_link(text: str) -> str:
    """Return the sum of a symlink with *text*."""
    return hashlib.blake2b(b"link\0" + os.fsencode(text), digest_size=16).hexdigest()


def sum_start(mode: int) -> bytes:
    """Return what the sum of a file with *mode* begins with."""
    return b"file %o\0" % (mode & 0o777)


def opened(item: Item) -> int:
    """Return a descriptor of the file. Raises `BuildspecdError` when it cannot be read."""
    try:
        handle = item.tree.open(item.entry)
    except OSError as error:
        raise BuildspecdError(f"{item.entry}: {error.strerror}") from error
    if handle is None:
        raise BuildspecdError(f"{item.entry} was removed or replaced while it was read")
    return handle


def unreadable(name: str, error: OSError) -> None:
    """Say which directory cannot be read."""
    raise BuildspecdError(f"{name or '.'}: {error.strerror}") from error
