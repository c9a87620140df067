"""Backlog: the service that takes a longer look at what a delivery could not be judged by, at least once each."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Protocol

from pydantic import ValidationError

from agent.errors import BuildspecdError, Unavailable
from agent.kit.clock import Clock
from agent.kit.logging import get_logger
from agent.kit.service import StopToken
from agent.model.build import Build
from agent.model.commitstatus import CommitStatus
from agent.model.project import Project
from agent.model.request import BuildRequest
from agent.model.webhook import WebhookFacts
from agent.store.hooks import Hooks, Pending
from agent.triggers.hooks.asking import facts_of
from agent.triggers.hooks.desk import REMEMBERED_SECONDS
from agent.triggers.hooks.event import Event
from agent.triggers.hooks.judge import WHOLE, Looks, judge
from agent.triggers.hooks.scope import bound, is_scoped, subject
from agent.triggers.hooks.secrets import KEPT_SECONDS, SecretBook

_WORKERS = 4
_TICK_SECONDS = 1.0
_FIRST_PAUSE = 5.0
_LONGEST_PAUSE = 900.0
_MOST_TRIES = 4
"""Looks that are taken where the server says no; where it is down, they go on for a day."""
_UPKEEP_SECONDS = 60.0
WAITING_SECONDS = 90 * 86400.0
"""How long a pull request can wait for approval."""
_log = get_logger("webhooks")


class Held(Protocol):
    """Tells the git host of pull requests that wait (`agent.notify.held`); `put` and `drop` join a transaction."""

    def of(self, project: Project, name: str, number: int, sha: str, facts: WebhookFacts) -> CommitStatus | None: ...

    def put(self, status: CommitStatus) -> None: ...

    def drop(self, name: str, number: int) -> None: ...


@dataclass
class Backlog:
    """A `Service`. An event is forgotten in the same transaction that stores its build, so a crash loses none.

    *project* finds a project by name, *submit* stores a build and joins a transaction of *hooks*, *references* are
    those of all secrets, which are read again here before they grow old. *errands* does what is stored under a name
    that is no project's; it may do so twice. *held* tells of pull requests that wait.
    """

    hooks: Hooks
    project: Callable[[str], Project | None]
    submit: Callable[[BuildRequest], Build]
    looks: Looks
    secrets: SecretBook
    references: Callable[[], list[str]]
    clock: Clock
    errands: Mapping[str, Callable[[str, StopToken], None]] = field(default_factory=dict)
    held: Held | None = None
    name: str = "webhooks"
    _stop: StopToken = field(default_factory=StopToken)
    _woken: threading.Event = field(default_factory=threading.Event)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _busy: set[int] = field(default_factory=set)
    _crash: BaseException | None = None
    _kept_up: float = float("-inf")

    def wake(self) -> None:
        """Look at what was put off now."""
        self._woken.set()

    def run(self, stop: StopToken) -> None:
        """Take longer looks until *stop*."""
        self._crash, self._kept_up, self._stop = None, float("-inf"), stop
        pool = ThreadPoolExecutor(_WORKERS, thread_name_prefix="webhooks")
        try:
            while not stop.is_set:
                self._keep_up()
                self._set_out(pool)
                if self._crash is not None:
                    raise self._crash
                self._woken.wait(_TICK_SECONDS)
                self._woken.clear()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
            self._busy.clear()

    def settle(self, pending: Pending) -> None:
        """Judge one event for its project; what comes of it is stored, or it is looked at again later."""
        if pending.project in self.errands:
            self._run_errand(pending)
            return
        project, event = self.project(pending.project), _event(pending.document)
        if project is not None and event is not None and is_scoped(project):
            project = bound(project, event)
        if project is None or event is None:
            self.hooks.done(pending)
            return
        try:
            verdict = judge(project, event, self.looks)
            status = self._status(project, event) if verdict.outcome == "approval" else None
            with self.hooks.transaction():
                if verdict.outcome == "approval" and event.number is not None:
                    now = self.clock.now()
                    self.hooks.await_approval(subject(project), event.number, event.model_dump_json(), now)
                if status is not None and self.held is not None:
                    self.held.put(status)
                build = self.submit(verdict.request) if verdict.request else None
                if build is not None and event.number is not None and self.held is not None:
                    self.held.drop(subject(project), event.number)
                self.hooks.done(pending)
        except BuildspecdError as error:
            self._failed(pending, error)
            return
        _log.info(
            "webhook",
            project=project.name,
            webhook=event.event,
            outcome=verdict.outcome,
            reason=verdict.reason,
            build=build.id if build else None,
        )

    def _status(self, project: Project, event: Event) -> CommitStatus | None:
        """Return what the git host is to show at a pull request that waits."""
        if self.held is None or event.number is None or not event.head_sha:
            return None
        sha = event.head_sha if len(event.head_sha) >= WHOLE else self.looks.whole(project, event)
        return self.held.of(project, subject(project), event.number, sha, facts_of(event))

    def _run_errand(self, pending: Pending) -> None:
        try:
            self.errands[pending.project](pending.document, self._stop)
        except BuildspecdError as error:
            self._failed(pending, error)
            return
        self.hooks.done(pending)

    def _failed(self, pending: Pending, error: BuildspecdError) -> None:
        now, age = self.clock.now(), self.clock.now() - pending.created
        hopeless = not isinstance(error, Unavailable) and pending.attempts + 1 >= _MOST_TRIES
        if hopeless or age > REMEMBERED_SECONDS:
            self.hooks.done(pending)
            _log.error("an event is given up", project=pending.project, error=error.message, hint=error.hint)
            return
        pause = min(_LONGEST_PAUSE, _FIRST_PAUSE * 2 ** min(pending.attempts, 10))
        wished = error.retry_after if isinstance(error, Unavailable) else None
        self.hooks.try_again(pending, now + max(pause, wished or 0.0))
        _log.warning("an event is looked at again later", project=pending.project, error=error.message, hint=error.hint)

    def _set_out(self, pool: ThreadPoolExecutor) -> None:
        for pending in self.hooks.due(self.clock.now()):
            with self._lock:
                if pending.id in self._busy:
                    continue
                self._busy.add(pending.id)
            future = pool.submit(self.settle, pending)
            future.add_done_callback(lambda done, number=pending.id: self._ended(number, done))  # type: ignore[misc]

    def _ended(self, number: int, done: Future[None]) -> None:
        with self._lock:
            self._busy.discard(number)
            if not done.cancelled() and done.exception() is not None:
                self._crash = done.exception()  # `run` raises it, and the supervisor starts us anew
        self._woken.set()

    def _keep_up(self) -> None:
        """Read secrets again before they grow old, and forget what is."""
        if self.clock.monotonic() - self._kept_up < _UPKEEP_SECONDS:
            return
        self._kept_up = self.clock.monotonic()
        references = self.references()
        self.secrets.keep_only(references)
        self.secrets.renew(references, KEPT_SECONDS - _UPKEEP_SECONDS)
        now = self.clock.now()
        self.hooks.prune(now - REMEMBERED_SECONDS, now - WAITING_SECONDS)


def _event(document: str) -> Event | None:
    """Return the event that was stored; None for one that another version wrote, and this one does not know."""
    try:
        return Event.model_validate_json(document)
    except ValidationError:
        return None
