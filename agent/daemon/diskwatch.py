"""DiskWatch: keeps builds from filling the host's disks; new ones wait, and the one that takes too much is stopped."""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from agent.container.upkeep import Upkeep, Written
from agent.errors import EngineUnavailable
from agent.kit.clock import Clock
from agent.kit.logging import get_logger
from agent.kit.room import Room, room_at, taken_by
from agent.kit.service import StopToken
from agent.model.amount import in_words, reserve_of
from agent.model.cause import Cause
from agent.model.phase import PhaseContext
from agent.model.status import Status
from agent.pipeline.job import Cut, Job, Paths

_log = get_logger("disk")
LOOK_SECONDS = 2.0
"""Pause between two looks at the disks; a look asks the kernel one question a disk, and two a build."""
MEMORY_SECONDS = 0.25
"""Pause between two looks at the directory in memory, which is small and quickly filled."""
MEMORY_QUOTA = 32 << 20
"""Bytes that one build may have in the directory in memory, where its secrets lie."""
SHED_SECONDS = 60.0
"""Pause between two tries to make room, while the first has not made enough."""
SETTLE_SECONDS = 60.0
"""How long a stopped build is waited for before another is stopped, while there is too little room."""
MEASURE_SECONDS = 60.0
"""Longest pause between two measurements of builds, when there is a quota for them."""
_MEASURE_STEP = 64 << 20
_COST = 20.0
"""A measurement is not begun before this many times the length of the last one has passed."""
_LEAST_INODES = 0.05
_HISTORY_SECONDS = 60.0


@dataclass(frozen=True)
class DiskLimits:
    """The section `disk` of agent.yml. Sizes in bytes."""

    reserve: str = "10%"
    build_quota: int | None = None
    log_quota: int | None = 10 << 30


def shortage(place: Path, room: Room, reserve: str) -> tuple[float, str]:
    """Return which part of the reserve is there (1.0 or more: all of it), and what to say where some is missing. Pure.

    Of inodes a twentieth is the reserve, unless nothing is to be kept free.
    """
    wanted = reserve_of(reserve, room.total)
    if not wanted:
        return 1.0, ""
    bytes_part = room.free / wanted
    inodes_part = room.inodes_free / (room.inodes * _LEAST_INODES) if room.inodes else 1.0
    if min(bytes_part, inodes_part) >= 1.0:
        return 1.0, ""
    if inodes_part < bytes_part:
        return inodes_part, f"{room.inodes_free} of {room.inodes} inodes are free at {place}"
    return bytes_part, f"{in_words(room.free)} are free at {place}, and disk.reserve keeps {in_words(wanted)}"


def greediest(now: Mapping[str, int], before: Mapping[str, int], least: float) -> str | None:
    """Return the build that grew most since *before* (one that was not there then: by all it has), or None. Pure.

    One that grew by less than *least* bytes would not help if it went.
    """
    growth = {build: size - before.get(build, 0) for build, size in now.items()}
    found = max(growth, key=lambda build: (growth[build], now[build], build), default=None)
    return found if found is not None and growth[found] >= least else None


def worth_stopping(reserve: float, part: float, builds: int) -> float:
    """Return the bytes by which a build must have grown to be stopped: half its share of what half the reserve lacks.

    Pure. Where builds grew by less, something else fills the disk (a fetch of ours, say), and no build is to blame.
    """
    return max(reserve / 50, reserve * (0.5 - part) / (2 * max(builds, 1)), 1)


