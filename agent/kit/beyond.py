"""Beyond: what a container holds outside the mounted tree, fetched as a tar and made a `Tree`."""

from __future__ import annotations

import posixpath
import stat
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from agent.kit.tree import Inside, Outside, Tree
from agent.kit.untar import Limits, Owners, unpack

Fetch = Callable[[str], Iterator[bytes] | None]
"""Given an absolute container path: a tar of it, its base name on top; None when there is no such path."""

_HOPS: Final = 8
"""How many times one path may lead from tree to tree."""


@dataclass(frozen=True, slots=True)
class Spot:
    """An entry of a tree, by its name relative to the tree's root; no part of it is a symlink."""

    tree: Tree
    name: str

    @property
    def is_directory(self) -> bool:
        """Whether it is a directory now."""
        found = self.tree.lstat(self.name)
        return found is not None and stat.S_ISDIR(found.st_mode)


class Beyond:
    """Finds container paths in *tree*, or fetches them into *scratch*, a private directory that the caller removes.

    *linked* are directories of *tree*, as absolute container paths, that were made symlinks to somewhere outside for
    our own sake, and are to count as directories still.

    What was fetched once is not fetched again. `fetch` None: nothing outside the tree exists. The whole file system
    (`/`) is never fetched. Errors of *fetch* pass; a tar that is broken or hostile raises `ValueError`.
    For one thread.
    """

    def __init__(
        self,
        tree: Tree,
        fetch: Fetch | None,
        scratch: Path,
        limits: Limits = Limits(),
        *,
        linked: Sequence[str] = (),
    ) -> None:
        self.tree = tree
        self._linked = tuple(linked)
        self._fetch = fetch
        self._scratch = scratch
        self._limits = limits
        self._fetched: dict[str, Tree | None] = {}
        self._owners: dict[Tree, Owners] = {}

    def place(self, path: str, base: str | None = None) -> Spot | None:
        """Return where *path* is, symlinks followed, fetching what is not in the tree; None when it is nowhere.

        A relative *path* starts at *base* (an entry of the tree) or at the source directory.
        """
        tree = self.tree
        for _ in range(_HOPS):
            found = tree.resolve(path, base)
            if found is None:
                return None
            if isinstance(found, Inside):
                return Spot(tree, found.name)
            path, base = found.path, None
            onwards = self._tree_of(path)
            if onwards is None:
                return None
            tree = onwards
        return None

    def linked_below(self, spot: Spot) -> dict[str, str]:
        """Return the *linked* directories below *spot*: their names relative to it, and their container paths."""
        top = posixpath.join(spot.tree.seen_as, spot.name) if spot.name else spot.tree.seen_as
        found = {path[len(top) + 1 :]: path for path in self._linked if path.startswith(f"{top}/")}
        return {name: path for name, path in found.items() if spot.tree is self.tree and self._is_link(path)}

    def _is_link(self, path: str) -> bool:
        """Whether the last part of *path* leads out of the tree, and only that."""
        above = posixpath.dirname(path)
        straight = Inside(above[len(self.tree.seen_as) + 1 :])
        return self.tree.resolve(above) == straight and isinstance(self.tree.resolve(path), Outside)

    def owner(self, tree: Tree, name: str, found: tuple[int, int]) -> tuple[int, int]:
        """Return user and group of an entry: as the container had it where it was fetched, else *found*."""
        return self._owners.get(tree, {}).get(name, found)

    def _tree_of(self, path: str) -> Tree | None:
        if isinstance(self.tree.resolve(path), Inside):
            return self.tree
        for known, tree in self._fetched.items():
            if path == known or path.startswith(f"{known}/"):
                return tree
        self._fetched[path] = self._fetched_tree(path)
        return self._fetched[path]

    def _fetched_tree(self, path: str) -> Tree | None:
        chunks = self._fetch(path) if self._fetch and path != "/" else None
        if chunks is None:
            return None
        into = Path(tempfile.mkdtemp(prefix="fetched-", dir=self._scratch))
        owners = unpack(chunks, into, self._limits)
        tree = Tree(into, posixpath.dirname(path))
        self._owners[tree] = owners
        return tree
