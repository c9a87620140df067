"""Unpack a tar that nobody vouches for, below one fresh directory and nowhere else."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from agent.kit.heed import heed
from agent.kit.tarstream import Member, Readable, TarReader

_BLOCK: Final = 1 << 20


@dataclass(frozen=True)
class Limits:
    """How much one archive may hold: `files` entries and `size` bytes."""

    files: int = 5_000_000
    size: int = 200 << 30


@dataclass
class Placer:
    """Puts files, directories and links below *root*, a fresh directory that nobody else can write to.

    Names are relative, with `/` between the parts. Everything that an entry stands on was made by this placer, and is
    a directory: so no entry can be written through a symlink. Raises `ValueError` on a name that is absolute, goes up,
    comes twice or lies below a file; `OSError` when the disk says no.
    """

    root: Path
    limits: Limits = Limits()
    directories: set[str] = field(default_factory=lambda: {""})
    modes: dict[str, int] = field(default_factory=dict)
    owners: dict[str, tuple[int, int]] = field(default_factory=dict)
    files: int = 0
    size: int = 0

    def directory(self, name: str, mode: int | None = None) -> str:
        """Make the directory *name* and those above it; return its host path. *mode* is set by `finish`."""
        if name not in self.directories:
            self._checked(name)
            self._parent(name)
            try:
                Path(self._path(name)).mkdir(mode=0o755)
            except FileExistsError:
                raise ValueError(f"a name comes twice: {name!r}") from None
            self.directories.add(name)
        if mode is not None and name:
            self.modes[name] = mode & 0o7777
        return self._path(name)

    def file(self, name: str, data: Readable, size: int, mode: int) -> int:
        """Write *size* bytes of *data* to a new file; return its open descriptor, for the caller to close."""
        self._checked(name)
        self._parent(name)
        self.size += size
        if self.size > self.limits.size:
            raise ValueError(f"more than {self.limits.size} bytes")
        try:
            handle = os.open(
                self._path(name), os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600
            )
        except FileExistsError:
            raise ValueError(f"a name comes twice: {name!r}") from None
        try:
            left = size
            while left:
                heed()
                block = data.read(min(left, _BLOCK))
                if not block:
                    raise ValueError(f"the archive ends within {name!r}")  # noqa: TRY301 - the descriptor is closed below
                left -= len(block)
                _write(handle, block)
            os.fchmod(handle, (mode & 0o777) | 0o400)
        except BaseException:
            os.close(handle)
            raise
        return handle

    def link(self, name: str, target: str) -> str:
        """Make a symlink with the text *target*, whatever it says; return its host path."""
        self._checked(name)
        self._parent(name)
        if not target or "\0" in target:
            raise ValueError(f"a symlink without a target: {name!r}")
        with self._once(name):
            Path(self._path(name)).symlink_to(target)
        return self._path(name)

    def same_file(self, name: str, other: str) -> None:
        """Make *name* a hard link to the file *other*, which this placer has written."""
        self._checked(name)
        self._parent(name)
        above = other.rpartition("/")[0]
        if above not in self.directories or other in self.directories:
            raise ValueError(f"{name!r} links to a file that is not in the archive")
        with self._once(name):
            try:
                os.link(self._path(other), self._path(name), follow_symlinks=False)
            except FileNotFoundError:
                raise ValueError(f"{name!r} links to a file that is not in the archive") from None

    def finish(self) -> None:
        """Give the directories their `modes` (the owner keeps every right) and, as root, their `owners`."""
        if os.geteuid() == 0:
            for name in self.owners.keys() & self.directories:
                os.chown(self._path(name), *self.owners[name], follow_symlinks=False)
        for name in self.modes.keys() & self.directories:
            Path(self._path(name)).chmod(self.modes[name] | 0o700)

    def _path(self, name: str) -> str:
        return f"{self.root}/{name}" if name else str(self.root)

    def _parent(self, name: str) -> None:
        above = name.rpartition("/")[0]
        if above not in self.directories:
            self.directory(above)

    def _checked(self, name: str) -> None:
        if not name or name.startswith("/") or "\0" in name or any(p in ("", ".", "..") for p in name.split("/")):
            raise ValueError(f"a name that leads elsewhere: {name!r}")
        self.files += 1
        if self.files > self.limits.files:
            raise ValueError(f"more than {self.limits.files} files")

    @contextlib.contextmanager
    def _once(self, name: str) -> Iterator[None]:
        try:
            yield
        except FileExistsError:
            raise ValueError(f"a name comes twice: {name!r}") from None


Owners = dict[str, tuple[int, int]]
"""Numeric user and group by name."""


def unpack(stream: Iterable[bytes], into: Path, limits: Limits = Limits()) -> Owners:
    """Unpack the tar *stream* below *into*, a fresh directory; return who owned what in the archive.

    Devices, FIFOs and sockets are left out. Owners are not applied. Raises `ValueError` when the tar is broken or
    wants to write elsewhere; what had been unpacked by then stays for the caller to remove.
    """
    placer = Placer(into, limits)
    owners: Owners = {}
    reader = TarReader(ChunkReader(stream))
    for member in reader:
        _place(reader, member, placer)
        owners[member.name] = (member.uid, member.gid)
    placer.finish()
    return owners


def _place(reader: TarReader, member: Member, placer: Placer) -> None:
    if member.kind == "directory":
        placer.directory(member.name, member.mode)
    elif member.kind == "symlink":
        placer.link(member.name, member.link)
    elif member.kind == "hardlink":
        placer.same_file(member.name, member.link.removeprefix("./"))
    elif member.kind == "file":
        handle = placer.file(member.name, reader, member.size, member.mode)
        try:
            os.utime(handle, ns=(member.mtime_ns, member.mtime_ns))
        finally:
            os.close(handle)


class ChunkReader:
    """The chunks of an iterator, read as a file."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = iter(chunks)
        self._rest = memoryview(b"")

    def read(self, size: int, /) -> bytes:
        """Return *size* bytes, fewer only at the end."""
        parts: list[bytes] = []
        want = size
        while want:
            if not self._rest:
                chunk = next(self._chunks, None)
                if chunk is None:
                    break
                self._rest = memoryview(chunk)
                continue
            part = self._rest[:want]
            self._rest = self._rest[len(part) :]
            want -= len(part)
            parts.append(bytes(part))
        return b"".join(parts)


def _write(handle: int, block: bytes) -> None:
    view = memoryview(block)
    while view:
        view = view[os.write(handle, view) :]
