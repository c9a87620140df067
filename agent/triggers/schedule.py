"""Schedule: a clock asks for builds, when `agent.schedule` of a project says so (service.md 3.9)."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol

from agent.daemon.control import NextRun
from agent.errors import BuildspecdError, UserError
from agent.kit.clock import Clock
from agent.kit.logging import get_logger
from agent.kit.service import StopToken
from agent.model.project import Project, Schedule
from agent.model.request import BuildRequest
from agent.triggers import timetable
from agent.triggers.timetable import named

_log = get_logger("schedule")

LONGEST_SLEEP = 60.0
"""Seconds after which the clock is looked at again, since it may have been set."""
_SET_BACK = 60.0
"""Seconds by which a clock may be set back without any consequence: what was done is not done again."""


class Cursors(Protocol):
    """Texts under keys; inside of a transaction `set` is part of it."""

    def get(self, key: str) -> str | None: ...

    def set(self, key: str, value: str) -> None: ...


@dataclass(frozen=True)
class _Progress:
    """How far a schedule has come: `meaning` is what it said then, everything up to `through` is dealt with."""

    meaning: str
    born: float
    through: float


class Schedules:
    """A `Service`. Sleeps until the next tick of any schedule.

    Ticks that passed while the daemon was down are one build, after the start. A schedule that is new, or says
    something else than before, starts with the first tick from now on. The request and the progress are stored in one
    transaction, and the request has the tick in its `dedupe_key`: no tick is built twice, whatever clock or crash do.
    """

    name = "schedule"

    def __init__(
        self,
        *,
        projects: Callable[[], Iterable[Project]],
        submit: Callable[[BuildRequest], object],
        cursors: Cursors,
        transaction: Callable[[], AbstractContextManager[None]],
        clock: Clock,
    ) -> None:
        self._projects = projects
        self._submit = submit
        self._cursors = cursors
        self._transaction = transaction
        self._clock = clock
        self._awake = StopToken()
        self._planned: dict[str, tuple[Schedule, float | None]] = {}
        self._looked = 0.0

    def wake(self) -> None:
        """Look now: projects have changed, or the daemon ends. Any thread may call this."""
        self._awake.set()

    def run(self, stop: StopToken) -> None:
        """Ask for builds as they fall due, until *stop* is set and `wake` was called."""
        while True:
            awake = self._awake = StopToken()
            if stop.is_set:
                return
            self._clock.wait(self.turn(), awake)

    def turn(self) -> float:
        """Ask for what is due now; return the seconds until there is something to do. Raises what *submit* raises."""
        now = self._clock.now()
        if now < self._looked:
            self._planned.clear()  # the clock was set back
        self._looked = now
        failed: BuildspecdError | None = None
        known = self._planned
        self._planned = {}
        for project, name, schedule in self._all():
            key = _key(project.name, name)
            planned = known.pop(key, None)
            if planned is None or planned[0] != schedule or (planned[1] is not None and planned[1] <= now):
                try:
                    planned = (schedule, self._looked_at(project, name, schedule, now))
                except BuildspecdError as error:
                    failed = failed or error
                    continue
            self._planned[key] = planned
        if failed is not None:
            raise failed
        for key in known:
            self._cursors.set(key, "")  # it is gone: should it come back, it is new
        ticks = [at for _, at in self._planned.values() if at is not None]
        return max(0.0, min(LONGEST_SLEEP, min(ticks, default=math.inf) - now))

    def next_runs(self, project: Project) -> tuple[NextRun, ...]:
        """Return when each schedule of *project* is due next."""
        return tuple(self._next_runs(project))

    def _next_runs(self, project: Project) -> Iterator[NextRun]:
        now = self._clock.now()
        for name, one in named(project):
            progress = _decoded(self._cursors.get(_key(project.name, name)))
            born = progress.born if progress and progress.meaning == _meaning(one) else math.floor(now)
            yield NextRun(name, one.cron, one.timezone, timetable.parse(one.cron, one.timezone).next(now, born))

    def _all(self) -> Iterator[tuple[Project, str, Schedule]]:
        for project in list(self._projects()):
            for name, schedule in named(project):
                yield project, name, schedule

    def _looked_at(self, project: Project, name: str, schedule: Schedule, now: float) -> float | None:
        """Ask for a build if one is due; return the next tick."""
        key, table = _key(project.name, name), timetable.parse(schedule.cron, schedule.timezone)
        progress = _decoded(self._cursors.get(key))
        if progress is None or progress.meaning != _meaning(schedule):
            progress = _Progress(_meaning(schedule), math.floor(now), now)
            self._cursors.set(key, _encoded(progress))
        elif progress.through > now + _SET_BACK:
            _log.warning("the clock was set back, and the schedule with it", project=project.name, schedule=name)
            progress = _Progress(progress.meaning, min(progress.born, math.floor(now)), now)
            self._cursors.set(key, _encoded(progress))
        tick = table.next(progress.through, progress.born)
        if tick is None or tick > now:
            return tick
        self._ask(project, name, schedule, tick, _Progress(progress.meaning, progress.born, now))
        return table.next(now, progress.born)

    def _ask(self, project: Project, name: str, schedule: Schedule, tick: float, after: _Progress) -> None:
        request = request_for(project, name, schedule, tick)
        with self._transaction():
            try:
                self._submit(request)
            except UserError as error:  # the project is gone, or what it says makes no sense: the next tick may
                _log.warning("a schedule starts no build", project=project.name, schedule=name, error=error.message)
            self._cursors.set(_key(project.name, name), _encoded(after))


def request_for(project: Project, name: str, schedule: Schedule, tick: float) -> BuildRequest:
    """Return the request for one tick. Pure."""
    moment = datetime.fromtimestamp(tick, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    variables = [variable.wire() for variable in schedule.environment_variables]
    return BuildRequest(
        project=project.name,
        source_version=schedule.source_version,
        initiator=f"rule/{name}",
        dedupe_key=f"schedule:{project.name}:{name}:{moment}",
        overrides={"environmentVariablesOverride": variables} if variables else {},
    )


def _key(project: str, name: str) -> str:
    return f"schedule:{project}:{name}"


def _meaning(schedule: Schedule) -> str:
    return f"{schedule.cron} {schedule.timezone}"


def _encoded(progress: _Progress) -> str:
    return json.dumps({"is": progress.meaning, "born": progress.born, "through": progress.through})


def _decoded(text: str | None) -> _Progress | None:
    """Return what was stored; None for nothing, and for a text that is not ours."""
    try:
        content = json.loads(text or "")
        return _Progress(str(content["is"]), float(content["born"]), float(content["through"]))
    except (ValueError, TypeError, KeyError):
        return None
