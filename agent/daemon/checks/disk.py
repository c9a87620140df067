"""Disk: whether the state directory can be written, has the room that is kept free, and is fast enough."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median

from agent.daemon.checks.check import Check
from agent.daemon.diskwatch import shortage
from agent.kit.room import room_at
from agent.model.amount import in_words

_WRITES = 40
_LONGEST_SECONDS = 0.6
_SLOW_SECONDS = 0.02
_BLOCK = b"\0" * 4096


def state_directory(state: Path) -> Iterator[Check]:
    """Whether this user may write there."""
    existing = _existing(state)
    if not existing.is_dir():
        yield Check("state_dir", "fail", f"{existing} is not a directory", "correct state_dir in agent.yml")
    elif not os.access(existing, os.W_OK):
        remedy = "run doctor as the daemon's user: sudo -u buildspecd buildspecd doctor"
        yield Check("state_dir", "fail", f"{existing} cannot be written by this user", remedy)
    else:
        yield Check("state_dir", "ok", str(state))


def room(state: Path, reserve: str) -> Iterator[Check]:
    """Whether what `disk.reserve` keeps free is free."""
    existing = _existing(state)
    found = room_at(existing)
    _, missing = shortage(existing, found, reserve)
    if missing:
        remedy = "docker system df; docker image prune --all; see retention and disk in agent.yml: builds wait for room"
        yield Check("disk", "warn", missing, remedy)
    else:
        yield Check("disk", "ok", f"{in_words(found.free)} of {in_words(found.total)} are free at {existing}")


def speed(state: Path) -> Iterator[Check]:
    """How long a small write takes to be safe on the disk: each step of a build waits for a few. Leaves no file."""
    existing = _existing(state)
    if not os.access(existing, os.W_OK):
        yield Check("disk speed", "skipped", f"{existing} cannot be written by this user")
        return
    spent: list[float] = []
    with tempfile.TemporaryFile(dir=existing) as file:
        until = time.monotonic() + _LONGEST_SECONDS
        while len(spent) < _WRITES and time.monotonic() < until:
            begun = time.monotonic()
            file.write(_BLOCK)
            file.flush()
            os.fdatasync(file.fileno())
            spent.append(time.monotonic() - begun)
    typical = median(spent)
    text = f"a write is safe after {typical * 1000:.1f} ms at {existing} ({len(spent)} measured)"
    if typical > _SLOW_SECONDS:
        remedy = "put state_dir on a local SSD or a gp3 volume with more IOPS; look for who writes: sudo iotop -o"
        yield Check("disk speed", "warn", f"{text}: each step of a build waits for a few of them", remedy)
    else:
        yield Check("disk speed", "ok", text)


def _existing(path: Path) -> Path:
    return next(one for one in (path, *path.parents) if one.exists())
