"""Files that are whole or absent, and reads that a hostile build cannot lead astray."""

from __future__ import annotations

import errno
import os
import stat
import tempfile
from pathlib import Path

NO_SPACE = (errno.ENOSPC, errno.EDQUOT)
"""What the system says when a disk, or a share of it, is full."""


def write_atomic(path: Path, data: bytes, *, mode: int = 0o644, sync: bool = True) -> None:
    """Write *data* so that a reader sees the old file or the whole new one, whatever is killed when."""
    handle, aside = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            os.fchmod(file.fileno(), mode)
            if sync:
                file.flush()
                os.fsync(file.fileno())
        Path(aside).replace(path)
    except BaseException:
        Path(aside).unlink(missing_ok=True)
        raise
    if sync:
        sync_directory(path.parent)


def sync_directory(path: Path) -> None:
    """Make the names in *path* survive a power cut."""
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def open_regular(path: Path) -> int | None:
    """Open a file that an untrusted build may have touched; None unless it is a regular file of its own.

    Neither a symlink nor a FIFO nor a device is followed, so a build cannot make us read the host's files.
    The parent directory must be ours.
    """
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    if stat.S_ISREG(os.fstat(handle).st_mode):
        return handle
    os.close(handle)
    return None


def read_regular(path: Path, limit: int = 16 << 20) -> bytes | None:
    """Return the first *limit* bytes of an untrusted file, or None where there is no regular file."""
    handle = open_regular(path)
    if handle is None:
        return None
    with os.fdopen(handle, "rb") as file:
        return file.read(limit)
