"""Poll: looks at every project's repository now and then, and asks for a build of each new head."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Protocol

from agent.errors import BuildspecdError, SourceNotFound
from agent.kit.clock import Clock
from agent.kit.logging import get_logger
from agent.kit.service import StopToken
from agent.model.project import Project, Source
from agent.model.request import BuildRequest
from agent.source.bucket import Standing
from agent.source.remote import Heads
from agent.source.url import without_logins
from agent.triggers import changes, uploads
from agent.triggers.changes import Change
from agent.triggers.filters import Push, passes
from agent.triggers.rounds import Rounds
from agent.triggers.target import PollTarget

__all__ = ["Poll", "PollTarget"]

_log = get_logger("poll")

_WORKERS = 32
"""Threads for looks; only as many are started as there are looks at once, and they mostly wait for servers."""
_TICK_SECONDS = 1.0

HeadsOf = Callable[[Source, Sequence[str], StopToken], Heads]
ChangeOf = Callable[[Source, str, str | None, str], tuple[Sequence[str], str]]
"""Takes source, ref, old commit, new commit; returns the touched paths and the head commit's message."""
StandingOf = Callable[[Source, StopToken], Standing]
"""Says what a source in S3 is now (`Buckets.standing`)."""


class Cursors(Protocol):
    """Remembers, across restarts, what has been asked for. Any thread may call it; `set` is durable when it returns."""

    def get(self, key: str) -> str | None: ...

    def set(self, key: str, value: str) -> None: ...


class Poll:
    """A `Service`. Each project is looked at in its own rhythm (`Rounds`); a server that hangs delays its own only.

    *submit* must be durable when it returns; only then is a change marked as seen, so one that a crash came between is
    asked for again, with the same `dedupe_key`. *heads* reads a remote's refs (`Sources.heads`), *change* what a push
    touched. *report* is told the outcome of each look: an error, or None when all is well. While *paused*
    nothing is looked at.
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
        standing: StandingOf | None = None,
        report: Callable[[str, BuildspecdError | None], None] = lambda project, error: None,
        chance: random.Random | None = None,
        paused: Callable[[], bool] = lambda: False,
    ) -> None:
        self._projects = projects
        self._submit = submit
        self._cursors = cursors
        self._heads = heads
        self._clock = clock
        self._change = change
        self._standing = standing
        self._report = report
        self._paused = paused
        self._chance = chance or random.Random()  # noqa: S311  # spreads load, guards nothing
        self._lock = threading.RLock()
        self._rounds = Rounds(self._chance)
        self._settled: dict[str, tuple[Project, Heads]] = {}
        self._moved: set[str] = set()
        self._turns: dict[str, threading.Lock] = {}
        self._pool: ThreadPoolExecutor | None = None
        self._stop = StopToken()
        self._crash: BaseException | None = None

    def run(self, stop: StopToken) -> None:
        """Look at projects until *stop* is set; looks under way are broken off then."""
        pool = ThreadPoolExecutor(_WORKERS, thread_name_prefix="poll")
        with self._lock:
            self._stop, self._pool, self._crash = stop, pool, None
            self._rounds = Rounds(self._chance)
            self._settled.clear()
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
            self._rounds.nudge(project, self._clock.monotonic())
        self._start_due()

    def look(self, target: PollTarget, stop: StopToken | None = None) -> list[BuildRequest]:
        """Look at one project once, and submit what is new; returns the requests. Raises what the remote raises."""
        project = target.project
        if project.source.type == "S3":
            return self.look_at_upload(project, stop or self._stop)
        if sha := changes.fixed_commit(project):
            return self._ask_for(project, {"commit": sha}, None)
        wanted = changes.wanted_refs(project)
        heads = self._heads(project.source, wanted, stop or self._stop)
        if self._is_settled(project, heads):
            return []
        if heads.moved_to:
            _log.warning(
                "a repository was renamed: its host still answers for the old name, until somebody takes it",
                project=project.name, location=without_logins(project.source.location or ""), moved_to=heads.moved_to,
            )  # fmt: skip
        current = changes.current_refs(project, heads)
        if not current and wanted and not changes.watches_all(project):
            raise SourceNotFound(
                f"{project.name}: no branch or tag {project.source_version!r} in {project.source.location}",
                hint="check sourceVersion of the project",
            )
        asked = self._ask_for(project, current, heads.default)
        self._settle(project, heads)
        return asked

    def look_at_upload(
        self, project: Project, stop: StopToken, initiator: str = changes.INITIATOR
    ) -> list[BuildRequest]:
        """Look at a source in S3, and submit what is new; one look at a time: each starts where the last one ended."""
        with self._lock:
            turn = self._turns.setdefault(project.name, threading.Lock())
        with turn:
            return self._look_at_upload(project, stop, initiator)

    def _look_at_upload(self, project: Project, stop: StopToken, initiator: str) -> list[BuildRequest]:
        standing = uploads.fixed_upload(project) or (self._standing and self._standing(project.source, stop))
        if standing is None or stop.is_set:
            return []
        key = changes.cursor_key(project)
        request = uploads.find_upload(project, standing, self._cursors.get(key))
        if request is None:
            return []
        request = request.evolve(initiator=initiator)
        self._submit(request)
        self._cursors.set(key, uploads.seen_upload(standing))
        with self._lock:
            self._moved.add(project.name)
        return [request]

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
        return passes(project, push)

    def _is_settled(self, project: Project, heads: Heads) -> bool:
        with self._lock:
            known = self._settled.get(project.name)
        return known is not None and known[0] is project and known[1] == heads

    def _settle(self, project: Project, heads: Heads) -> None:
        with self._lock:
            self._settled[project.name] = (project, heads)
            self._moved.add(project.name)

    def _start_due(self) -> float:
        """Start the looks that are due; return the seconds until the next one may be."""
        with self._lock:
            now = self._clock.monotonic()
            self._rounds.take_up(self._projects(), now)
            if self._pool is None or self._paused():
                return _TICK_SECONDS
            for target in self._rounds.start(now):
                future = self._pool.submit(self.look, target)
                future.add_done_callback(lambda done, target=target: self._finished(target, done))  # type: ignore[misc]
            return min(_TICK_SECONDS, self._rounds.pause(now))

    def _finished(self, target: PollTarget, done: Future[list[BuildRequest]]) -> None:
        if done.cancelled():
            return
        error = done.exception()
        with self._lock:
            if error is not None and not isinstance(error, BuildspecdError):
                self._crash = error  # `run` raises it, and the supervisor starts us anew
                return
            name = target.project.name
            changed = name in self._moved
            self._moved.discard(name)
            if not self._rounds.ended(target, error, self._clock.monotonic(), changed=changed):
                self._settled.pop(name, None)
                return
            more = self._pool is not None and not self._stop.is_set
        if not self._stop.is_set:
            self._report(name, error)
        if more:
            self._start_due()
