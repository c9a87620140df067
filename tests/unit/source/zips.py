"""ZIPs made by hand, byte by byte, so that a test can make one that no tool would write."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

FILE, LINK, DIRECTORY = 0o100644, 0o120777, 0o040755


def deflated(data: bytes) -> bytes:
    """Return *data* as a ZIP holds it."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    return packer.compress(data) + packer.flush()


@dataclass
class Item:
    """One entry. What starts with `local_` stands in its local header in place of the truth; None: the truth.

    `packed`, `size`, `crc` are what both headers say, `told_size` what the directory alone does. `offset` moves where
    the directory looks.
    """

    name: str | bytes
    data: bytes = b""
    mode: int = FILE
    deflate: bool = False
    method: int | None = None
    flags: int = 0x800
    made_by: int = 3
    body: bytes | None = None
    packed: int | None = None
    size: int | None = None
    told_size: int | None = None
    crc: int | None = None
    offset: int | None = None
    disk: int = 0
    extra: bytes = b""
    date: int = 0x5821
    descriptor: bytes | None = None
    local_name: bytes | None = None
    local_method: int | None = None
    local_flags: int | None = None
    local_size: int | None = None
    local_crc: int | None = None
    local_extra: bytes = b""
    local_magic: bytes = b"PK\3\4"

    @property
    def raw(self) -> bytes:
        return self.name if isinstance(self.name, bytes) else self.name.encode()

    @property
    def content(self) -> bytes:
        if self.body is not None:
            return self.body
        return deflated(self.data) if self.deflate else self.data

    def truth(self) -> tuple[int, int, int, int]:
        """Return method, checksum, packed size and size as the directory has them."""
        method = self.method if self.method is not None else 8 if self.deflate else 0
        crc = zlib.crc32(self.data) if self.crc is None else self.crc
        packed = len(self.content) if self.packed is None else self.packed
        return method, crc, packed, len(self.data) if self.size is None else self.size


def _or(value: int | None, other: int) -> int:
    return other if value is None else value


def local(item: Item) -> bytes:
    """Return the local header, the data and what follows it."""
    method, crc, packed, size = item.truth()
    flags = _or(item.local_flags, item.flags)
    if flags & 8:
        packed, crc = 0, 0
        size = 0
    name = item.raw if item.local_name is None else item.local_name
    header = struct.pack(
        "<4s5H3L2H", item.local_magic, 20, flags, _or(item.local_method, method), 0, item.date,
        _or(item.local_crc, crc), min(packed, 0xFFFFFFFF), _or(item.local_size, min(size, 0xFFFFFFFF)),
        len(name), len(item.local_extra),
    )  # fmt: skip
    return header + name + item.local_extra + item.content + (item.descriptor or b"")


def central(item: Item, offset: int) -> bytes:
    """Return the entry of the directory."""
    method, crc, packed, size = item.truth()
    return struct.pack(
        "<4s6H3L5H2L", b"PK\1\2", item.made_by << 8 | 20, 20, item.flags, method, 0, item.date, crc,
        min(packed, 0xFFFFFFFF), _or(item.told_size, min(size, 0xFFFFFFFF)), len(item.raw), len(item.extra), 0,
        item.disk, 0,
        item.mode << 16, _or(item.offset, offset),
    ) + item.raw + item.extra  # fmt: skip


@dataclass
class Zip:
    """An archive; `count`, `length` and `start` are what its end record says of the directory; None: the truth."""

    items: Iterable[Item]
    count: int | None = None
    length: int | None = None
    start: int | None = None
    disk: int = 0
    comment: bytes = b""
    before: bytes = b""
    after: bytes = b""
    middle: bytes = b""
    wide: Callable[[int, int, int, int], bytes] | None = None
    data: bytes = field(default=b"", init=False)

    def bytes(self) -> bytes:
        """Return the archive."""
        items = list(self.items)
        out, offsets = bytearray(self.before), []
        for item in items:
            offsets.append(len(out))
            out += local(item)
        out += self.middle
        start = len(out)
        for item, offset in zip(items, offsets, strict=True):
            out += central(item, offset)
        length = len(out) - start
        if self.wide:
            out += self.wide(len(items), length, start, len(out))
        count = _or(self.count, len(items))
        out += struct.pack(
            "<4s4H2LH", b"PK\5\6", self.disk, self.disk, count, count, _or(self.length, length),
            _or(self.start, start), len(self.comment),
        )  # fmt: skip
        return bytes(out) + self.comment + self.after


def wide_end(count: int, length: int, start: int, at: int) -> bytes:
    """Return the two records of ZIP64 that stand before the end record."""
    record = struct.pack("<4sQ2H2L4Q", b"PK\6\6", 44, 45, 45, 0, 0, count, count, length, start)
    return record + struct.pack("<4sLQL", b"PK\6\7", 0, at, 1)


def wide_extra(*values: int) -> bytes:
    """Return the ZIP64 field of an entry."""
    return struct.pack(f"<2H{len(values)}Q", 1, 8 * len(values), *values)


def described(item: Item, form: str = "<LLL", lead: bytes = b"PK\7\10") -> Item:
    """Return *item* with its sizes in a data descriptor behind it, as tools write that cannot seek."""
    _, crc, packed, size = item.truth()
    item.flags |= 8
    item.descriptor = lead + struct.pack(form, crc, packed, size)
    return item
