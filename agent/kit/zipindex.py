"""The directory of a ZIP that nobody vouches for: what is in it, read strictly, before a byte of it is unpacked.

Whatever a reader could understand in two ways is refused: then no other tool can have seen another archive in the file.
"""

from __future__ import annotations

import calendar
import os
import re
import struct
from typing import Final, NamedTuple

STORED: Final = 0
DEFLATED: Final = 8
_METHODS: Final = {
    1: "shrunk",
    6: "imploded",
    9: "Deflate64",
    12: "bzip2",
    14: "LZMA",
    93: "zstandard",
    95: "xz",
    98: "PPMd",
    99: "AES",
}

_END: Final = struct.Struct("<4s4H2LH")
_END_64: Final = struct.Struct("<4sQ2H2L4Q")
_LOCATOR: Final = struct.Struct("<4sLQL")
_CENTRAL: Final = struct.Struct("<4s6H3L5H2L")
_LOCAL_BYTES: Final = 30
_LONGEST_COMMENT: Final = 0xFFFF
_FULL_16: Final = 0xFFFF
_FULL_32: Final = 0xFFFFFFFF
_ENCRYPTED: Final = 0x2041
"""Flags: encrypted, strongly encrypted, directory encrypted."""
_PATCH: Final = 0x20
_UTF8: Final = 0x800
_MOST_DIRECTORY_BYTES: Final = 128 << 20
"""An archive of 500,000 entries has about 50 MB; what claims more wants our memory."""
_DRIVE: Final = re.compile(r"[A-Za-z]:")


class Entry(NamedTuple):
    """One entry as the directory has it. `mode` are the Unix mode bits with the type, 0 where none are known.

    `raw` is the name's bytes, `start` the offset of the local header, `end` the first byte that belongs to something
    else; `mtime` in epoch seconds.
    """

    name: str
    raw: bytes
    method: int
    crc: int
    packed: int
    size: int
    start: int
    end: int
    mode: int
    mtime: int

    @property
    def is_directory(self) -> bool:
        """Whether the name says so: it ends with a slash."""
        return self.raw.endswith(b"/")


class _Bounds(NamedTuple):
    """Where the directory lies, and how many entries it says that it has."""

    offset: int
    size: int
    entries: int


def read_index(handle: int, most: int) -> list[Entry]:
    """Return the entries of the ZIP that is open as *handle*, at most *most*, in the order of their data.

    Names are decoded and not judged. Raises `ValueError` saying what is wrong, with the entry's name where it is one.
    """
    size = os.fstat(handle).st_size
    bounds = _bounds(handle, size)
    if bounds.entries > most:
        raise ValueError(f"it has {bounds.entries} entries, more than {most}")
    if bounds.size > _MOST_DIRECTORY_BYTES:
        raise ValueError(f"its directory has {bounds.size} bytes, more than {_MOST_DIRECTORY_BYTES}")
    data = os.pread(handle, bounds.size, bounds.offset)
    if len(data) != bounds.size:
        raise ValueError("it ends within its directory")
    entries: list[Entry] = []
    position = 0
    while position < len(data):
        entry, position = _entry(data, position)
        entries.append(entry)
        if len(entries) > bounds.entries:
            break
    if len(entries) != bounds.entries:
        raise ValueError(f"its directory should have {bounds.entries} entries, and has others")
    return _apart(entries, bounds.offset)


def _bounds(handle: int, size: int) -> _Bounds:
    """Find the end record, which must close the file exactly, and be the only one that does."""
    tail_size = min(size, _END.size + _LONGEST_COMMENT)
    tail = os.pread(handle, tail_size, size - tail_size)
    found: list[int] = []
    at = tail.find(b"PK\5\6")
    while at >= 0:
        if at + _END.size <= len(tail) and at + _END.size + int.from_bytes(tail[at + 20 : at + 22], "little") == len(
            tail
        ):
            found.append(at)
        at = tail.find(b"PK\5\6", at + 1)
    if not found:
        raise ValueError("it has no end record where the file ends: it is cut off, or something was added to it")
    if len(found) > 1:
        raise ValueError("its comment holds a second end record")
    place = size - tail_size + found[0]
    _, disk, first_disk, here, count, length, offset, _ = _END.unpack_from(tail, found[0])
    if disk not in (0, _FULL_16) or first_disk not in (0, _FULL_16) or here != count:
        raise ValueError("it is one part of an archive in several files")
    narrow = _Bounds(offset, length, count)
    bounds, close = _wide_bounds(handle, place, narrow) or (narrow, place)
    if bounds.offset + bounds.size != close:
        raise ValueError("its directory is not where the end record says, or something stands before the archive")
    return bounds


