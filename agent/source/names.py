"""Names: which paths an archive or a listing that nobody vouches for may make in a workspace. Pure."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass, field

from agent.kit.zipindex import has_drive


@dataclass(frozen=True)
class Limits:
    """How much one source may hold. Far beyond what is built, and well within what a host survives."""

    size: int = 10 << 30
    """Bytes, packed and unpacked: twice what CodePipeline lets through."""
    count: int = 500_000
    """Files, directories and links: the index of so many takes 200 MB of memory; a large `node_modules` has 100,000."""
    depth: int = 128
    """Directories within each other: some tools walk trees by recursion."""
    path: int = 2_000
    """Bytes of one path: with the workspace before it, it stays below the 4,096 of the kernel."""
    name: int = 255
    """Bytes of one name: the file systems' own limit."""
    ratio: int = 400
    """Bytes unpacked for one packed, of files larger than `small`: text has 10, a log 50; deflate can do 1,032."""
    small: int = 64 << 20
    """Bytes below which the ratio does not matter."""


def clean(name: str, limits: Limits = Limits()) -> str:
    """Return *name*, or raise `ValueError`: it must be relative, without `..`, and mean the same to everybody."""
    if not name or name.startswith("/"):
        raise ValueError(f"{name!r} is no relative path")
    if "\0" in name:
        raise ValueError(f"{name!r} holds a NUL")
    if "\\" in name:
        raise ValueError(f"{name!r} holds a backslash, which some tools take for a slash")
    if has_drive(name):
        raise ValueError(f"{name!r} begins with a drive letter")
    parts = name.split("/")
    if ".." in parts:
        raise ValueError(f"{name!r} leads out of the source with ..")
    if "." in parts or "" in parts:
        raise ValueError(f"{name!r} holds an empty part or a single dot, so that it has a second spelling")
    if len(parts) > limits.depth:
        raise ValueError(f"{name!r} lies {len(parts)} directories deep, more than {limits.depth}")
    try:
        size = len(name) if name.isascii() else len(name.encode())
    except UnicodeEncodeError:
        raise ValueError(f"{name!r} is no valid text") from None
    if size > limits.path or (size > limits.name and any(len(part.encode()) > limits.name for part in parts)):
        raise ValueError(f"a name is too long: {name[:60]!r}...")
    return name


@dataclass
class Names:
    """Collects the clean names of one source. `directories` are those that were named, and all above other names."""

    limits: Limits = Limits()
    leaves: set[str] = field(default_factory=set)
    directories: set[str] = field(default_factory=lambda: {""})

    def add(self, name: str) -> None:
        """Take a file or a link. Raises `ValueError` when the name comes twice."""
        if name in self.leaves:
            raise ValueError(f"{name!r} comes twice")
        self.leaves.add(name)
        self._count()
        self.add_directory(name.rpartition("/")[0])

    def add_directory(self, name: str) -> None:
        """Take a directory, and those above it; again, if it was there before."""
        while name not in self.directories:
            self.directories.add(name)
            self._count()
            name = name.rpartition("/")[0]

    def check(self) -> None:
        """Raise `ValueError` when a name is file and directory at once, or two names differ in their encoding alone."""
        for name in self.leaves & self.directories:
            below = next((one for one in sorted(self.leaves | self.directories) if one.startswith(f"{name}/")), None)
            what = f", and {below!r} lies below it" if below else ""
            raise ValueError(f"{name!r} is a file or a link and a directory at once{what}")
        seen: dict[str, str] = {}
        for name in (*self.leaves, *self.directories):
            if not name.isascii():
                other = seen.setdefault(unicodedata.normalize("NFC", name), name)
                if other != name:
                    raise ValueError(f"{other!r} and {name!r} differ in their Unicode encoding alone")

    def _count(self) -> None:
        if len(self.leaves) + len(self.directories) > self.limits.count:
            raise ValueError(f"it makes more than {self.limits.count} files and directories")


_HOPS = 40
"""How many links one path may lead through, as in the kernel."""


def leads_out(name: str, links: dict[str, str]) -> bool:
    """Whether the link *name* leads out of the tree, by its text alone or through other *links* (name -> target)."""
    target = links[name]
    above = name.split("/")[:-1]
    if target.startswith("/") or _above_the_top([*above, *target.split("/")]):
        return True
    now, todo, hops = above, target.split("/")[::-1], 0
    while todo:
        word = todo.pop()
        if word in ("", "."):
            continue
        if word == "..":
            if not now:
                return True
            now = now[:-1]
            continue
        now = [*now, word]
        onwards = links.get("/".join(now))
        if onwards is not None:
            hops += 1
            if hops > _HOPS:
                return False  # a circle leads nowhere
            if onwards.startswith("/"):
                return True
            now = now[:-1]
            todo += onwards.split("/")[::-1]
    return False


def _above_the_top(parts: Iterable[str]) -> bool:
    depth = 0
    for part in parts:
        depth += 0 if part in ("", ".") else -1 if part == ".." else 1
        if depth < 0:
            return True
    return False