@dataclass
class DiskWatch:
    """A Service. `disks` are where builds write, `jobs` those that run now; `shed` asks somebody to make
    room until a function says that there is (`Janitor.ask_for_room`); it returns at once.
    """

    disks: Callable[[], Sequence[Path]]
    jobs: Callable[[], Mapping[str, Job]]
    limits: Callable[[], DiskLimits]
    shed: Callable[[Callable[[], bool]], object]
    upkeep: Upkeep
    agent_id: str
    clock: Clock
    name: str = "disk"
    _short: threading.Event = field(default_factory=threading.Event)
    _shed_at: float = float("-inf")
    _cut_at: dict[str, float] = field(default_factory=dict)
    _measured: list[tuple[float, dict[str, int]]] = field(default_factory=list)
    _free: int = 0
    _took: float = 0.0

    def run(self, stop: StopToken) -> None:
        """Look until *stop*; at the directory in memory more often, as long as builds run."""
        due = self.clock.monotonic()
        while not stop.is_set:
            running = self.jobs()
            self.look_at_memory(running)
            if self.clock.monotonic() >= due:
                self.look(running)
                due = self.clock.monotonic() + LOOK_SECONDS
            self.clock.wait(MEMORY_SECONDS if running else LOOK_SECONDS, stop)

    def hold(self) -> str:
        """Return why no build may start now; empty when there is room. What can make room is asked to, later."""
        part, text = self._shortage()
        if part >= 1.0:
            return ""
        self._short.set()
        return f"waiting for disk space: {text}"

    def look(self, running: Mapping[str, Job]) -> None:
        """Look at the disks once: make room, and stop what takes too much."""
        limits, now = self.limits(), self.clock.monotonic()
        for gone in self._cut_at.keys() - running.keys():
            del self._cut_at[gone]
        self._look_at_logs(running, limits)
        part, text = self._shortage()
        if part < 1.0 and (running or self._short.is_set()):
            self._short.clear()
            self._make_room(now, text)
        if not running:
            self._measured.clear()
        elif part < 1.0 or limits.build_quota is not None:
            self._look_at_builds(running, limits, part, text)

    def look_at_memory(self, running: Mapping[str, Job]) -> None:
        """Stop a build that fills the directory in memory, before others have no room there for their secrets."""
        for build, job in running.items():
            taken = taken_by(job.paths.secrets)
            if taken > MEMORY_QUOTA:
                text = (
                    f"the build put {in_words(taken)} into /codebuild/agent-secrets, more than {in_words(MEMORY_QUOTA)}"
                )
                self._cut(build, job, text)
                _empty(job.paths)

    def _look_at_logs(self, running: Mapping[str, Job], limits: DiskLimits) -> None:
        if limits.log_quota is None:
            return
        for build, job in running.items():
            output = _size(job.paths.control / "output")
            if output > limits.log_quota:
                text = f"the build printed {in_words(output)}, and disk.log_quota is {in_words(limits.log_quota)}"
                self._cut(build, job, text)

    def _look_at_builds(self, running: Mapping[str, Job], limits: DiskLimits, part: float, text: str) -> None:
        now = self.clock.monotonic()
        pressing = part < 0.5
        waiting_for_one = any(now - at < SETTLE_SECONDS for at in self._cut_at.values())
        if not self._is_due(now, limits, part):
            return
        sizes = self._measure(running)
        if limits.build_quota is not None:
            for build in [one for one, size in sizes.items() if size > limits.build_quota]:
                told = (
                    f"the build wrote {in_words(sizes[build])}, and disk.build_quota is {in_words(limits.build_quota)}"
                )
                self._cut(build, running[build], told)
        if pressing and not waiting_for_one:
            others = {build: size for build, size in sizes.items() if build not in self._cut_at}
            least = worth_stopping(reserve_of(limits.reserve, self._total()), part, len(others))
            found = greediest(others, self._before(now) if part >= 0.25 else {}, least)
            if found is None:
                _log.error("the disk is nearly full, and not with what builds write", disk=text)
            else:
                self._cut(found, running[found], f"the build wrote {in_words(sizes[found])}: {text}")
        self._measured.append((now, sizes))
        self._measured = [one for one in self._measured if now - one[0] <= _HISTORY_SECONDS]

    def _is_due(self, now: float, limits: DiskLimits, part: float) -> bool:
        """Whether builds are measured now: disks shrink, or it is long ago. It costs a look at every file of theirs."""
        if not self._measured:
            return True
        last = self._measured[-1][0]
        if now - last < min(self._took * (_COST if part >= 0.5 else 2.0), MEASURE_SECONDS):
            return False
        step = min(max(_MEASURE_STEP, (limits.build_quota or 0) // 16), limits.build_quota or _MEASURE_STEP)
        return part < 1.0 or now - last >= MEASURE_SECONDS or self._free - self._all_free() >= step // 2

    def _measure(self, running: Mapping[str, Job]) -> dict[str, int]:
        """Return what each build has on the disks: its directory, its container's files and anonymous volumes."""
        begun = self.clock.monotonic()
        self._free = self._all_free()
        try:
            written = self.upkeep.written(self.agent_id)
        except EngineUnavailable as error:
            _log.warning("cannot ask what containers have written", error=error.message)
            written = {}
        sizes = {}
        for build, job in running.items():
            theirs = written.get(build, Written(0))
            sizes[build] = theirs.layer + taken_by(job.paths.root, *theirs.volumes)
        self._took = self.clock.monotonic() - begun
        return sizes

    def _before(self, now: float) -> Mapping[str, int]:
        return next((sizes for at, sizes in self._measured if now - at <= _HISTORY_SECONDS), {})

    def _make_room(self, now: float, text: str) -> None:
        if now < self._shed_at + SHED_SECONDS:
            return
        self._shed_at = now
        _log.warning("the disk is short of its reserve, making room", disk=text)
        self.shed(lambda: self._shortage()[0] >= 1.0)

    def _cut(self, build: str, job: Job, text: str) -> None:
        if build in self._cut_at:
            return
        self._cut_at[build] = self.clock.monotonic()
        _log.error("stopping a build that takes too much of the disk", build=build, reason=text)
        context = PhaseContext(status_code="DISK_QUOTA_EXCEEDED", message=f"Build was stopped: {text}.")
        # Every second that it goes on costs the others: its processes get no time to end by themselves.
        job.cut_short = Cut(Status.FAILED, context, Cause.DISK_QUOTA_EXCEEDED, grace=0.0)

    def _shortage(self) -> tuple[float, str]:
        reserve = self.limits().reserve
        return min((shortage(place, room, reserve) for place, room in self._rooms()), default=(1.0, ""))

    def _rooms(self) -> Iterable[tuple[Path, Room]]:
        for place in self.disks():
            try:
                yield place, room_at(place)
            except OSError:  # no directory of ours, then: it may be mounted later, or be the engine's alone
                continue

    def _all_free(self) -> int:
        return sum(room.free for _, room in self._rooms())

    def _total(self) -> int:
        return min((room.total for _, room in self._rooms()), default=0)


def _size(file: Path) -> int:
    try:
        facts = file.lstat()
    except OSError:
        return 0
    return min(facts.st_size, facts.st_blocks * 512)


def _empty(paths: Paths) -> None:
    """Make the files empty that a build put where it is handed its secrets; it may still be writing to them."""
    known = {paths.registered.name, "environment", "git-logins", "gitconfig"}
    for file in os.scandir(paths.handed):
        if file.name in known:
            continue
        with suppress(OSError):
            handle = os.open(file.path, os.O_WRONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
            try:
                if stat.S_ISREG(os.fstat(handle).st_mode):
                    os.truncate(handle, 0)
            finally:
                os.close(handle)
