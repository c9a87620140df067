"""Manifest: what a restored cache holds, and how each file looked to `lstat`; so that "unchanged" costs no reading."""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from agent.kit.files import write_atomic

_MAGIC: Final = b"buildspecd cache manifest 1\n"
PACK: Final = struct.Struct("<QqqqI").pack
"""Makes a stamp of inode, size, mtime and ctime in nanoseconds, and mode: when these are the same, so is the content.

Stamps are bytes, not tuples: 50,000 of them cost the garbage collector nothing."""
_STAMP: Final = struct.calcsize("<QqqqI")
NO_STAMP: Final = bytes(_STAMP)


def stamp(facts: os.stat_result) -> bytes:
    """Return the stamp of what `lstat` said."""
    return PACK(facts.st_ino, facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns, facts.st_mode)


@dataclass(frozen=True)
class Manifest:
    """What was restored: `object` is the store's key. The three columns run in parallel.

    A name is `tree/<relative>` or `root/<absolute path without its slash>`; `in_tree` counts the first kind. A sum is
    what `contents.sum_of` gives. Stamps of the container's own files (`root/`) say nothing. `stale`: the stored copy
    holds more than was wanted.
    """

    object: str
    names: Sequence[str] = field(repr=False)
    sums: Sequence[str] = field(repr=False)
    stamps: Sequence[bytes] = field(repr=False)
    in_tree: int
    stale: bool = False

    def write(self, path: Path) -> None:
        """Write it to *path*, whole or not at all. Not synced: without it a cache is merely saved once more."""
        facts = {"object": self.object, "stale": self.stale, "count": len(self.names), "in_tree": self.in_tree}
        parts = [
            json.dumps(facts).encode(),
            os.fsencode("\0".join(self.names)),
            "\0".join(self.sums).encode(),
            b"".join(self.stamps),
        ]
        sizes = struct.pack("<4Q", *map(len, parts))
        write_atomic(path, b"".join([_MAGIC, sizes, *parts]), mode=0o600, sync=False)

    @classmethod
    def read(cls, path: Path) -> Manifest | None:
        """Return what `write` wrote, or None when there is none, or not a whole one."""
        try:
            head, names, sums, stamps = _parts(path.read_bytes())
            facts = json.loads(head)
            count = int(facts["count"])
            found = cls(
                str(facts["object"]),
                os.fsdecode(names).split("\0") if count else (),
                sums.decode().split("\0") if count else (),
                [stamps[at : at + _STAMP] for at in range(0, len(stamps), _STAMP)],
                int(facts["in_tree"]),
                bool(facts["stale"]),
            )
        except (OSError, ValueError, KeyError, TypeError, struct.error):
            return None
        return found if len(found.names) == len(found.sums) == len(found.stamps) == count else None


def _parts(data: bytes) -> list[bytes]:
    """Cut the bytes of a manifest into its four parts."""
    if not data.startswith(_MAGIC):
        raise ValueError("not a manifest")
    sizes = struct.unpack_from("<4Q", data, len(_MAGIC))
    at = len(_MAGIC) + struct.calcsize("<4Q")
    parts = []
    for size in sizes:
        parts.append(data[at : at + size])
        at += size
    if at != len(data):
        raise ValueError("not a whole manifest")
    return parts
