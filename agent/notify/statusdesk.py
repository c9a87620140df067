"""StatusDesk: tells git hosts the commit statuses that wait, each host at its own pace.

At least once, in the order in which a build went, and of the states that were overtaken meanwhile none. A host that
limits our rate, answers with an error of its own or not at all is left alone for a while; no other waits for it.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Literal, Protocol

from agent.errors import Unavailable, UserError
from agent.kit.clock import Clock
from agent.kit.logging import get_logger
from agent.kit.service import StopToken
from agent.model.commitstatus import CommitStatus
from agent.model.project import Source
from agent.notify.githosts import call_for
from agent.store.statuses import Statuses

_log = get_logger("commit-status")

KEPT_SECONDS = 2 * 86400.0
"""How long a status is worth telling; then nobody waits for it any more."""
LOOK_SECONDS = 1.0
FIRST_REST_SECONDS = 2.0
LONGEST_REST_SECONDS = 300.0
LONGEST_ASKED_SECONDS = 3600.0
"""For how long a host is left alone at most when it asks for it."""
_THREADS = 4
_REMEMBERED = 1000
_SHOWN = 300

Verdict = Literal["taken", "later", "never"]


@dataclass(frozen=True)
class Answer:
    """What a host said: HTTP status, its words, and the seconds for which it wants to be left alone."""

    status: int
    text: str = ""
    retry_after: float | None = None


class HostApi(Protocol):
    """The door to the hosts. Any thread may call it; it comes back within a minute, and soon after *stop*."""

    def post(self, source: Source, address: str, body: Mapping[str, str], stop: StopToken | None = None) -> Answer:
        """Send *body* as JSON to *address*, with the credential of *source*, and to no other host.

        Raises `Unavailable` (with `retry_after` where it is known) when nobody answers, and `UserError` where there is
        no credential, or it cannot be had.
        """
        ...


@dataclass
class _Rest:
    failures: int
    until: float


@dataclass
class StatusDesk:
    """A Service. Whatever is in `statuses` is told, whoever put it there."""

    statuses: Statuses
    api: HostApi
    clock: Clock
    name: str = "commit status desk"
    _resting: dict[str, _Rest] = field(default_factory=dict)
    _busy: set[str] = field(default_factory=set)
    _given_up: OrderedDict[tuple[str, str], None] = field(default_factory=OrderedDict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def run(self, stop: StopToken) -> None:
        """Tell what waits until *stop*; what could not be told by then waits for the next start."""
        with ThreadPoolExecutor(_THREADS, thread_name_prefix="commit-status") as pool:
            under_way: list[Future[None]] = []
            while not stop.is_set:
                for host, waiting in self.due().items():
                    with self._lock:
                        self._busy.add(host)
                    under_way.append(pool.submit(self._serve_freed, host, waiting, stop))
                self.clock.wait(LOOK_SECONDS, stop)
                for done in [future for future in under_way if future.done()]:
                    under_way.remove(done)
                    done.result()  # the database may be locked, or worse: the supervisor is told

    def turn(self) -> None:
        """Tell every host that may be told now, one after the other."""
        for host, waiting in self.due().items():
            self.serve(host, waiting, StopToken())

    def due(self) -> dict[str, list[CommitStatus]]:
        """Return what may be told now by the name of its host, oldest first; drop what is too old."""
        found: dict[str, list[CommitStatus]] = {}
        for host in self.statuses.hosts():
            for status in self.statuses.waiting(host) if self._is_free(host) else ():
                if self.clock.now() - status.at > KEPT_SECONDS:
                    self._drop(status, "it is too old")
                else:
                    found.setdefault(host, []).append(status)
        return found

    def serve(self, host: str, waiting: list[CommitStatus], stop: StopToken) -> None:
        """Tell *host* what waits, until it wants to be left alone."""
        for status in waiting:
            if stop.is_set:
                return
            if not self._told(host, status, stop):
                return

    def _serve_freed(self, host: str, waiting: list[CommitStatus], stop: StopToken) -> None:
        try:
            self.serve(host, waiting, stop)
        finally:
            with self._lock:
                self._busy.discard(host)

    def _is_free(self, host: str) -> bool:
        with self._lock:
            rest = self._resting.get(host)
            return host not in self._busy and (rest is None or self.clock.monotonic() >= rest.until)

    def _told(self, host: str, status: CommitStatus, stop: StopToken) -> bool:
        """Tell one status; return whether the host may be told another one now."""
        call = call_for(status)
        if call is None or (status.key, status.sha) in self._given_up:
            self.statuses.drop(status)
            return True
        if self.statuses.get(status.key) != status:
            return True  # overtaken while it waited here; the newer one comes next
        try:
            answer = self.api.post(status.source, call.url, call.body, stop)
        except Unavailable as error:
            self._leave_alone(host, error.message, error.retry_after)
            return False
        except UserError as error:
            self._give_up(status, error.message)
            return True
        return self._judged(host, status, answer)

    def _judged(self, host: str, status: CommitStatus, answer: Answer) -> bool:
        verdict = verdict_of(answer)
        said = " ".join(answer.text.split())[:_SHOWN] or f"HTTP {answer.status}"
        if verdict == "later":
            self._leave_alone(host, said, answer.retry_after)
            return False
        with self._lock:
            again = self._resting.pop(host, None)
        if again:
            _log.info("a git host takes commit statuses again", host=host)
        if verdict == "never":
            self._give_up(status, said)
        else:
            self.statuses.drop(status)
        return True

    def _leave_alone(self, host: str, reason: str, asked: float | None) -> None:
        with self._lock:
            before = self._resting.get(host)
            failures = before.failures if before else 0
            pause = min(FIRST_REST_SECONDS * 2.0 ** min(failures, 30), LONGEST_REST_SECONDS)
            pause = max(pause, min(asked or 0.0, LONGEST_ASKED_SECONDS))
            self._resting[host] = _Rest(failures + 1, self.clock.monotonic() + pause)
        if before is None:
            _log.warning("a git host takes no commit statuses now", host=host, error=reason, pause_seconds=pause)

    def _give_up(self, status: CommitStatus, reason: str) -> None:
        with self._lock:
            self._given_up[status.key, status.sha] = None
            while len(self._given_up) > _REMEMBERED:
                self._given_up.popitem(last=False)
        self._drop(status, reason)

    def _drop(self, status: CommitStatus, reason: str) -> None:
        _log.warning(
            "a commit status is not told",
            of=status.key,
            commit=status.sha,
            state=status.state.value,
            reason=reason,
            hint="the credential of the source needs write access to statuses",
        )
        self.statuses.drop(status)


def verdict_of(answer: Answer) -> Verdict:
    """Return what becomes of a status after *answer*. Pure."""
    if 200 <= answer.status < 300:
        return "taken"
    if answer.status == 400 and "Cannot transition status" in answer.text:
        return "taken"  # GitLab has been told this very state before
    if answer.status in (408, 409, 425, 429) or answer.status >= 500:
        return "later"
    if answer.status == 403 and answer.retry_after is not None:
        return "later"  # GitHub's way to limit a rate
    return "never"
