"""Tree: a directory that an untrusted build filled, read without ever leaving it."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from agent.kit.globs import Globs, Position
from agent.kit.heed import heed

_LINKS: Final = 40
"""How many symlinks one path may lead through, as in the kernel."""
_NOT_THAT: Final = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENXIO, errno.ENODEV})
"""What `open` answers when the entry is gone, or is not what was expected."""
_PROC: Final = "/proc/self/fd"

Trouble = Callable[[str, OSError], None]
"""Told of a directory that cannot be read, by its name relative to the root."""
Enters = Callable[[str], bool]
"""Whether a directory is to be looked into, by the last part of its name."""
Found = tuple[str, int, os.stat_result]
"""A file met by `walk`: name relative to where the walk began, bits of the patterns that match, its `lstat`."""


@dataclass(frozen=True, slots=True)
class Inside:
    """A path that stays in the tree. `name` is relative to the root ("" is the root); no part of it is a symlink."""

    name: str


@dataclass(frozen=True, slots=True)
class Outside:
    """A path that leads out of the tree, as the container would follow it: absolute, without `..`."""

    path: str


class Tree:
    """The directory *root* of the host, which the container saw at *seen_as*.

    Everything below *root* is hostile: symlinks to anywhere, FIFOs, devices, names with newlines or invalid UTF-8
    (they pass as surrogate escapes). No method follows a symlink out of *root*; a directory that is swapped for a
    symlink between two calls is noticed. Relative paths start at *start*, the source directory, given relative to
    *root*. Any thread may call any method.
    """

    def __init__(self, root: Path, seen_as: str, start: str = "") -> None:
        self.root = Path(os.path.realpath(root))
        self.seen_as = "/" + "/".join(part for part in seen_as.split("/") if part)
        self.start = start.strip("/")
        self._root = str(self.root)
        self._proc = Path(_PROC).is_dir()

    def __repr__(self) -> str:
        return f"Tree({self._root!r}, seen_as={self.seen_as!r})"

    def path(self, name: str) -> str:
        """Return the host path of the entry *name*, which is relative to the root."""
        return f"{self._root}/{name}" if name else self._root

    def lstat(self, name: str) -> os.stat_result | None:
        """Return the facts of the entry itself (a symlink is not followed); None when it is not there."""
        try:
            return os.lstat(self.path(name))
        except (OSError, ValueError):
            return None

    def open(self, name: str) -> int | None:
        """Open the regular file *name* for reading; None unless it is one, and lies where its name says.

        Raises `OSError` when it is there and cannot be read (permission, a path too long).
        """
        handle = self._open(name, os.O_NONBLOCK)
        if handle is None or stat.S_ISREG(os.fstat(handle).st_mode):
            return handle
        os.close(handle)
        return None

    def readlink(self, name: str) -> str | None:
        """Return the text of the symlink *name*, or None when it is no symlink."""
        try:
            return os.readlink(self.path(name))  # noqa: PTH115 - a Path would tidy the text
        except OSError:
            return None

    def resolve(self, path: str, base: str | None = None) -> Inside | Outside | None:
        """Follow *path* as the container would; None when it does not exist, or loops.

        A relative *path* starts at the entry *base* (relative to the root; None: the source directory). Targets below
        `seen_as` are mapped back into the tree. What lies outside is not looked at: `..` and names count as they stand.
        """
        top = _parts(self.seen_as)
        now = [] if path.startswith("/") else [*top, *_parts(self.start if base is None else base)]
        todo = _parts(path)[::-1]
        links = 0
        while todo:
            word = todo.pop()
            if word == "..":
                now = now[:-1]
                continue
            now.append(word)
            if len(now) <= len(top) or now[: len(top)] != top:
                continue
            target = self._link("/".join(now[len(top) :]))
            if target is None:
                return None
            if target:
                links += 1
                if links > _LINKS:
                    return None
                now = [] if target.startswith("/") else now[:-1]
                todo.extend(_parts(target)[::-1])
        if now[: len(top)] == top:
            return Inside("/".join(now[len(top) :]))
        return Outside("/" + "/".join(now))

    def walk(
        self, name: str, globs: Globs, trouble: Trouble | None = None, enters: Enters | None = None
    ) -> Iterator[Found]:
        """Yield what is not a directory below the entry *name* and matches *globs*, in no particular order.

        Symlinks are yielded, not followed; so are FIFOs, sockets and devices. Directories in which nothing can match
        are not entered, nor those of which *enters* says no. What vanishes meanwhile is passed over.
        """
        prefix = f"{name}/" if name else ""
        todo: list[tuple[str, Position]] = [("", globs.top)]
        while todo:
            below, position = todo.pop()
            enter, test, by_name = position.directory, position.file, position.by_name
            mask, onwards = position.every_file, position.every_directory
            heed()
            handle = self._directory((prefix + below).rstrip("/"), trouble)
            if handle is None:
                continue
            try:
                with os.scandir(handle) as entries:
                    for entry in entries:
                        word = entry.name
                        if entry.is_dir(follow_symlinks=False):
                            if by_name:
                                onwards = enter(word)
                            if onwards is not None and (enters is None or enters(word)):
                                todo.append((f"{below}{word}/", onwards))
                            continue
                        if by_name:
                            mask = test(word)
                        if mask:
                            try:
                                yield below + word, mask, entry.stat(follow_symlinks=False)
                            except FileNotFoundError:
                                continue
            finally:
                os.close(handle)

    def directories(self, name: str, globs: Globs, trouble: Trouble | None = None) -> list[str]:
        """Return, sorted, the directories below the entry *name* that match *globs*, relative to it."""
        found: list[str] = []
        prefix = f"{name}/" if name else ""
        todo: list[tuple[str, Position]] = [("", globs.top)]
        while todo:
            below, position = todo.pop()
            heed()
            handle = self._directory((prefix + below).rstrip("/"), trouble)
            if handle is None:
                continue
            try:
                with os.scandir(handle) as entries:
                    words = [entry.name for entry in entries if entry.is_dir(follow_symlinks=False)]
            finally:
                os.close(handle)
            found.extend(below + word for word in words if position.file(word))
            todo.extend((f"{below}{word}/", onwards) for word in words if (onwards := position.directory(word)))
        return sorted(found)

    def _directory(self, name: str, trouble: Trouble | None) -> int | None:
        try:
            return self._open(name, os.O_DIRECTORY)
        except OSError as error:
            if trouble:
                trouble(name, error)
            return None

    def _open(self, name: str, flags: int) -> int | None:
        path = self.path(name)
        try:
            handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | flags)
        except OSError as error:
            if error.errno in _NOT_THAT:
                return None
            raise
        except ValueError:
            return None
        # O_NOFOLLOW guards the last component only: ask where the descriptor really is.
        there = os.readlink(f"{_PROC}/{handle}") if self._proc else os.path.realpath(path)  # noqa: PTH115 - text
        if there == path:
            return handle
        os.close(handle)
        return None

    def _link(self, name: str) -> str | None:
        """Return the target of a symlink, "" for any other entry, None for nothing."""
        found = self.lstat(name)
        if found is None:
            return None
        return (self.readlink(name) or None) if stat.S_ISLNK(found.st_mode) else ""


def _parts(path: str) -> list[str]:
    return [part for part in path.split("/") if part not in ("", ".")]
