"""Log stream: the bytes of a build's log from an offset on, up to now or until the build has ended."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

from agent.buildlog.reading import read_log
from agent.daemon.control import Control
from agent.kit.service import StopToken

_CHUNK = 256 << 10
_PAUSE = 0.15
"""Seconds between two looks at a log that is followed."""


async def log_bytes(
    control: Control, build: str, offset: int, follow: bool, stop: StopToken, pause: float = _PAUSE
) -> AsyncIterator[bytes]:
    """Yield the log of a build from *offset* on. With *follow* until the build has ended, or *stop* is set.

    No thread waits for a log to grow, so that many can be followed at once.
    """
    directory = control.log_directory(build)
    while not stop.is_set:
        # Asked before the read: what is logged before the end of a build is read after it was seen.
        ended = not follow or (await asyncio.to_thread(control.get, build)).complete
        while piece := await asyncio.to_thread(_read, directory, offset):
            offset += len(piece)
            yield piece
            if stop.is_set:
                return
        if ended:
            return
        await asyncio.sleep(pause)


def _read(directory: Path, offset: int) -> bytes:
    return read_log(directory, offset, _CHUNK)
