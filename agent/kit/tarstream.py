"""Tar, read and written as a stream in bounded memory: ustar with GNU long names; pax records are understood."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal, Protocol

Kind = Literal["file", "directory", "symlink", "hardlink", "other"]

_BLOCK: Final = 512
_LONGEST_TEXT: Final = 1 << 20
_KINDS: Final[dict[bytes, Kind]] = {
    b"0": "file", b"\0": "file", b"7": "file", b"1": "hardlink", b"2": "symlink", b"5": "directory",
    b"3": "other", b"4": "other", b"6": "other",
}  # fmt: skip
_FLAGS: Final[dict[Kind, bytes]] = {"file": b"0", "symlink": b"2", "directory": b"5"}
END: Final = bytes(2 * _BLOCK)
"""What closes a tar."""


@dataclass(frozen=True, slots=True)
class Member:
    """One entry. `size` in bytes (files only), `link` is the target of a symlink or hard link; a `name` that is no
    valid UTF-8 has surrogate escapes."""

    name: str
    kind: Kind
    mode: int = 0o644
    uid: int = 0
    gid: int = 0
    size: int = 0
    mtime_ns: int = 0
    link: str = ""


class Readable(Protocol):
    """Bytes that come in order; `read` returns fewer than asked for only at the end."""

    def read(self, size: int, /) -> bytes: ...


def header(member: Member) -> bytes:
    """Return what stands before the bytes of *member* in a tar."""
    name, link = os.fsencode(member.name), os.fsencode(member.link)
    if member.kind == "directory":
        name += b"/"
    lead = b""
    if len(link) > 100:
        lead += _long(b"K", link)
    if len(name) > 100:
        lead += _long(b"L", name)
    return lead + _block(name[:100], _FLAGS[member.kind], member, link[:100])


def padding(size: int) -> bytes:
    """Return the zeros that follow *size* bytes of data."""
    return bytes(-size % _BLOCK)


class TarReader:
    """Iterates over the members of *source*; `read` gives the bytes of the current one.

    Raises `ValueError` when the tar is broken, ends early or has a name or record above 1 MiB.
    """

    def __init__(self, source: Readable) -> None:
        self._source = source
        self._left = 0
        self._pad = 0

    def __iter__(self) -> Iterator[Member]:
        extra: dict[str, str] = {}
        common: dict[str, str] = {}
        while True:
            self._skip()
            block = self._exactly(_BLOCK)
            if not block.strip(b"\0"):
                return
            flag = block[156:157]
            size = _number(block[124:136])
            if sum(block) - sum(block[148:156]) + 256 != _number(block[148:156]):
                raise ValueError("not a tar: a header has the wrong checksum")
            if flag in (b"L", b"K"):
                key = "path" if flag == b"L" else "linkpath"
                extra[key] = os.fsdecode(self._text(size).rstrip(b"\0"))
            elif flag in (b"x", b"g"):
                (extra if flag == b"x" else common).update(_records(self._text(size)))
            else:
                member = _member(block, flag, size, {**common, **extra})
                extra = {}
                self._left = member.size
                self._pad = -member.size % _BLOCK
                yield member

    def read(self, size: int, /) -> bytes:
        """Return up to *size* bytes of the current member, b"" after its end."""
        size = min(size, self._left)
        data = self._exactly(size)
        self._left -= size
        return data

    def _skip(self) -> None:
        while self._left:
            self.read(1 << 20)
        if self._pad:
            self._exactly(self._pad)
            self._pad = 0

    def _text(self, size: int) -> bytes:
        if size > _LONGEST_TEXT:
            raise ValueError("a header of the tar is larger than 1 MiB")
        data = self._exactly(size)
        self._exactly(-size % _BLOCK)
        return data

    def _exactly(self, size: int) -> bytes:
        data = self._source.read(size) if size else b""
        if len(data) != size:
            raise ValueError("the tar ends early")
        return data


def _member(block: bytes, flag: bytes, size: int, extra: dict[str, str]) -> Member:
    name = os.fsdecode(block[:100].split(b"\0", 1)[0])
    if block[257:263] == b"ustar\0" and block[345] and "path" not in extra:
        name = os.fsdecode(block[345:500].split(b"\0", 1)[0]) + "/" + name
    name = extra.get("path", name)
    kind = _KINDS.get(flag)
    if kind is None or any(key.startswith("GNU.sparse") for key in extra):
        raise ValueError(f"an entry of an unknown type in the tar: {name!r}")
    if kind == "file" and name.endswith("/"):
        kind = "directory"
    return Member(
        name=name.removeprefix("./").rstrip("/") if name.rstrip("/") not in ("", ".") else "",
        kind=kind,
        mode=_number(block[100:108]) & 0o7777,
        uid=_decimal(extra, "uid", _number(block[108:116])),
        gid=_decimal(extra, "gid", _number(block[116:124])),
        size=_decimal(extra, "size", size) if kind == "file" else 0,
        mtime_ns=_mtime(extra, _number(block[136:148])),
        link=extra.get("linkpath", os.fsdecode(block[157:257].split(b"\0", 1)[0])),
    )


def _number(field: bytes) -> int:
    if field[0] & 0x80:
        value = int.from_bytes(field, "big") & ((1 << (8 * len(field) - 1)) - 1)
        return value if field[0] == 0x80 else 0
    text = field.split(b"\0", 1)[0].strip()
    try:
        return int(text or b"0", 8)
    except ValueError:
        raise ValueError("not a tar: a header has a field that is no number") from None


def _decimal(extra: dict[str, str], key: str, otherwise: int) -> int:
    text = extra.get(key)
    if text is None:
        return otherwise
    if not text.isascii() or not text.isdigit() or len(text) > 18:
        raise ValueError(f"not a tar: {key} is {text[:40]!r}")
    return int(text)


def _mtime(extra: dict[str, str], seconds: int) -> int:
    text = extra.get("mtime", "")
    whole, _, fraction = text.partition(".")
    if len(whole) > 12 or not whole.isdigit() or (fraction and not fraction.isdigit()):
        return min(seconds, 1 << 33) * 1_000_000_000
    return int(whole) * 1_000_000_000 + int(fraction[:9].ljust(9, "0"))


def _records(data: bytes) -> dict[str, str]:
    """Parse pax records: `<length> <key>=<value>` and a newline; the length counts all of it."""
    found: dict[str, str] = {}
    at = 0
    while at < len(data):
        digits, space, _ = data[at : at + 12].partition(b" ")
        if not space or not digits.isdigit():
            raise ValueError("not a tar: a pax record has no length")
        length = int(digits)
        record = data[at + len(digits) + 1 : at + length]
        key, equals, value = record[:-1].partition(b"=")
        if not equals or not record.endswith(b"\n") or at + length > len(data):
            raise ValueError("not a tar: a pax record is broken")
        found[os.fsdecode(key)] = os.fsdecode(value)
        at += length
    return found


def _long(flag: bytes, text: bytes) -> bytes:
    data = text + b"\0"
    lead = _block(b"././@LongLink", flag, Member("", "file", size=len(data)), b"")
    return lead + data + padding(len(data))


def _block(name: bytes, flag: bytes, member: Member, link: bytes) -> bytes:
    block = bytearray(
        b"%s%07o\0%s%s%s%s        %s%sustar  \0"
        % (
            name.ljust(100, b"\0"),
            member.mode & 0o7777,
            _digits(member.uid, 8),
            _digits(member.gid, 8),
            _digits(member.size, 12),
            _digits(max(0, member.mtime_ns // 1_000_000_000), 12),
            flag,
            link.ljust(100, b"\0"),
        )
    ).ljust(_BLOCK, b"\0")
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


def _digits(value: int, width: int) -> bytes:
    if value < 8 ** (width - 1):
        return b"%0*o\0" % (width - 1, value)
    return bytes([0x80]) + value.to_bytes(width - 1, "big")
