"""Room: how much of a disk is free, and how much a tree takes."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_BLOCK = 512
_INODE = 512


@dataclass(frozen=True)
class Room:
    """How a file system stands: bytes and inodes, free for others than root. `inodes` 0: it has no fixed number."""

    free: int
    total: int
    inodes_free: int = 0
    inodes: int = 0


def room_at(path: Path) -> Room:
    """Return how the file system that holds *path* stands. Raises `OSError`."""
    facts = os.statvfs(path)
    return Room(facts.f_bavail * facts.f_frsize, facts.f_blocks * facts.f_frsize, facts.f_favail, facts.f_files)


def taken_by(*trees: Path) -> int:
    """Return the bytes on the disk of *trees*; links are not followed, and what vanishes meanwhile does not count.

    Every name counts with what its inode takes, so that empty files are not for nothing. A file with several names
    counts once per name that is looked at.
    """
    total, waiting = 0, list(map(str, trees))
    while waiting:
        path = waiting.pop()
        try:
            entries = os.scandir(path)
        except NotADirectoryError:
            with suppress(OSError):
                total += os.lstat(path).st_blocks * _BLOCK
            continue
        except OSError:
            continue
        with entries:
            for entry in entries:
                with suppress(OSError):
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(entry.path)
                    total += entry.stat(follow_symlinks=False).st_blocks * _BLOCK + _INODE
    return total
