"""Poll: looks at every project's repository now and then, and asks for a build of each new head."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Protocol

from agent.errors import BuildspecdError, SourceNotFound, SourceRefused, Unavailable
from agent.kit.clock import Clock
from agent.kit.service import StopToken
from agent.model.project import GIT_TYPES, Project, Source
from agent.model.request import BuildRequest
from agent.source import url
from agent.source.remote import Heads
from agent.triggers import changes
from agent.triggers.changes import Change
from agent.triggers.filters import Push, groups_of, lets_through

_WORKERS = 8
_PER_HOST = 2
_LONGEST_PAUSE = 900.0
_TICK_SECONDS = 1.0
_JITTER = 0.1

HeadsOf = Callable[[Source, Sequence[str], StopToken], Heads]
ChangeOf = Callable[[Source, str, str | None, str], tuple[Sequence[str], str]]
"""Takes source, ref, old commit, new commit; returns the touched paths and the head commit's message."""


class Cursors(Protocol):
    """Remembers, across restarts, what has been asked for. Any thread may call it; `set` is durable when it returns."""

    def get(self, key: str) -> str | None: ...

    def set(self, key: str, value: str) -> None: ...


@dataclass(frozen=True)
class PollTarget:
    """A project and the seconds between two looks at it; 0: never."""

    project: Project
    every: float

    @property
    def is_polled(self) -> bool:
        """Whether there is anything to look at."""
        return self.every > 0 and self.project.source.type in GIT_TYPES and bool(self.project.source.location)

    @property
    def host(self) -> str:
        """The server that is asked; empty for this machine and for a location that makes no sense."""
        return _address(self.project.source.location)[0]

    @property
    def local_path(self) -> str | None:
        """The directory that is watched, of a polled repository on this machine."""
        return _address(self.project.source.location)[1] if self.is_polled else None


@lru_cache(maxsize=4096)
def _address(location: str | None) -> tuple[str, str | None]:
    """Return host and local path of a location; asked for every project every second."""
    try:
        address, _ = url.parse(location or "")
    except SourceRefused:
        return "", None
    return address.host, address.path if address.is_local else None


@dataclass
class _Standing:
    """How one project stands with the poller; guarded by the poller's lock."""

    due: float
    busy: bool = False
    again: bool = False
    failures: int = 0
    settled: tuple[Project, Heads] | None = None


@dataclass
class _Host:
    """How one server stands: looks under way, and the time before which it is left alone."""

    busy: int = 0
    failures: int = 0
    until: float = field(default=0.0)


