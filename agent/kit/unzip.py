"""The data of a ZIP that nobody vouches for: entry by entry, checked against the directory as it comes."""

from __future__ import annotations

import os
import struct
import zlib
from typing import Final

from agent.kit.zipindex import DEFLATED, Entry

_LOCAL: Final = struct.Struct("<4s5H3L2H")
_WINDOW: Final = 1 << 20
_CHUNK: Final = 256 << 10
_ENCRYPTED: Final = 0x2041
_DESCRIBED: Final = 8
_FULL_32: Final = 0xFFFFFFFF


class ZipData:
    """Reads entries from the open file *handle*; in the order of their offsets it costs few system calls."""

    def __init__(self, handle: int) -> None:
        self._handle = handle
        self._window = b""
        self._begins = 0

    def at(self, offset: int, size: int) -> bytes:
        """Return *size* bytes from *offset*, fewer only at the end of the file."""
        first = offset - self._begins
        if first < 0 or first + size > len(self._window):
            self._window = os.pread(self._handle, max(size, _WINDOW), offset)
            self._begins, first = offset, 0
        return self._window[first : first + size]

    def open(self, entry: Entry) -> ZipMember:
        """Return the data of *entry*. Raises `ValueError` when its local header tells another story."""
        header = self.at(entry.start, _LOCAL.size + len(entry.raw))
        if len(header) != _LOCAL.size + len(entry.raw) or header[:4] != b"PK\3\4":
            raise ValueError(f"{entry.name!r} has no local header where the directory says")
        _, _, flags, method, _, _, crc, packed, size, name_size, extra_size = _LOCAL.unpack_from(header)
        if name_size != len(entry.raw) or header[_LOCAL.size :] != entry.raw:
            other = self.at(entry.start + _LOCAL.size, name_size)
            raise ValueError(f"{entry.name!r} has another name in its local header: {other!r}")
        if method != entry.method or flags & _ENCRYPTED:
            raise ValueError(f"{entry.name!r} is packed in another way by its local header")
        known = ((crc, entry.crc), (packed, entry.packed), (size, entry.size))
        allowed = (0, _FULL_32) if flags & _DESCRIBED else (_FULL_32,) if extra_size else ()
        if any(local not in (central, *allowed) for local, central in known):
            raise ValueError(f"{entry.name!r} has another size or checksum in its local header")
        start = entry.start + _LOCAL.size + name_size + extra_size
        if start + entry.packed > entry.end:
            raise ValueError(f"{entry.name!r} overlaps what follows it in the archive")
        if flags & _DESCRIBED:
            self._check_descriptor(entry, start + entry.packed)
        return ZipMember(self, entry, start)

    def _check_descriptor(self, entry: Entry, start: int) -> None:
        """The record behind the data must repeat the directory; in one of its four shapes."""
        data = self.at(start, min(24, entry.end - start))
        for lead in (b"PK\7\10", b""):
            for form in ("<LLL", "<LQQ"):
                size = len(lead) + struct.calcsize(form)
                if len(data) >= size and data.startswith(lead):
                    found = struct.unpack_from(form, data, len(lead))
                    if found == (entry.crc, entry.packed, entry.size):
                        return
        raise ValueError(f"{entry.name!r} has a data descriptor that does not fit the directory")


class ZipMember:
    """The unpacked bytes of one entry, in bounded memory. After the last one `finish` says whether they were right."""

    def __init__(self, data: ZipData, entry: Entry, start: int) -> None:
        self._data = data
        self._entry = entry
        self._next = start
        self._left = entry.packed
        self._crc = 0
        self._inflate = zlib.decompressobj(-zlib.MAX_WBITS) if entry.method == DEFLATED else None

    def read(self, size: int, /) -> bytes:
        """Return between 1 and *size* bytes; nothing at the end. Raises `ValueError` on damaged data."""
        block = self._unpacked(size)
        self._crc = zlib.crc32(block, self._crc)
        return block

    def finish(self) -> None:
        """Raise `ValueError` unless exactly the stated bytes came, with the stated checksum."""
        if self._unpacked(1):
            raise ValueError(f"{self._entry.name!r} holds more than the {self._entry.size} bytes that it should have")
        if self._inflate and not self._inflate.eof:
            raise ValueError(f"{self._entry.name!r} ends too early")
        if self._left or (self._inflate and self._inflate.unused_data):
            raise ValueError(f"{self._entry.name!r} is followed by bytes that belong to nothing")
        if self._crc != self._entry.crc:
            raise ValueError(
                f"{self._entry.name!r} is damaged: its checksum is {self._crc:08x} and should be {self._entry.crc:08x}"
            )

    def _unpacked(self, size: int) -> bytes:
        if self._inflate is None:
            return self._packed(size)
        try:
            while not self._inflate.eof:
                packed = self._inflate.unconsumed_tail or self._packed(_CHUNK)
                if block := self._inflate.decompress(packed, size):
                    return block
                if not packed:
                    break
        except zlib.error as error:
            raise ValueError(f"{self._entry.name!r} is damaged: {error}") from error
        return b""

    def _packed(self, size: int) -> bytes:
        block = self._data.at(self._next, min(size, self._left)) if self._left else b""
        if self._left and not block:
            raise ValueError(f"{self._entry.name!r} is cut off")
        self._next += len(block)
        self._left -= len(block)
        return block
