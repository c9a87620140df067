"""Worker: takes jobs of a custom action from CodePipeline, has them built, and tells how they ended (service.md 9.3).

What a kill may cut is ordered so that nothing is lost and nothing done twice:

1. A job is stored before it is acknowledged. After a restart it is acknowledged again with the same nonce: if somebody
   else has been given it meanwhile, the nonce is old, and the job is dropped.
2. Its build is stored in one transaction with that, under a dedupe key that has the job's id.
3. The end of the build is told until CodePipeline has heard it; one that it has heard already it refuses, which is
   as good. Only then is the job done.
4. A job that goes on in another one is marked before it is handed back, so that nobody takes its end for a loss.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Protocol

from agent.aws import AwsRefused
from agent.errors import BuildspecdError, UserError
from agent.kit.clock import Clock
from agent.kit.logging import get_logger
from agent.kit.service import StopToken
from agent.model.build import Build
from agent.model.phase import COMMAND_PHASES
from agent.model.pipelinejob import Failure, StoredJob
from agent.model.request import BuildRequest
from agent.triggers.codepipeline.outcome import lost, outcome, progress, refusal, too_many_variables
from agent.triggers.codepipeline.request import request_for
from agent.triggers.codepipeline.service import ActionType, JobGone, JobService, JobTaken, Offer, Success

_log = get_logger("codepipeline")

TICK_SECONDS = 1.0
CHECK_SECONDS = 60.0
"""Pause between two looks whether CodePipeline still wants a job that is being built."""
KEPT_SECONDS = 14 * 86400.0
MOST_JOBS = 10
_JITTER = 0.25
_LONGEST_PAUSE = 60.0
_GIVEN_UP = "The pipeline gave up the job of this build"
_FINAL = frozenset({"ValidationException", "ParamValidation"})


class Jobs(Protocol):
    """Where jobs are kept; see `store.pipelinejobs`."""

    def put(self, job: StoredJob) -> None: ...

    def get(self, job: str) -> StoredJob | None: ...

    def open(self) -> list[StoredJob]: ...

    def drop(self, job: str) -> None: ...

    def prune(self, before: float) -> int: ...


@dataclass(frozen=True)
class Wishes:
    """What the settings say. Seconds; `continue_after` None: a job is never handed back while its build runs."""

    kind: ActionType
    pool: str | None
    every: float
    continue_after: float | None


@dataclass(frozen=True)
class Shop:
    """What the worker needs of the daemon. `stop_build` and `submit` store what they do, inside of `transaction`."""

    submit: Callable[[BuildRequest], Build]
    build: Callable[[str], Build | None]
    stop_build: Callable[[str, str], None]
    transaction: Callable[[], AbstractContextManager[None]]
    free: Callable[[], int]
    paused: Callable[[], bool]
    link: Callable[[Build], str | None]


@dataclass
class Worker:
    """A `Service`. *agent* is the id of this agent, which stands in continuation tokens."""

    service: JobService
    jobs: Jobs
    shop: Shop
    wishes: Callable[[], Wishes]
    agent: str
    clock: Clock
    name: str = "codepipeline"
    trouble: str = field(default="", init=False)
    _next_poll: float = field(default=float("-inf"), init=False)
    _next_prune: float = field(default=float("-inf"), init=False)
    _checked: dict[str, float] = field(default_factory=dict, init=False)
    _handed_back: set[str] = field(default_factory=set, init=False)

    def run(self, stop: StopToken) -> None:
        """Do jobs until *stop* is set; their builds go on."""
        failures = 0
        while not stop.is_set:
            error = self.turn(stop)
            if error is None:
                if failures and not stop.is_set:
                    _log.info("CodePipeline answers again")
                failures, self.trouble = 0, ""
                self.clock.wait(TICK_SECONDS, stop)
                continue
            failures += 1
            self._complain(error)
            pause = min(_LONGEST_PAUSE, TICK_SECONDS * 2 ** min(failures, 10)) * (1 + _JITTER * random.random())  # noqa: S311
            self.clock.wait(max(pause, getattr(error, "retry_after", None) or 0.0), stop)

    def turn(self, stop: StopToken) -> BuildspecdError | None:
        """Go on with every job, and ask for more when it is time; return the first trouble there was."""
        troubles: list[BuildspecdError] = []
        for job in self.jobs.open():
            if stop.is_set:
                return None
            try:
                self._go_on(job)
            except BuildspecdError as error:  # the others are not to wait for this one
                troubles.append(error)
        try:
            self._ask(stop)
        except BuildspecdError as error:
            troubles.append(error)
        if self.clock.monotonic() >= self._next_prune:
            self._next_prune = self.clock.monotonic() + 3600
            self.jobs.prune(self.clock.now() - KEPT_SECONDS)
        return troubles[0] if troubles else None

    def _ask(self, stop: StopToken) -> None:
        """Ask for as many jobs as there are places; with none only for those that come back to us."""
        if stop.is_set or self.shop.paused() or self.clock.monotonic() < self._next_poll:
            return
        wishes, free = self.wishes(), self.shop.free()
        if free <= 0 and not any(job.state == "continuing" for job in self.jobs.open()):
            return  # nothing was asked, so the next tick looks again: a job is not to wait for a place that is free
        offers = self.service.poll(wishes.kind, max(1, min(free, MOST_JOBS)), wishes.pool)
        self._next_poll = self.clock.monotonic() + wishes.every * (1 + _JITTER * random.random())  # noqa: S311
        for job in self._stored(offers, room=free > 0) if offers else ():
            self._go_on(job)

    def _stored(self, offers: list[Offer], *, room: bool) -> list[StoredJob]:
        """Store what was handed out, all at once; return what of it is to be gone on with."""
        with self.shop.transaction():
            stored = [job for offer in offers if (job := self._job_of(offer, room=room))]
            for job in stored:
                self.jobs.put(job)
        return stored

    def _job_of(self, offer: Offer, *, room: bool) -> StoredJob | None:
        known, now = self.jobs.get(offer.job.id), self.clock.now()
        if known is not None:
            # It is handed out again, so CodePipeline did not hear of it: it has to be acknowledged with the new nonce.
            again = known.state == "taken"
            return known.evolve(nonce=offer.nonce, changed=now) if again else None
        job = StoredJob(job=offer.job, nonce=offer.nonce, configuration=dict(offer.configuration), changed=now)
        if offer.token is None:
            return job if room else None
        before = self._continued(offer.token)
        if before is None:
            _log.info("a job goes on with another agent, and is left to it", job=offer.job.id)
            return None
        return job.evolve(build=before.build, continues=before.job.id)

    def _continued(self, token: str) -> StoredJob | None:
        """Return the job that was handed back with *token*, if that was ours."""
        kind, _, rest = token.partition(":")
        agent, _, job = rest.partition(":")
        return self.jobs.get(job) if kind == "buildspecd" and agent == self.agent else None

    def _go_on(self, job: StoredJob) -> None:
        if job.state == "taken":
            self._take(job)
        elif job.state == "building":
            self._watch(job)
        elif job.state == "continuing":
            self._hand_back(job)
        else:
            self._tell(job, job.failure or lost(job.build or "unknown"))

    def _take(self, job: StoredJob) -> None:
        """Acknowledge the job, and have its build stored."""
        try:
            status = self.service.acknowledge(job.job.id, job.nonce)
        except (JobGone, JobTaken) as error:
            _log.info("a job is somebody else's, or over", job=job.job.id, reason=error.reason)
            self.jobs.drop(job.job.id)  # not "done": it may be handed out to us again, with another nonce
            return
        if status != "InProgress":
            _log.info("a job is not to be done", job=job.job.id, status=status)
            self.jobs.drop(job.job.id)
            return
        if job.continues:
            self._take_over(job)
            return
        try:
            with self.shop.transaction():
                build = self.shop.submit(request_for(job.job, job.configuration))
                self._move(job.evolve(build=build.id), "building")
        except UserError as error:
            _log.warning("a job can be no build", job=job.job.id, pipeline=job.job.pipeline, error=error.message)
            told = job.evolve(failure=refusal(error))
            self._tell(self._move(told, "telling"), refusal(error))
        else:
            _log.info("a job is built", job=job.job.id, pipeline=job.job.pipeline, build=build.id)

    def _take_over(self, job: StoredJob) -> None:
        """Let the build go on in the job that took the place of an earlier one."""
        before = self.jobs.get(job.continues or "")
        with self.shop.transaction():
            self._move(job, "building")
            if before is not None:
                self._move(before, "done")

    def _watch(self, job: StoredJob) -> None:
        """Tell how the build ended; of one that runs, see whether it is still wanted."""
        build = self.shop.build(job.build or "")
        if build is None:
            self._tell(job, lost(job.build or "unknown"))
        elif build.complete:
            self._tell(job, outcome(build, self.shop.link(build)))
        elif self._is_long(job, build):
            self._hand_back(self._move(job, "continuing"))
        elif self.clock.monotonic() >= self._checked.get(job.job.id, 0.0) + CHECK_SECONDS:
            self._look(job, build)

    def _look(self, job: StoredJob, build: Build) -> None:
        try:
            self.service.check(job.job.id)
        except JobGone:
            _log.warning("a pipeline gave up a job: its build is stopped", job=job.job.id, build=build.id)
            with self.shop.transaction():
                self.shop.stop_build(build.id, f"{_GIVEN_UP} ({job.job.pipeline}, {job.job.action})")
                self._move(job, "done")
        else:
            self._checked[job.job.id] = self.clock.monotonic()

    def _is_long(self, job: StoredJob, build: Build) -> bool:
        """Whether the job is handed back now: not while artifacts are on their way, which need its credentials."""
        after = self.wishes().continue_after
        runs = build.current_phase in COMMAND_PHASES and build.phases[-1].end_time is None
        return after is not None and runs and self.clock.now() >= job.changed + after

    def _hand_back(self, job: StoredJob) -> None:
        """Tell that the build goes on in another job; once in the life of a process, since a kill may have cut it."""
        if job.job.id in self._handed_back:
            return
        build = self.shop.build(job.build or "")
        if build is not None:
            token = f"buildspecd:{self.agent}:{job.job.id}"
            try:
                self.service.succeed(job.job.id, progress(build, self.shop.link(build), token))
            except JobGone:
                _log.info("a job has been handed back already, or is over", job=job.job.id)
        self._handed_back.add(job.job.id)
        self._next_poll = float("-inf")

    def _tell(self, job: StoredJob, result: Success | Failure) -> None:
        try:
            self._put(job, result)
        except JobGone as error:
            _log.info("a job had ended before it was told", job=job.job.id, reason=error.reason)
        except AwsRefused as error:
            if error.reason not in _FINAL:
                raise
            _log.error("CodePipeline does not take the end of a job", job=job.job.id, error=error.message)
        else:
            kind = "Succeeded" if isinstance(result, Success) else result.type
            _log.info("a job has ended", job=job.job.id, build=job.build, outcome=kind)
        self._checked.pop(job.job.id, None)
        self._move(job, "done")

    def _put(self, job: StoredJob, result: Success | Failure) -> None:
        if isinstance(result, Failure):
            self.service.fail(job.job.id, result)
            return
        try:
            self.service.succeed(job.job.id, result)
        except AwsRefused as error:
            build = self.shop.build(job.build or "")
            if build is None or error.reason not in {*_FINAL, "OutputVariablesSizeExceededException"}:
                raise
            _log.warning("CodePipeline does not take the variables of a build", build=build.id, error=error.message)
            self.service.fail(job.job.id, too_many_variables(build))

    def _move(self, job: StoredJob, state: str) -> StoredJob:
        moved = job.evolve(state=state, changed=self.clock.now())
        self.jobs.put(moved)
        return moved

    def _complain(self, error: BuildspecdError) -> None:
        if error.message != self.trouble:
            self.trouble = error.message
            _log.warning("CodePipeline cannot be worked for", error=error.message, hint=error.hint)
