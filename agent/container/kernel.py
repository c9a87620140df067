"""Kernel: what the kernel's log says of a container's processes that were killed because memory ran out."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

KERNEL_LOG = Path("/dev/kmsg")
_MOST_RECORDS = 20_000
_RECORD = 8192
_KILL = re.compile(r"oom-kill:.*\btask_memcg=\S*/(?:docker-)?(?P<container>[0-9a-f]{64})\b.*\btask=(?P<rest>.+)")
_VICTIM = re.compile(r"(?P<name>.*),pid=(?P<pid>\d+),uid=\d+\s*")


@dataclass(frozen=True)
class Victim:
    """A process that the kernel killed; its id is that on the host. The name is the build's word, and may be any."""

    name: str
    pid: int

    def __str__(self) -> str:
        return f"{self.name} (process {self.pid} of the host)"


def victim_of(container: str, log: Path = KERNEL_LOG) -> Victim | None:
    """Return the process of *container* that the kernel killed last for want of memory, as far as its log tells.

    None where the log may not be read, has gone round since, or says nothing. Never waits.
    """
    try:
        handle = os.open(log, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    found: Victim | None = None
    try:
        for _ in range(_MOST_RECORDS):
            try:
                record = os.read(handle, _RECORD)
            except BrokenPipeError:
                continue  # the record was overwritten meanwhile; the next read gives the oldest that is left
            if not record:
                break
            for line in record.split(b"\n"):
                found = read_line(line.decode("utf-8", "replace"), container) or found
    except OSError:
        return found  # EAGAIN: that was all
    finally:
        os.close(handle)
    return found


def read_line(line: str, container: str) -> Victim | None:
    """Return the process that a line of the kernel's log says was killed in *container*. Pure."""
    kill = _KILL.search(line)
    victim = _VICTIM.fullmatch(kill["rest"]) if kill and kill["container"] == container else None
    if victim is None:
        return None
    name = "".join(letter if letter.isprintable() else "?" for letter in victim["name"])
    return Victim(name[:64], int(victim["pid"][:10]))
