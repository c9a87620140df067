"""Unfinished: files on their way into a directory of the user's; those of a process that was killed go with the next.

Each is locked as long as somebody writes it. The kernel ends the lock with the process, so whoever finds one that is
not locked knows that it is nobody's.
"""

from __future__ import annotations

import fcntl
import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

_PREFIX: Final = ".buildspecd-unfinished-"
_NAME: Final = re.compile(re.escape(_PREFIX) + r"[a-z0-9_]{8}")
_LINK: Final = ".link"


@contextmanager
def unfinished(folder: Path) -> Iterator[tuple[int, Path]]:
    """Yield a new empty file in *folder*, open and locked, for as long as the block runs; it may be renamed there."""
    handle, path = _made(folder)
    try:
        yield handle, path
    finally:
        try:
            path.unlink(missing_ok=True)
        finally:
            os.close(handle)


def place_link(path: Path, to: str, target: Path) -> None:
    """Put a symlink at *target*, whole or not at all; *path* is an unfinished file beside it."""
    link = path.with_name(path.name + _LINK)
    try:
        link.symlink_to(to)
        link.replace(target)
    except BaseException:
        link.unlink(missing_ok=True)
        raise


def clear(folder: Path) -> None:
    """Remove what killed processes left unfinished in *folder*; what cannot be removed stays."""
    for entry in list(os.scandir(folder)):
        if _NAME.fullmatch(entry.name) and entry.is_file(follow_symlinks=False):
            with suppress(OSError):  # somebody writes it, or it is gone
                _clear(Path(entry.path))


def _clear(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        path.with_name(path.name + _LINK).unlink(missing_ok=True)
        path.unlink()
    finally:
        os.close(handle)


def _made(folder: Path) -> tuple[int, Path]:
    """Return a file that is locked, and still there: between the two somebody may have thought it nobody's."""
    while True:
        handle, name = tempfile.mkstemp(prefix=_PREFIX, dir=folder)
        with suppress(OSError):  # a file system without locks: there nobody clears either
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.fstat(handle).st_nlink:
            return handle, Path(name)
        os.close(handle)
