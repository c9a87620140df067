"""Archive: one tar in one zstd frame, an index as its last member; the one door to zstandard.

A skippable frame closes the file, so that a truncated one is known before anything is read. What `tar --zstd -x`
sees is `tree/...` (relative to the source directory), `root/...` (the container's other files) and `index.json`.
"""

from __future__ import annotations

import hashlib
import json
import os
import posixpath
import stat
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Final

import zstandard

from agent.cache.contents import Item, opened, sum_of_link, sum_start
from agent.errors import BuildspecdError
from agent.kit.heed import heed
from agent.kit.tarstream import END, Member, TarReader, header, padding

_LEVEL: Final = 3
_THREADS: Final = 2
_BLOCK: Final = 1 << 20
_INDEX: Final = "index.json"
_LARGEST_INDEX: Final = 512 << 20
_FOOTER: Final = struct.pack("<II", 0x184D2A5B, 16) + b"buildspecd cache"


@dataclass
class Index:
    """What the files of an archive are beyond their tar headers; columns run in parallel. Times in nanoseconds."""

    names: list[str] = field(default_factory=list)
    sums: list[str] = field(default_factory=list)
    mtimes: list[int] = field(default_factory=list)

    def add(self, item: Item, digest: str) -> None:
        """Append one file or symlink."""
        self.names.append(item.name)
        self.sums.append(digest)
        self.mtimes.append(item.facts.st_mtime_ns)

    @property
    def digest(self) -> str:
        """The content digest of the whole: names and sums, no times and no owners."""
        digest = hashlib.sha256()
        for name, each in sorted(zip(self.names, self.sums, strict=True)):
            digest.update(b"%s\0%s\n" % (os.fsencode(name), each.encode()))
        return digest.hexdigest()


def write_archive(items: Sequence[Item], file: Path) -> Index:
    """Write *items* to *file* and return the index. Directories above them go along with modes and owners.

    Raises `BuildspecdError` when a file cannot be read or changes meanwhile, `OSError` when the disk says no.
    """
    index = Index()
    compressor = zstandard.ZstdCompressor(level=_LEVEL, threads=_THREADS, write_checksum=True)
    seen: set[str] = set()
    with file.open("wb") as raw:
        with compressor.stream_writer(raw, closefd=False) as out:
            for item in sorted(items, key=lambda item: item.name):
                for member in _folders(item, seen):
                    out.write(header(member))
                index.add(item, _write_link(out, item) if item.is_link else _write_file(out, item))
            data = json.dumps({"names": index.names, "sums": index.sums, "mtimes": index.mtimes}).encode()
            out.write(header(Member(_INDEX, "file", size=len(data))) + data + padding(len(data)) + END)
        raw.write(_FOOTER)
    return index


def _folders(item: Item, seen: set[str]) -> list[Member]:
    """Return the directories above *item* that no earlier item has brought, outermost first."""
    found: list[Member] = []
    name, entry = posixpath.dirname(item.name), posixpath.dirname(item.entry)
    while "/" in name and entry and name not in seen:
        seen.add(name)
        facts = item.tree.lstat(entry)
        if facts is not None and stat.S_ISDIR(facts.st_mode):
            found.append(_member(name, "directory", item, facts))
        name, entry = posixpath.dirname(name), posixpath.dirname(entry)
    return found[::-1]


def _member(name: str, kind: Any, item: Item, facts: os.stat_result, *, size: int = 0, link: str = "") -> Member:
    own = kind != "directory"
    uid, gid = item.owner if own else (facts.st_uid, facts.st_gid)
    return Member(name, kind, stat.S_IMODE(facts.st_mode), uid, gid, size, facts.st_mtime_ns, link)


def _write_link(out: Any, item: Item) -> str:
    text = item.tree.readlink(item.entry)
    if text is None:
        raise BuildspecdError(f"{item.entry} changed while it was saved")
    out.write(header(_member(item.name, "symlink", item, item.facts, link=text)))
    return sum_of_link(text)


def _write_file(out: Any, item: Item) -> str:
    digest = hashlib.blake2b(sum_start(item.facts.st_mode), digest_size=16)
    handle = opened(item)
    try:
        size = left = item.facts.st_size
        start = header(_member(item.name, "file", item, item.facts, size=size))
        while left >= 0:
            heed()
            block = os.read(handle, _BLOCK)
            left -= len(block)
            if left < 0 or (not block and left):
                raise BuildspecdError(f"{item.entry} changed while it was saved")
            digest.update(block)
            out.write(start + block)
            start = b""
            if not block or (not left and len(block) < _BLOCK):
                break
        out.write(padding(size))
    finally:
        os.close(handle)
    return digest.hexdigest()


class ArchiveReader:
    """Iterates over the members of an archive but the index, which is there when the iteration has ended.

    `read` gives the bytes of the current member. Whatever is wrong with the file (truncated, damaged, made by
    somebody else) raises `ValueError`, at the latest at the end: so nothing may be believed before.
    """

    def __init__(self, file: IO[bytes]) -> None:
        file.seek(0, os.SEEK_END)
        size = file.tell()
        file.seek(max(0, size - len(_FOOTER)))
        if file.read() != _FOOTER:
            raise ValueError("the cache is truncated, or none of ours")
        file.seek(0)
        self._source = _Decompressed(file)
        self._tar = TarReader(self._source)
        self.index = Index()

    def __iter__(self) -> Iterator[Member]:
        for member in self._tar:
            if member.name == _INDEX:
                self.index = self._parsed(member)
                while self._source.read(_BLOCK):
                    pass  # up to the checksum of the frame
                return
            yield member
        raise ValueError("the cache has no index")

    def read(self, size: int, /) -> bytes:
        """Return up to *size* bytes of the current member."""
        return self._tar.read(size)

    def _parsed(self, member: Member) -> Index:
        if member.size > _LARGEST_INDEX:
            raise ValueError("the index of the cache is too large")
        found = json.loads(self._tar.read(member.size))
        index = Index(_column(found, "names", str), _column(found, "sums", str), _column(found, "mtimes", int))
        if not len(index.names) == len(index.sums) == len(index.mtimes):
            raise ValueError("the index of the cache is broken")
        return index


def _column(found: Any, key: str, kind: type) -> list[Any]:
    column = found.get(key) if isinstance(found, dict) else None
    if not isinstance(column, list) or not all(type(value) is kind for value in column):
        raise ValueError("the index of the cache is broken")
    return column


class _Decompressed:
    """The one zstd frame of a file, read in blocks; the frame's checksum is verified at its end."""

    def __init__(self, file: IO[bytes]) -> None:
        self._reader = zstandard.ZstdDecompressor().stream_reader(file, read_size=_BLOCK, closefd=False)
        self._buffer = memoryview(b"")

    def read(self, size: int, /) -> bytes:
        """Return *size* bytes, fewer only at the end."""
        if size <= len(self._buffer):
            data, self._buffer = self._buffer[:size], self._buffer[size:]
            return bytes(data)
        parts = [self._buffer]
        missing = size - len(self._buffer)
        self._buffer = memoryview(b"")
        while missing:
            block = memoryview(self._next())
            if not block:
                break
            parts.append(block[:missing])
            self._buffer = block[missing:]
            missing -= len(parts[-1])
        return b"".join(parts)

    def _next(self) -> bytes:
        try:
            heed()
            return self._reader.read(4 * _BLOCK)
        except zstandard.ZstdError as error:
            raise ValueError(f"the cache is damaged: {error}") from error
