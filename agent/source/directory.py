"""Directory: a copy of a working tree, with all that is uncommitted or ignored in it. Never changes the tree."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from collections.abc import Collection
from pathlib import Path

from agent.errors import DiskFull, SourceNotFound, SourceRefused
from agent.kit.files import NO_SPACE
from agent.kit.heed import heed
from agent.source import refs
from agent.source.checkout import empty

_FICLONE = 0x40049409
_CHUNK = 64 << 20
_NO_KERNEL_COPY = frozenset({errno.EXDEV, errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP, errno.EPERM, errno.EBADF})


def copy_directory(source: Path, workspace: Path, *, skip: Collection[Path] = ()) -> None:
    """Make *workspace* hold what *source* holds, hidden and ignored files and `.git` included.

    Symlinks stay links; sockets, FIFOs and devices are left out, and so is everything at or below a path of *skip*
    and the workspace itself. Files that vanish meanwhile are left out too. Modes and times are kept.
    Raises `SourceNotFound`, `SourceRefused` (unreadable), `DiskFull`.
    """
    if not source.is_dir():
        raise SourceNotFound(f"{source}: no such directory", hint="give the directory that holds the buildspec")
    root = Path(os.path.realpath(source))
    left_out = frozenset(os.path.realpath(path) for path in (*skip, workspace))
    empty(workspace)
    try:
        _copy_level(str(root), str(workspace), left_out)
    except PermissionError as error:
        raise SourceRefused(
            f"{error.filename} cannot be read", hint="run as its owner, or move it elsewhere"
        ) from error
    except OSError as error:
        if error.errno in NO_SPACE:
            raise DiskFull(f"no space left to copy {root}", hint="free some disk space under state_dir") from error
        raise


def head_of(directory: Path) -> tuple[str | None, str | None]:
    """Return the checked-out branch (full ref) and commit of a working tree; None each where there is none."""
    for candidate in (directory, *directory.resolve().parents):
        if (candidate / ".git").exists():
            git_dir = refs.git_dir(candidate)
            return refs.read_head(git_dir) if git_dir else (None, None)
    return None, None


def _copy_level(source: str, target: str, left_out: frozenset[str]) -> None:
    for entry in _entries(source):
        there = f"{target}/{entry.name}"
        if entry.path in left_out:
            continue
        try:
            heed()
            info = entry.stat(follow_symlinks=False)
            if stat.S_ISDIR(info.st_mode):
                os.mkdir(there, 0o700)  # noqa: PTH102  # paths are text here: 20,000 Path objects cost as much as the copy
                _copy_level(entry.path, there, left_out)
            elif stat.S_ISLNK(info.st_mode):
                os.symlink(os.readlink(entry.path), there)  # noqa: PTH115, PTH211
                os.utime(there, ns=(info.st_atime_ns, info.st_mtime_ns), follow_symlinks=False)
                continue
            elif stat.S_ISREG(info.st_mode):
                _copy_file(entry.path, there, info.st_size)
            else:
                continue
        except FileNotFoundError:
            continue
        os.chmod(there, stat.S_IMODE(info.st_mode) & 0o1777)  # noqa: PTH101
        os.utime(there, ns=(info.st_atime_ns, info.st_mtime_ns))


def _entries(directory: str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(directory) as entries:
            return list(entries)
    except FileNotFoundError:
        return []


def _copy_file(source: str, target: str, size: int) -> None:
    reader = os.open(source, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        writer = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            if size and not _clone(reader, writer):
                _copy_bytes(reader, writer)
        finally:
            os.close(writer)
    finally:
        os.close(reader)


def _clone(reader: int, writer: int) -> bool:
    """Share the blocks where the file system can (btrfs, XFS); the copy then costs no space."""
    try:
        fcntl.ioctl(writer, _FICLONE, reader)
    except OSError:
        return False
    return True


def _copy_bytes(reader: int, writer: int) -> None:
    try:
        while os.copy_file_range(reader, writer, _CHUNK):
            heed()
    except OSError as error:
        if error.errno not in _NO_KERNEL_COPY:
            raise
        while chunk := os.read(reader, 1 << 20):
            view = memoryview(chunk)
            while view:
                view = view[os.write(writer, view) :]
