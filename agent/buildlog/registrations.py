"""Registrations: the values that a build itself asks to be masked while it runs (`buildspecd-mask`)."""

from __future__ import annotations

import os
from pathlib import Path

from agent.kit.files import open_regular

SHORTEST = 4
"""Bytes that a value must have: stars for a shorter one would ruin the log, and tell what it is."""
LONGEST = 64 << 10
"""Bytes that a value may have."""
MOST_LINES = 512
"""Lines of all different values of a build together; each is looked for in everything that it prints."""
MOST_BYTES = 256 << 10
"""Bytes of all different values of a build together."""
FILE_LIMIT = 4 << 20
"""Bytes of the file from which on nobody reads it any more."""
_AT_ONCE = 1000
"""Values that may be half-written at once, by as many processes; some may have been killed."""


class Registrations:
    """Reads on in the file that `buildspecd-mask` appends to (docs/JOURNAL.md 3); not thread-safe.

    The file is the build's, and may be anything. `excessive` says that the build registered more than can be masked;
    then its output must not be shown any more. `missing` says that there is no file, and never was one to this reader.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._inode = 0
        self._offset = 0
        self._torn = b""
        self._open: dict[bytes, list[bytes]] = {}
        self._known: set[bytes] = set()
        self._lines = self._bytes = 0
        self.excessive = False
        self.missing = False

    def fresh(self) -> list[str]:
        """Return the values that are new since the last call. Costs one `lstat` when there is none."""
        try:
            facts = os.lstat(self._path)
        except OSError:
            self.missing = not self._inode
            return []
        self.missing = False
        if (facts.st_ino, facts.st_size) == (self._inode, self._offset) or not facts.st_size:
            return []
        if facts.st_ino != self._inode:  # a build that is root can put another file in its place
            self._inode, self._offset, self._torn = facts.st_ino, 0, b""
        if facts.st_size > FILE_LIMIT:
            self.excessive = True
            return []
        return [value.decode("utf-8", "surrogateescape") for value in self._values(self._read())]

    def _read(self) -> bytes:
        handle = open_regular(self._path)
        if handle is None:
            return b""
        with os.fdopen(handle, "rb") as file:
            file.seek(self._offset)
            data = file.read(FILE_LIMIT)
        self._offset += len(data)
        return data

    def _values(self, data: bytes) -> list[bytes]:
        """Return the values that are complete with *data*; a line is PROCESS, a blank, a letter, and text."""
        *lines, self._torn = (self._torn + data).split(b"\n")
        found: list[bytes] = []
        for line in [] if self.excessive else lines:
            process, _, rest = line.partition(b" ")
            kind, text = rest[:1], rest[1:]
            if kind == b"b":
                self._open[process] = []
                self.excessive |= len(self._open) > _AT_ONCE
            elif kind in (b"p", b"l") and process in self._open:
                self._open[process].append(text + b"\n" if kind == b"l" else text)
            elif kind == b"e" and process in self._open:
                value = b"".join(self._open.pop(process)).strip(b"\r\n")
                if SHORTEST <= len(value) <= LONGEST and self._is_affordable(value):
                    found.append(value)
        return found

    def _is_affordable(self, value: bytes) -> bool:
        """Whether *value* is new, and can be looked for beside all others."""
        if value in self._known or not value.strip():
            return False
        self._known.add(value)
        self._lines += 1 + value.count(b"\n") + value.count(b"\r")
        self._bytes += len(value)
        if self._lines > MOST_LINES or self._bytes > MOST_BYTES:
            self.excessive = True
        return not self.excessive
