"""Workindex: git's own index of a work tree, as far as we read and write it: the times of its files.

The format is gitformat-index(5), version 2: what our git writes of a tree that it has just checked out.
"""

from __future__ import annotations

import hashlib
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from agent.kit.files import write_atomic

_HEADER = struct.Struct(">4sII")
_TIMES = struct.Struct(">4I")
"""Changed and modified, each in seconds and nanoseconds; the first members of an entry."""
_MODE, _NAME = 24, 62
_SUM = 20
_SUBMODULE = 0o160000
_WORD = 0xFFFFFFFF
_SECOND = 1_000_000_000
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def count(index: Path) -> int:
    """Return how many entries an index has; 0 where there is none."""
    try:
        with index.open("rb") as file:
            head = file.read(_HEADER.size)
    except FileNotFoundError:
        return 0
    return int(_HEADER.unpack(head)[2]) if len(head) == _HEADER.size else 0


def check(index: Path) -> None:
    """Raise `ValueError` unless *index* is whole and of the format that we know; `read-tree --reset` would not."""
    _read(index)


def retime(work_tree: Path, index: Path, moment: int) -> None:
    """Give every file of *work_tree* the modification time *moment* (epoch nanoseconds), and have *index* know.

    The tree must be as the index says, and nobody else at it. A *moment* before this second spares git the doubt
    whether a file was written after the index (git's racy-git.txt), and with it reading them all. Links are not
    followed, neither on the way to a file. Raises `ValueError` for an index of another format, `OSError` where a file
    of the index is missing.
    """
    data, entries = _read(index)
    times, modified = (moment, moment), (moment // _SECOND & _WORD, moment % _SECOND)
    at = _HEADER.size
    with _descending(work_tree) as directory_of:
        for _ in range(entries):
            end = data.index(0, at + _NAME)
            if int.from_bytes(data[at + _MODE : at + _MODE + 4], "big") != _SUBMODULE:
                parent, _, name = bytes(data[at + _NAME : end]).rpartition(b"/")
                handle = directory_of.at(parent)
                os.utime(name, ns=times, dir_fd=handle, follow_symlinks=False)
                changed = os.stat(name, dir_fd=handle, follow_symlinks=False).st_ctime_ns
                _TIMES.pack_into(data, at, changed // _SECOND & _WORD, changed % _SECOND, *modified)
            at += (end - at + 8) & ~7  # names end in 1 to 8 zeros
    data[-_SUM:] = _sum(data)
    write_atomic(index, bytes(data), sync=False)


def _read(index: Path) -> tuple[bytearray, int]:
    data = bytearray(index.read_bytes())
    if len(data) < _HEADER.size + _SUM or data[-_SUM:] != _sum(data):
        raise ValueError(f"{index} is torn")
    signature, version, entries = _HEADER.unpack_from(data)
    if (signature, version) != (b"DIRC", 2):
        raise ValueError(f"{index} is of version {version}")
    return data, int(entries)


def _sum(data: bytearray) -> bytes:
    return hashlib.sha1(memoryview(data)[:-_SUM], usedforsecurity=False).digest()


class _Descent:
    """The directory of the file at hand, held open. An index is sorted, so that each is opened about once."""

    def __init__(self, root: Path) -> None:
        self._root = os.open(root, _DIRECTORY)
        self._here = self._root
        self._path = b""

    def at(self, path: bytes) -> int:
        """Return a descriptor of directory *path*, good until the next call."""
        if path != self._path:
            self._leave()
            for name in path.split(b"/") if path else ():
                inner = os.open(name, _DIRECTORY, dir_fd=self._here)
                self._leave()
                self._here = inner
            self._path = path
        return self._here

    def close(self) -> None:
        self._leave()
        os.close(self._root)

    def _leave(self) -> None:
        if self._here != self._root:
            os.close(self._here)
        self._here, self._path = self._root, b""


@contextmanager
def _descending(root: Path) -> Iterator[_Descent]:
    descent = _Descent(root)
    try:
        yield descent
    finally:
        descent.close()
