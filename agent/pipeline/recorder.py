"""Recorder: the one writer of builds. What changed and the event that tells of it go into one transaction."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from agent.kit.clock import Clock, Moment
from agent.model.build import Build
from agent.model.event import BuildEvent
from agent.model.phase import PhaseContext, PhaseType
from agent.model.report import Report, ReportDetails, ReportGroup
from agent.model.status import Status
from agent.store.builds import Builds
from agent.store.database import Database
from agent.store.outbox import Outbox
from agent.store.queue import Queue
from agent.store.reports import Reports


class Recorder:
    """Stores builds. Every method returns the build as it is stored now; calling one again changes nothing."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._builds = Builds(database)
        self._reports = Reports(database)
        self._queue = Queue(database)
        self._outbox = Outbox(database)
        self._clock = clock
        self.successor: Callable[[Build], Build | None] = lambda _: None
        """Given a build that ends, stores the one that follows it by itself, if any; set once, by the daemon."""

    def add(self, build: Build) -> Build:
        """Store a new build in the queue; call it inside the transaction that numbered it."""
        build = build.evolve(submitted=Moment.of(self._clock))
        with self._database.transaction():
            self._builds.add(build)
            self._queue.add(build.id, build.project.name, build.source_ref, build.start_time)
            self._tell(build, "state", build.start_time)
        return build

    def enter(self, build: Build, phase: PhaseType, at: float | None = None) -> Build:
        """Store that the build is in *phase* now."""
        entered = build.entered(phase, at or self._clock.now())
        return build if entered is build else self.save(entered)

    def leave(
        self, build: Build, status: Status, context: PhaseContext | None = None, at: float | None = None
    ) -> Build:
        """Store how the current phase ended, and tell it."""
        when = at or self._clock.now()
        left = build.left(when, status, context)
        if left is build:
            return build
        if build.current_phase is PhaseType.QUEUED:
            left = left.evolve(set_out=Moment.of(self._clock))
        with self._database.transaction():
            self._builds.save(left)
            self._tell(left, "phase", when, build.current_phase)
        return left

    def save(self, build: Build) -> Build:
        """Store a change that nobody outside is told of."""
        self._builds.save(build)
        return build

    def reported(self, build: Build, made: Sequence[tuple[Report, ReportDetails]]) -> Build:
        """Store what the result files of a build say; reports that are there already are replaced."""
        if not made:
            return build
        changed = build.evolve(report_arns=tuple(report.arn for report, _ in made))
        with self._database.transaction():
            for report, details in made:
                self._reports.put(report, details)
            self._builds.save(changed)
        return changed

    def report_group(self, arn: str) -> ReportGroup | None:
        """Return the report group that an earlier build made, or None."""
        return self._reports.group(arn)

    def complete(self, build: Build, status: Status) -> Build:
        """Store the end of a build: COMPLETED, its status, out of the queue, told once."""
        if build.complete:
            return build
        at = self._clock.now()
        ended = build.entered(PhaseType.COMPLETED, at)
        ended = ended.evolve(status=status, end_time=ended.phases[-1].start_time, paused_since=None)
        with self._database.transaction(lasting=True):
            if following := self.successor(ended):
                ended = ended.evolve(auto_retry=ended.auto_retry.evolve(next=following.arn))
            self._builds.save(ended)
            self._queue.remove(ended.id)
            self._tell(ended, "state", at)
        return ended

    def _tell(self, build: Build, kind: str, at: float, completed: PhaseType | None = None) -> None:
        self._outbox.add(
            BuildEvent(kind="phase" if kind == "phase" else "state", at=at, build=build, completed_phase=completed)
        )
