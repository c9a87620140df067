"""Reading a log back, from this process or another: `buildspecd logs [-f]`."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

from agent.buildlog.spool import LOG, read_checkpoint
from agent.kit.clock import Clock
from agent.kit.service import StopToken

PIECE_BYTES = 1 << 18
LOOK_EVERY = 0.1


def log_length(directory: Path) -> int:
    """Return how many bytes of the log are there for good; 0 where there is no log."""
    try:
        checkpoint = read_checkpoint(directory)
    except ValueError:  # spoilt by a power cut; whoever opens the transcript next mends it
        return 0
    return checkpoint.length if checkpoint else 0


def read_log(directory: Path, offset: int, limit: int = PIECE_BYTES) -> bytes:
    """Return at most *limit* bytes of a build's log from *offset* on; none where there are none (yet)."""
    size = min(limit, log_length(directory) - offset)
    if size <= 0 or offset < 0:
        return b""
    try:
        file = os.open(directory / LOG, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return b""
    try:
        return os.pread(file, size, offset)
    finally:
        os.close(file)


def follow_log(
    directory: Path, *, complete: Callable[[], bool], clock: Clock, stop: StopToken, offset: int = 0
) -> Iterator[bytes]:
    """Yield the log piece by piece as it grows, until *complete* says that the build has ended, or *stop* is set."""
    while not stop.is_set:
        ended = complete()
        while piece := read_log(directory, offset):
            offset += len(piece)
            yield piece
        if ended:
            return
        clock.wait(LOOK_EVERY, stop)
