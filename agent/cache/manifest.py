"""Manifest: what a restored cache holds, and how each file looked to `lstat`; so that "unchanged" costs no reading."""

from __future__ import annotations

import json
import os
import struct
from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from agent.kit.files import write_atomic

_MAGIC: Final = b"buildspecd cache manifest 1\n"
_CODES: Final = "QQqqQ"
"""Array types of the columns of a stamp: an inode may use all 64 bits, a time may lie before 1970."""
Stamp = tuple[int, int, int, int, int]
"""Inode, size, mtime and ctime in nanoseconds, mode: when all five are the same, so is the content."""
NO_STAMP: Final[Stamp] = (0, 0, 0, 0, 0)


def stamp(facts: os.stat_result) -> Stamp:
    """Return the stamp of what `lstat` said."""
    return facts.st_ino, facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns, facts.st_mode


@dataclass(frozen=True)
class Manifest:
    """What was restored: `object` is the store's key. The three columns run in parallel.

    A name is `tree/<relative>` or `root/<absolute path without its slash>`. A sum is what `contents.sum_of` gives.
    Stamps of the container's own files (`root/`) say nothing. `stale`: the stored copy holds more than was wanted.
    """

    object: str
    names: Sequence[str] = field(repr=False)
    sums: Sequence[str] = field(repr=False)
    stamps: Sequence[Stamp] = field(repr=False)
    stale: bool = False

    def write(self, path: Path) -> None:
        """Write it to *path*, whole or not at all. Not synced: without it a cache is merely saved once more."""
        head = json.dumps({"object": self.object, "stale": self.stale, "count": len(self.names)}).encode()
        columns = [
            array(code, column).tobytes() for code, column in zip(_CODES, zip(*self.stamps, strict=True), strict=False)
        ]
        names = b"\0".join(os.fsencode(name) for name in self.names)
        sums = "\0".join(self.sums).encode()
        parts = [head, names, sums, *columns]
        sizes = struct.pack(f"<B{len(parts)}Q", len(parts), *map(len, parts))
        write_atomic(path, b"".join([_MAGIC, sizes, *parts]), mode=0o600, sync=False)

    @classmethod
    def read(cls, path: Path) -> Manifest | None:
        """Return what `write` wrote, or None when there is none, or not a whole one."""
        try:
            data = path.read_bytes()
            parts = _parts(data)
            head = json.loads(parts[0])
            count = int(head["count"])
            names = [os.fsdecode(name) for name in parts[1].split(b"\0")] if count else []
            sums = parts[2].decode().split("\0") if count else []
            columns = [array(code, part) for code, part in zip(_CODES, parts[3:], strict=bool(count))]
            stamps = list(zip(*columns, strict=True))
        except (OSError, ValueError, KeyError, IndexError, TypeError, struct.error):
            return None
        if not len(names) == len(sums) == len(stamps) == count:
            return None
        return cls(str(head["object"]), names, sums, stamps, bool(head["stale"]))


def _parts(data: bytes) -> list[bytes]:
    if not data.startswith(_MAGIC):
        raise ValueError("not a manifest")
    at = len(_MAGIC) + 1
    count = data[at - 1]
    sizes = struct.unpack_from(f"<{count}Q", data, at)
    at += 8 * count
    parts = []
    for size in sizes:
        parts.append(data[at : at + size])
        at += size
    if at != len(data):
        raise ValueError("not a whole manifest")
    return parts
