"""Tail: reads on in a file that another process appends to, and that a hostile build may have its hands on."""

from __future__ import annotations

import os
from pathlib import Path

from agent.kit.clock import Clock
from agent.kit.files import open_regular
from agent.kit.service import StopToken

SHORTEST_PAUSE = 0.010
LONGEST_PAUSE = 0.100


class Tail:
    """The bytes of one file from an offset on; for one thread.

    The file may come later. It is opened once, never through a link, and only if it is a regular file; what is put
    in its place afterwards is not looked at. A file that shrank is followed from its new end, and `problem` says so.
    """

    def __init__(self, path: Path, offset: int, clock: Clock) -> None:
        self._path = path
        self._clock = clock
        self._file: int | None = None
        self._pause = SHORTEST_PAUSE
        self.offset = offset
        self.problem = ""

    def read(self, limit: int) -> bytes:
        """Return up to *limit* new bytes; none when there is nothing new, or no file yet."""
        if not self._opened():
            return b""
        assert self._file is not None
        chunk = os.pread(self._file, limit, self.offset)
        if chunk:
            self._pause = SHORTEST_PAUSE
            self.offset += len(chunk)
        else:
            self._follow_shrinking()
        return chunk

    def size(self) -> int:
        """Return how long the file is now; 0 when there is none. `problem` tells of something else in its place."""
        if not self._opened():
            if os.path.lexists(self._path):
                self.problem = f"{self._path.name} is no regular file any more; the output of the build is lost"
            return 0
        assert self._file is not None
        return os.fstat(self._file).st_size

    def wait(self, stop: StopToken) -> None:
        """Pause before the next look: 10 ms after new bytes, longer with every vain look, at most 100 ms."""
        self._clock.wait(self._pause, stop)
        self._pause = min(self._pause * 1.5, LONGEST_PAUSE)

    def close(self) -> None:
        """Let the file go. Safe to call twice."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _opened(self) -> bool:
        if self._file is None:
            self._file = open_regular(self._path)
        return self._file is not None

    def _follow_shrinking(self) -> None:
        size = self.size()
        if size < self.offset:
            self.problem = f"{self._path.name} shrank from {self.offset} to {size} bytes; some output may be missing"
            self.offset = size
