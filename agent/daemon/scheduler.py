"""Scheduler: claims builds as places come free, and gives each a thread on the route."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from agent.daemon.gate import Gate
from agent.daemon.policy import Limits, ready
from agent.errors import BuildUnreadable
from agent.kit.clock import Clock, Elapsed
from agent.kit.logging import bound, get_logger
from agent.kit.service import StopToken
from agent.model.build import Build
from agent.model.cause import EXPLANATIONS, Cause, of_stop
from agent.model.phase import PhaseContext, PhaseType
from agent.model.status import Status
from agent.pipeline.job import Job, LetGo
from agent.pipeline.recorder import Recorder
from agent.pipeline.route import travel
from agent.store.builds import Builds
from agent.store.database import Database
from agent.store.queue import Place, Queue

_log = get_logger("scheduler")
TICK_SECONDS = 1.0
LEASE_SECONDS = 60.0
FAULT_PAUSE_SECONDS = 10.0
"""Pause before a build whose thread broke is set out with again."""


@dataclass
class Scheduler:
    """A Service. `limits` is asked at every turn, so that changed settings hold at once."""

    owner: str
    database: Database
    recorder: Recorder
    limits: Callable[[], Limits]
    new_job: Callable[[Build, StopToken], Job]
    clock: Clock
    hold: Callable[[], str] = lambda: ""
    """Asked when builds wait: why none may start now; empty: they may."""
    held: str = ""
    """What `hold` has said last."""
    name: str = "scheduler"
    gate: Gate = field(default_factory=Gate)
    _renewed: float = float("-inf")
    _woken: threading.Event = field(default_factory=threading.Event)
    _jobs: dict[str, Job] = field(default_factory=dict)
    _threads: dict[str, threading.Thread] = field(default_factory=dict)
    _unreadable: set[str] = field(default_factory=set)
    _at_hand: set[str] = field(default_factory=set)
    """Builds that this process has set out with, and that have ended or are its to go on with."""
    _waited: dict[str, Elapsed] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def wake(self) -> None:
        """Look at the queue now."""
        self._woken.set()

    def run(self, stop: StopToken) -> None:
        """Start what may start, until *stop*; then let go of the running builds and return."""
        self.turn(stop)
        while not stop.is_set:
            self._woken.wait(TICK_SECONDS)
            self._woken.clear()
            self.turn(stop)
        for thread in self._running_threads():
            thread.join()

    def turn(self, letting_go: StopToken) -> None:
        """One look at the queue: end what need not start, tell running builds to stop, start what may."""
        queue = Queue(self.database)
        places = [place for place in queue.places() if self._is_readable(place)]
        waiting = [place for place in places if not place.owner]
        self.held = self.hold() if waiting else ""
        running = [place for place in places if place.owner]
        if running:
            self._renew(queue)
        for place in running:
            self._pass_on_stop(place)
            self._take_up(place, letting_go)
        waiting = [place for place in waiting if not self._ended_in_queue(place)]
        self._waited = {place.build: self._waited[place.build] for place in waiting}
        if self.gate.shut or letting_go.is_set or self.held:
            return
        for place in ready(waiting, running, self.limits()):
            if queue.claim(place.build, self.owner, self.clock.now(), LEASE_SECONDS):
                self._set_out(place.build, letting_go)

    def stop_build(self, build: str, reason: str) -> None:
        """Ask a build to end, waiting or running."""
        Queue(self.database).ask_to_stop(build, reason)
        with self._lock:
            job = self._jobs.get(build)
        if job:
            self._tell_to_stop(job, reason)
        self.wake()

    def jobs(self) -> dict[str, Job]:
        """Return the builds that are on their route now, by id."""
        with self._lock:
            return dict(self._jobs)

    def running(self) -> int:
        """Return how many builds are on their route now."""
        return len(self._running_threads())

    def _is_readable(self, place: Place) -> bool:
        """Whether the record of a build can be read; one that cannot is left alone, place, container and all."""
        with self._lock:
            if place.build in self._at_hand:
                return True
        try:
            Builds(self.database).get(place.build)
        except BuildUnreadable as error:
            if place.build not in self._unreadable:
                self._unreadable.add(place.build)
                _log.error("a build is set aside", error=error.message, hint=error.hint)
            return False
        return True

    def _take_up(self, place: Place, letting_go: StopToken) -> None:
        """Set out with a build that was begun and is nobody's now: its daemon is gone, or its thread broke."""
        with self._lock:
            if place.build in self._at_hand:
                return
        queue = Queue(self.database)
        # Whoever owned it is dead: the lock of the state directory says so, and its lease need not be waited for.
        if place.owner != self.owner:
            queue.release(place.build)
            queue.claim(place.build, self.owner, self.clock.now(), LEASE_SECONDS)
        _log.info("taking over a running build", build=place.build)
        self._set_out(place.build, letting_go)

    def _set_out(self, build_id: str, letting_go: StopToken) -> None:
        build = Builds(self.database).get(build_id)
        if build is None or build.complete:
            Queue(self.database).remove(build_id)
            return
        if build.current_phase is PhaseType.QUEUED:
            build = self.recorder.leave(build, Status.SUCCEEDED)
        # A daemon thread: one that hangs in a call must not keep the process, for a build survives a kill anyway.
        thread = threading.Thread(
            target=self._drive, args=(build, letting_go), name=f"build {build.number}", daemon=True
        )
        with self._lock:
            self._threads[build_id] = thread
            self._at_hand.add(build_id)
        thread.start()

    def _drive(self, build: Build, letting_go: StopToken) -> None:
        job: Job | None = None
        settled = False
        with bound(build=build.id):
            try:
                job = self.new_job(build, letting_go)
                with self._lock:
                    self._jobs[build.id] = job
                reason = Queue(self.database).stop_reason(build.id)
                if reason:
                    self._tell_to_stop(job, reason)
                status = travel(job)
                settled = True
                _log.info("build ended", status=status.value, number=build.number)
            except LetGo:
                settled = True
                _log.info("letting go of a running build")
            finally:
                if job is not None:
                    job.transcript.leave()
                if not settled:
                    # The store failed us, or a bug did; the traceback is in the log. Another turn takes it up, later.
                    self.clock.wait(FAULT_PAUSE_SECONDS, letting_go)
                self._put_down(build.id, settled=settled)

    def _put_down(self, build_id: str, *, settled: bool) -> None:
        with self._lock:
            self._jobs.pop(build_id, None)
            self._threads.pop(build_id, None)
            if not settled:
                self._at_hand.discard(build_id)
        self.wake()

    def _renew(self, queue: Queue) -> None:
        """Keep the leases of running builds alive; not at every turn, for it is a write."""
        now = self.clock.now()
        if abs(now - self._renewed) >= LEASE_SECONDS / 3:
            queue.renew(self.owner, now, LEASE_SECONDS)
            self._renewed = now

    def _pass_on_stop(self, place: Place) -> None:
        with self._lock:
            job = self._jobs.get(place.build)
        if place.stop and job:
            self._tell_to_stop(job, place.stop)

    @staticmethod
    def _tell_to_stop(job: Job, reason: str) -> None:
        if not job.stop_asked.is_set:
            job.stop_reason = reason
            job.stop_asked.set()

    def _ended_in_queue(self, place: Place) -> bool:
        build = Builds(self.database).get(place.build)
        if build is None:
            Queue(self.database).remove(place.build)
            return True
        waited = self._waited.setdefault(place.build, Elapsed(self.clock, place.enqueued, build.submitted))
        status, context = waiting_too_long(build, place, waited.seconds)
        if status is Status.IN_PROGRESS:
            return False
        late = Cause.HOST_DISK_FULL if self.held else Cause.TIMED_OUT_QUEUED
        cause = of_stop(place.stop) if place.stop else late
        build = build.evolve(cause=cause, advice=EXPLANATIONS[cause].advice, stop_reason=place.stop or None)
        self.recorder.complete(self.recorder.leave(build, status, context), status)
        return True

    def _running_threads(self) -> list[threading.Thread]:
        with self._lock:
            return list(self._threads.values())


def waiting_too_long(build: Build, place: Place, waited: float) -> tuple[Status, PhaseContext]:
    """Return how a build ends that has *waited* so many seconds; IN_PROGRESS when it goes on waiting. Pure."""
    if place.stop:
        return Status.STOPPED, PhaseContext(message=place.stop)
    if waited > build.project.queued_timeout_in_minutes * 60:
        return Status.TIMED_OUT, PhaseContext(
            status_code="BUILD_TIMED_OUT",
            message=f"Build waited in the queue for more than {build.project.queued_timeout_in_minutes:g} minutes.",
        )
    return Status.IN_PROGRESS, PhaseContext()
