"""Cgroups: what a container uses, read from the kernel's own files; the engine is not asked, which would cost it more.

Version 1 and version 2 are understood, with the driver `cgroupfs` and the driver `systemd`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

ROOT = Path("/sys/fs/cgroup")
PROC = Path("/proc")
_ID = re.compile(r"[0-9a-f]{64}")
_PLACES = (
    *("docker/{id}", "system.slice/docker-{id}.scope"),
    *("buildspecd/{id}", "buildspecd.slice/docker-{id}.scope"),
)
_DEEPER = ("*/{id}", "*/docker-{id}.scope", "*/*/{id}", "*/*/docker-{id}.scope")
"""Where else containers are, when the engine was given another parent for them."""
_UNLIMITED = 1 << 60
_LONGEST = 1 << 20


@dataclass(frozen=True)
class Sample:
    """What a container uses now, and has used since it was started.

    `cpu` in seconds of one CPU, `memory` in bytes without the page cache that could be dropped; `cpus` and
    `memory_limit` are what it may have. `read` and `written` are bytes of disks; `received` and `sent` those of its own
    network, None where it has none: in the host's network nobody can tell whose they are.
    """

    cpu: float
    memory: int
    cpus: float
    memory_limit: int
    read: int = 0
    written: int = 0
    received: int | None = None
    sent: int | None = None


@dataclass(frozen=True)
class Cgroup:
    """The directories of one container, by controller. `kind` is the version of cgroups."""

    kind: int
    cpu: Path
    memory: Path
    disk: Path
    quota: Path

    def sample(self, proc: Path = PROC) -> Sample | None:
        """Return what is used now, None when the container is gone."""
        found = self._old() if self.kind == 1 else self._new()
        if found is None:
            return None
        received, sent = self._network(proc)
        return replace(found, received=received, sent=sent)

    def _old(self) -> Sample | None:
        used, memory = _number(self.cpu / "cpuacct.usage"), _number(self.memory / "memory.usage_in_bytes")
        if used is None or memory is None:
            return None
        idle = _pairs(self.memory / "memory.stat").get("total_inactive_file", 0)
        quota, period = _number(self.quota / "cpu.cfs_quota_us"), _number(self.quota / "cpu.cfs_period_us")
        moved = _old_transfers(self.disk)
        return Sample(
            cpu=used / 1e9,
            memory=max(0, memory - idle),
            cpus=quota / period if quota and period and quota > 0 else _all_cpus(),
            memory_limit=_limit(_number(self.memory / "memory.limit_in_bytes")),
            read=moved.get("Read", 0),
            written=moved.get("Write", 0),
        )

    def _new(self) -> Sample | None:
        used, memory = _pairs(self.cpu / "cpu.stat").get("usage_usec"), _number(self.memory / "memory.current")
        if used is None or memory is None:
            return None
        idle = _pairs(self.memory / "memory.stat").get("inactive_file", 0)
        quota, _, period = _text(self.quota / "cpu.max").strip().partition(" ")
        moved = _text(self.disk / "io.stat")
        return Sample(
            cpu=used / 1e6,
            memory=max(0, memory - idle),
            cpus=int(quota) / int(period) if quota.isdigit() and period.isdigit() and int(period) else _all_cpus(),
            memory_limit=_limit(_number(self.memory / "memory.max")),
            read=sum(map(int, re.findall(r"\brbytes=(\d+)", moved))),
            written=sum(map(int, re.findall(r"\bwbytes=(\d+)", moved))),
        )

    def _network(self, proc: Path) -> tuple[int | None, int | None]:
        """Return the bytes that came and went by the container's own network; by the host's: nothing."""
        first = _text(self.memory / "cgroup.procs").partition("\n")[0]
        if not first.isdigit():
            return None, None
        try:
            if (proc / first / "ns/net").readlink() == (proc / "self/ns/net").readlink():
                return None, None
        except OSError:
            return None, None
        lines = [line.partition(":") for line in _text(proc / first / "net/dev").splitlines()[2:]]
        numbers = [rest.split() for name, _, rest in lines if name.strip() != "lo"]
        if not numbers:
            return None, None
        return sum(int(one[0]) for one in numbers), sum(int(one[8]) for one in numbers)


def find(container: str, root: Path = ROOT) -> Cgroup | None:
    """Return the cgroup of a container by its whole id; None where there is none in sight."""
    if not _ID.fullmatch(container):
        return None
    if (root / "cgroup.controllers").is_file():
        place = _below(root, container)
        return Cgroup(2, place, place, place, place) if place else None
    both = _below(root / "cpu,cpuacct", container)
    cpu, memory = both or _below(root / "cpuacct", container), _below(root / "memory", container)
    if cpu is None or memory is None:
        return None
    quota = both or _below(root / "cpu", container) or cpu
    return Cgroup(1, cpu, memory, _below(root / "blkio", container) or memory, quota)


def _below(root: Path, container: str) -> Path | None:
    for pattern in _PLACES:
        place = root / pattern.format(id=container)
        if place.is_dir():
            return place
    return next(_deeper(root, container), None)


def _deeper(root: Path, container: str) -> Iterator[Path]:
    for pattern in _DEEPER:
        yield from root.glob(pattern.format(id=container))


def _old_transfers(place: Path) -> Mapping[str, int]:
    """Return the bytes read and written by kind; of this group and those in it, where the kernel tells."""
    for name in ("blkio.throttle.io_service_bytes_recursive", "blkio.throttle.io_service_bytes"):
        if text := _text(place / name):
            moved: dict[str, int] = {}
            for _, kind, number in re.findall(r"^(\S+) (\w+) (\d+)$", text, re.MULTILINE):
                moved[kind] = moved.get(kind, 0) + int(number)
            return moved
    return {}


def _limit(given: int | None) -> int:
    everything = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return everything if given is None or given >= _UNLIMITED else min(given, everything)


def _all_cpus() -> float:
    return float(os.cpu_count() or 1)


def _pairs(file: Path) -> dict[str, int]:
    found = (line.split() for line in _text(file).splitlines())
    return {pair[0]: int(pair[1]) for pair in found if len(pair) == 2 and pair[1].isdigit()}


def _number(file: Path) -> int | None:
    text = _text(file).strip()
    return int(text) if text.removeprefix("-").isdigit() else None


def _text(file: Path) -> str:
    """Return the beginning of a file; nothing where it cannot be read."""
    try:
        with file.open("rb") as opened:
            return opened.read(_LONGEST).decode("ascii", "replace")
    except OSError:
        return ""