def _wide_bounds(handle: int, place: int, narrow: _Bounds) -> tuple[_Bounds, int] | None:
    """Return what the ZIP64 records say, and where they begin; None without them. They must agree with *narrow*."""
    if place < _LOCATOR.size:
        return None
    magic, disk, where, disks = _LOCATOR.unpack(os.pread(handle, _LOCATOR.size, place - _LOCATOR.size))
    if magic != b"PK\6\7":
        return None
    record = os.pread(handle, _END_64.size, where) if where < place else b""
    if len(record) != _END_64.size or record[:4] != b"PK\6\6":
        raise ValueError("its ZIP64 end record is not where the locator says")
    _, rest, _, _, this_disk, first_disk, here, count, length, offset = _END_64.unpack(record)
    if disk or this_disk or first_disk or disks > 1 or here != count:
        raise ValueError("it is one part of an archive in several files")
    if where + 12 + rest != place - _LOCATOR.size:
        raise ValueError("its ZIP64 end record has the wrong length")
    wide = _Bounds(offset, length, count)
    for small, large, full in zip(narrow, wide, (_FULL_32, _FULL_32, _FULL_16), strict=True):
        if small not in (full, large):
            raise ValueError("its two end records do not agree")
    return wide, where


def _entry(data: bytes, position: int) -> tuple[Entry, int]:
    if position + _CENTRAL.size > len(data):
        raise ValueError("its directory is cut off")
    (
        magic, made_by, _, flags, method, time, date, crc, packed, size,
        name_size, extra_size, comment_size, disk, _, outside, start,
    ) = _CENTRAL.unpack_from(data, position)  # fmt: skip
    name_end = position + _CENTRAL.size + name_size
    end = name_end + extra_size + comment_size
    if magic != b"PK\1\2" or end > len(data):
        raise ValueError("its directory is damaged")
    raw = data[position + _CENTRAL.size : name_end]
    name = _decoded(raw, flags)
    mtime = None
    if extra_size:
        size, packed, start, mtime = _extra(data[name_end : name_end + extra_size], name, size, packed, start)
    if flags & _ENCRYPTED or method == 99:
        raise ValueError(f"{name!r} is encrypted")
    if method not in (STORED, DEFLATED) or flags & _PATCH:
        raise ValueError(f"{name!r} is compressed as {_METHODS.get(method, method)}; only stored and deflated are read")
    if method == STORED and packed != size:
        raise ValueError(f"{name!r} is stored as {packed} bytes and should have {size}")
    if disk not in (0, _FULL_16):
        raise ValueError(f"{name!r} lies in another file of a split archive")
    mode = outside >> 16 if made_by >> 8 != 0 or outside >> 28 in (4, 8, 10) else 0
    when = _epoch(date, time) if mtime is None else mtime
    return Entry(name, raw, method, crc, packed, size, start, 0, mode, when), end


def _decoded(raw: bytes, flags: int) -> str:
    """UTF-8 if the flag says so or it can be (what Unix tools write), else the DOS code page of the format."""
    try:
        return raw.decode()
    except UnicodeDecodeError:
        if flags & _UTF8:
            raise ValueError(f"the name {raw!r} should be UTF-8 and is not") from None
        return raw.decode("cp437")


def _extra(extra: bytes, name: str, size: int, packed: int, start: int) -> tuple[int, int, int, int | None]:
    """Return size, packed size, offset and modification time, where extra fields know them better."""
    mtime, position, seen = None, 0, False
    while position + 4 <= len(extra):
        kind, length = struct.unpack_from("<2H", extra, position)
        body = extra[position + 4 : position + 4 + length]
        if len(body) != length:
            raise ValueError(f"{name!r} has an extra field that is cut off")
        if kind == 1 and seen:
            raise ValueError(f"{name!r} has two ZIP64 fields")
        if kind == 1:
            seen = True
            values = [size, packed, start]
            wanted = [index for index, value in enumerate(values) if value == _FULL_32]
            if len(body) < 8 * len(wanted):
                raise ValueError(f"{name!r} has a ZIP64 field that is cut off")
            for place, index in enumerate(wanted):
                values[index] = int.from_bytes(body[8 * place : 8 * place + 8], "little")
            size, packed, start = values
        elif kind == 0x5455 and length >= 5 and body[0] & 1:
            mtime = int.from_bytes(body[1:5], "little", signed=True)
        position += 4 + length
    return size, packed, start, mtime


def _epoch(date: int, time: int) -> int:
    """Return a DOS date as epoch seconds, taken as UTC; nonsense in it is bent into the calendar."""
    month, day = min(max(date >> 5 & 15, 1), 12), max(date & 31, 1)
    return calendar.timegm((1980 + (date >> 9), month, day, time >> 11, time >> 5 & 63, (time & 31) * 2))


def _apart(entries: list[Entry], directory: int) -> list[Entry]:
    """Return *entries* by offset, each with where it must end. No byte may belong to two of them."""
    ordered = sorted(entries, key=lambda entry: entry.start)
    ends = [*(entry.start for entry in ordered[1:]), directory][: len(ordered)]
    placed: list[Entry] = []
    for entry, end in zip(ordered, ends, strict=True):
        if entry.start + _LOCAL_BYTES + len(entry.raw) + entry.packed > end:
            raise ValueError(f"{entry.name!r} overlaps what follows it in the archive")
        placed.append(entry._replace(end=end))
    return placed


def has_drive(name: str) -> bool:
    """Whether *name* begins with a drive letter of DOS."""
    return _DRIVE.match(name) is not None