class Poll:
    """A `Service`. Each project is looked at in its own rhythm, two looks at most at one host at a time.

    *submit* must be durable when it returns; only then is a change marked as seen, so one that a crash came between is
    asked for again, with the same `dedupe_key`. *heads* reads a remote's refs (`Sources.heads`), *change* what a push
    touched. *report* is told the outcome of each look: an error, or None when all is well.
    """

    name = "poll"

    def __init__(
        self,
        *,
        projects: Callable[[], Sequence[PollTarget]],
        submit: Callable[[BuildRequest], object],
        cursors: Cursors,
        heads: HeadsOf,
        clock: Clock,
        change: ChangeOf | None = None,
        report: Callable[[str, BuildspecdError | None], None] = lambda project, error: None,
        chance: random.Random | None = None,
    ) -> None:
        self._projects = projects
        self._submit = submit
        self._cursors = cursors
        self._heads = heads
        self._clock = clock
        self._change = change
        self._report = report
        self._chance = chance or random.Random()  # noqa: S311  # spreads load, guards nothing
        self._lock = threading.RLock()
        self._standings: dict[str, _Standing] = {}
        self._hosts: dict[str, _Host] = {}
        self._pool: ThreadPoolExecutor | None = None
        self._stop = StopToken()
        self._crash: BaseException | None = None

    def run(self, stop: StopToken) -> None:
        """Look at projects until *stop* is set; looks under way are broken off then."""
        pool = ThreadPoolExecutor(_WORKERS, thread_name_prefix="poll")
        with self._lock:
            self._stop, self._pool, self._crash = stop, pool, None
            self._standings.clear()
            self._hosts.clear()
        try:
            while not stop.is_set:
                pause = self._start_due()
                if self._crash is not None:
                    raise self._crash
                self._clock.wait(pause, stop)
        finally:
            with self._lock:
                self._pool = None
            pool.shutdown(wait=True, cancel_futures=True)

    def look_now(self, project: str) -> None:
        """Have *project* looked at at once, whatever its rhythm; one that is being looked at is looked at again."""
        with self._lock:
            standing = self._standings.get(project)
            if standing is None:
                return
            standing.again = True
            standing.due = self._clock.monotonic()
        self._start_due()

    def look(self, target: PollTarget, stop: StopToken | None = None) -> list[BuildRequest]:
        """Look at one project once, and submit what is new; returns the requests. Raises what the remote raises."""
        project = target.project
        if sha := changes.fixed_commit(project):
            return self._ask_for(project, {"commit": sha}, None)
        wanted = changes.wanted_refs(project)
        heads = self._heads(project.source, wanted, stop or self._stop)
        if self._is_settled(project, heads):
            return []
        current = changes.current_refs(project, heads)
        if not current and wanted and not changes.watches_all(project):
            raise SourceNotFound(
                f"{project.name}: no branch or tag {project.source_version!r} in {project.source.location}",
                hint="check sourceVersion of the project",
            )
        asked = self._ask_for(project, current, heads.default)
        self._settle(project, heads)
        return asked

    def _ask_for(self, project: Project, current: dict[str, str], default: str | None) -> list[BuildRequest]:
        if not current:
            return []  # an empty repository: its first push is the first sight
        key = changes.cursor_key(project)
        stored = self._cursors.get(key)
        found, kept = changes.find_changes(current, changes.decode(stored), default)
        seen, asked = dict(kept), []
        for change in found:
            if self._passes(project, change):
                request = changes.request_for(project, change)
                self._submit(request)
                asked.append(request)
            seen[change.ref] = change.new
            stored = self._remember(key, seen)
        if changes.encode(seen) != stored:
            self._remember(key, seen)
        return asked

    def _remember(self, key: str, seen: changes.Seen) -> str:
        text = changes.encode(seen)
        self._cursors.set(key, text)
        return text

    def _passes(self, project: Project, change: Change) -> bool:
        ask = self._change
        push = Push(
            head_ref=change.ref,
            repository=(project.source.location or "").rstrip("/").rpartition("/")[2].removesuffix(".git"),
            change=(lambda: ask(project.source, change.ref, change.old, change.new)) if ask else None,
        )
        return lets_through(groups_of(project), push)

    def _is_settled(self, project: Project, heads: Heads) -> bool:
        with self._lock:
            standing = self._standings.get(project.name)
            return (
                standing is not None
                and standing.settled is not None
                and (standing.settled[0] is project and standing.settled[1] == heads)
            )

    def _settle(self, project: Project, heads: Heads) -> None:
        with self._lock:
            if standing := self._standings.get(project.name):
                standing.settled = (project, heads)

    def _start_due(self) -> float:
        """Start the looks that are due and possible; return the seconds until the next one may be."""
        with self._lock:
            now = self._clock.monotonic()
            targets = {one.project.name: one for one in self._projects() if one.is_polled}
            for name in [name for name, one in self._standings.items() if name not in targets and not one.busy]:
                del self._standings[name]
            nearest = now + _TICK_SECONDS
            for name, target in targets.items():
                standing = self._standings.setdefault(name, _Standing(due=now))
                if standing.busy:
                    continue
                host = self._hosts.setdefault(target.host, _Host())
                due = max(standing.due, host.until)
                if due <= now and host.busy < _PER_HOST and self._pool is not None:
                    standing.busy, standing.again = True, False
                    host.busy += 1
                    future = self._pool.submit(self.look, target)
                    future.add_done_callback(lambda done, target=target: self._finished(target, done))  # type: ignore[misc]
                elif due > now:
                    nearest = min(nearest, due)
            return max(0.0, nearest - now)

    def _finished(self, target: PollTarget, done: Future[list[BuildRequest]]) -> None:
        error = None if done.cancelled() else done.exception()
        with self._lock:
            standing, host = self._standings.get(target.project.name), self._hosts.get(target.host)
            if standing is None or host is None or done.cancelled():
                return
            standing.busy = False
            host.busy -= 1
            if error is not None and not isinstance(error, BuildspecdError):
                self._crash = error  # `run` raises it, and the supervisor starts us anew
                return
            self._plan_next(target, standing, host, error)
            more = self._pool is not None and not self._stop.is_set
        if not self._stop.is_set:
            self._report(target.project.name, error)
        if more:
            self._start_due()

    def _plan_next(
        self, target: PollTarget, standing: _Standing, host: _Host, error: BuildspecdError | None
    ) -> None:  # fmt: skip
        now = self._clock.monotonic()
        spread = 1 + self._chance.uniform(-_JITTER, _JITTER)
        standing.failures = standing.failures + 1 if error else 0
        if isinstance(error, Unavailable):
            host.failures += 1
            host.until = now + min(_LONGEST_PAUSE, target.every * 2 ** min(host.failures - 1, 10)) * spread
        else:
            host.failures, host.until = 0, 0.0
        pause = min(_LONGEST_PAUSE, target.every * 2 ** min(max(standing.failures - 1, 0), 10))
        standing.due = now if standing.again else now + max(pause, target.every) * spread
