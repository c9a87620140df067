"""Commands: the part of the route that the driver walks by itself, inside the container, while we only read."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum, auto
from pathlib import Path
from typing import TypeVar

from agent.buildspec.make import DEFAULT_SHELL
from agent.buildspec.plan import ArtifactPlan, Plan, ReportPlan
from agent.container import breakpoints, driver
from agent.container.driver import DriverPlan, Expansion, Result, SetUp
from agent.container.journal import (
    CommandEnded,
    CommandStarted,
    Failure,
    JournalEvent,
    JournalReader,
    Moved,
    PhaseEnded,
    PhaseStarted,
    Prepared,
    ProblemFound,
    command_text,
)
from agent.container.spec import ContainerState
from agent.environment.resolve import Choices, choose, exportable
from agent.errors import ContainerDied, ContainerLost, EngineUnavailable, Unavailable
from agent.kit.logging import get_logger
from agent.model.cause import Cause
from agent.model.phase import PhaseType
from agent.pipeline import deaths, localcache, logins
from agent.pipeline.deaths import Evidence
from agent.pipeline.job import Cut, Job
from agent.pipeline.judgement import ended, judge, why
from agent.pipeline.places import MOUNTED, source_dirs

_log = get_logger("pipeline")
T = TypeVar("T")
LOOK_SECONDS = 0.02
"""Pause between two looks at journal and result; bounds how late the end of a build is seen."""
EXIT_SECONDS = 20.0
"""Longest time between a driver's result and the end of its container; the engine of a busy host may be late to say."""
DISCOVERY = "discovery"
"""Name of the expansion that says whether and where result files are looked for."""
INSPECT_SECONDS = 1.0
"""Pause between two questions to the engine whether the container still lives."""

DOCKER_ROOT = Path("/var/lib/docker")
"""Where the engine keeps what containers write, unless it was told otherwise; looked at only where it is there."""
_FRESH_SECONDS = 5.0
"""How old news of a command may be for the disk to be asked about it."""
_KILLED = 137


class Remedy(Enum):
    """What to do with a build whose commands should run."""

    GO_ON = auto()
    """The driver has ended in order: read what it left."""
    FOLLOW = auto()
    """The container runs: release the driver unless it has begun, and follow it."""
    FAULT = auto()
    """It had begun, and is dead or gone without a result."""
    START_OVER = auto()
    """Nothing of the user's was started, so nothing is lost by starting over."""


def remedy(result: Result | None, state: ContainerState | None, *, began: bool) -> Remedy:
    """Decide by result file, container and journal: the table of what a restart finds. Pure and total."""
    if result is not None:
        return Remedy.GO_ON
    if state is not None and state.running:
        return Remedy.FOLLOW
    return Remedy.FAULT if began else Remedy.START_OVER


def choices_of(job: Job) -> Choices:
    """Return which variable wins each name; nothing is resolved."""
    project = job.build.project.environment.environment_variables
    return choose(job.build.overrides, project, job.plan.variables)


def write_plan(job: Job, set_up: Sequence[SetUp] = (), gitconfig: str = "") -> None:
    """Write what the driver needs to know; it reads it when it is told to go. *set_up* makes the runtimes ready."""
    plan, places = job.plan, source_dirs(job.build)
    for warning in exportable(plan.variables.exported, choices_of(job))[1]:
        job.say(f"warning: {warning}")
    driver.write_plan(
        job.paths.control,
        DriverPlan(
            phases=plan.phases,
            source_dir=places[None].container,
            workspace=f"{job.build.source_root}/{MOUNTED}",
            clock_base=driver.clock_base(job.tools.clock),
            shell=plan.shell,
            isolated=plan.version == "0.1",
            checkouts=tuple(place.container for place in places.values()),
            owner=job.tools.owner,
            gopath=job.build.source_root,
            set_up=tuple(set_up),
            gitconfig=gitconfig,
            before=before_expansions(job),
            cached=localcache.TARGET if localcache.keeps_custom(job.build.project) else "",
            after=after_expansions(job),
            hold=holds(plan),
        ),
    )


def cache_expansions(plan: Plan) -> tuple[Expansion, ...]:
    """Return what has to be expanded before the cache is restored."""
    if plan.cache is None:
        return ()
    paths = [Expansion.of_variables(f"path {index}", path) for index, path in enumerate(plan.cache.paths)]
    key = [Expansion.of_shell("key", plan.cache.key)] if plan.cache.key else []
    fallback = [Expansion.of_shell(f"fallback {i}", text) for i, text in enumerate(plan.cache.fallback_keys)]
    return (*paths, *key, *(fallback if key else ()))


def before_expansions(job: Job) -> tuple[Expansion, ...]:
    """Return all that the driver evaluates ahead of INSTALL. A LOCAL cache has no keys: they are not evaluated."""
    local = job.build.project.cache.type == "LOCAL"
    found = (item for item in cache_expansions(job.plan) if not local or item.name.startswith("path "))
    return (*found, *localcache.links(job))


def holds(plan: Plan) -> bool:
    """Whether the driver waits before INSTALL: for its expansions, the runtimes, or as the image may lack the shell."""
    return bool(cache_expansions(plan) or plan.runtime_versions) or plan.shell != DEFAULT_SHELL


def after_expansions(job: Job) -> tuple[Expansion, ...]:
    """Return what is evaluated after POST_BUILD: texts of artifacts and reports, values of exported variables."""
    allowed, _ = exportable(job.plan.variables.exported, choices_of(job))
    exports = (Expansion.of_variable(f"export {name}", name) for name in allowed)
    return (*artifact_expansions(job.plan), *exports, *report_expansions(job.plan))


def report_expansions(plan: Plan) -> tuple[Expansion, ...]:
    """Return what has to be expanded before result files are chosen; a text without variables means itself.

    Without a section `reports` it is whether and where result files are looked for (buildspec.md 12.3).
    """
    if not plan.reports:
        switch = "$CODEBUILD_CONFIG_AUTO_DISCOVER:$CODEBUILD_CONFIG_AUTO_DISCOVER_DIR"
        return (Expansion.of_variables(DISCOVERY, switch),)
    return tuple(
        Expansion.of_variables(f"report {index} {name}", text)
        for index, report in enumerate(plan.reports)
        for name, text in report_texts(report).items()
        if "$" in text
    )


def report_texts(report: ReportPlan) -> dict[str, str]:
    """Return the texts of a report group in which variables count, by name (buildspec.md 2.4)."""
    files = {f"file {index}": text for index, text in enumerate(report.files)}
    return {"group": report.group, "format": report.file_format, "base": report.base_directory or "", **files}


def artifact_expansions(plan: Plan) -> tuple[Expansion, ...]:
    """Return what has to be expanded before artifacts are chosen (buildspec.md 2.4)."""
    return tuple(
        expansion
        for artifact in (plan.artifacts, *plan.secondary_artifacts)
        if artifact is not None
        for expansion in _of_artifact(artifact)
    )


def _of_artifact(artifact: ArtifactPlan) -> list[Expansion]:
    owner = artifact.identifier or ""
    found = [Expansion.of_variables(f"{owner} file {i}", text) for i, text in enumerate(artifact.files)]
    found += [Expansion.of_variables(f"{owner} exclude {i}", text) for i, text in enumerate(artifact.exclude_paths)]
    if artifact.base_directory:
        found.append(Expansion.of_variables(f"{owner} base", artifact.base_directory))
    if artifact.s3_prefix:
        found.append(Expansion.of_variables(f"{owner} prefix", artifact.s3_prefix))
    if artifact.name:
        found.append(Expansion.of_shell(f"{owner} name", artifact.name))
    return found


def run(job: Job, start_over: Callable[[Job], None]) -> None:
    """Let the driver go, or attach to it, and follow it to its end; *start_over* makes a container that never began."""
    watch = Watch(job, JournalReader(job.paths.control))
    with carried(job, watch):
        state = watch.state()  # before what the driver wrote: one that ends in between has written all of it
        watch.read_journal()
        decision = remedy(driver.read_result(job.paths.control), state, began=watch.started)
        if decision is not Remedy.GO_ON and not watch.started:
            job.check()
        if decision is Remedy.START_OVER:
            start_over(job)
            job.transcript.follow()  # again, as the preparation has let go of it
            watch = Watch(job, JournalReader(job.paths.control))
        if decision is Remedy.FAULT:
            job.check()  # a daemon that was killed while it ended the build goes on with that
            raise watch.death(watch.state())
        if decision is not Remedy.GO_ON:
            _release(job, watch)
            watch.until(lambda: driver.read_result(job.paths.control) is not None)
    judge(job, watch)


@contextmanager
def carried(job: Job, watch: Watch) -> Iterator[None]:
    """Carry what the container prints into the log, all of it before going on; end the container of a build cut off."""
    job.transcript.follow()
    try:
        yield
    except Cut as cut:
        driver.stop(job.paths.control)
        grace = job.tools.stop_grace if cut.grace is None else cut.grace
        try:
            job.tools.engine.terminate(job.container or "", grace)
        except EngineUnavailable as error:  # the build is over without it, and the janitor ends its container
            _log.warning("a container that was to end may still run", build=job.build.id, error=error.message)
        raise
    finally:
        if not job.letting_go.is_set:
            watch.read_journal()
            job.transcript.drained()


def lives(job: Job) -> bool:
    """Whether the container of *job* runs, or its driver has ended in order and left word why."""
    state = Watch(job, JournalReader(job.paths.control)).state()  # ahead of the result, as in `run`
    return (state is not None and state.running) or driver.read_result(job.paths.control) is not None


def _release(job: Job, watch: Watch) -> None:
    if holds(job.plan):
        watch.until(lambda: driver.go(job.paths.control))
        watch.until(lambda: watch.prepared)
        watch.until(lambda: driver.resume(job.paths.control))
    else:
        watch.until(lambda: driver.go(job.paths.control))


@dataclass
class Watch:
    """Reads the journal of a running build, and asks now and then whether its container lives."""

    job: Job
    journal: JournalReader
    started: bool = False
    prepared: bool = False
    problem: str = ""
    problem_at: int = 0
    problem_status: int = 0
    moved: float | None = None
    running: CommandStarted | None = None
    killed: CommandEnded | None = None
    """The last command that ended by SIGKILL."""
    renewed: float = -math.inf

    def until(self, reached: Callable[[], bool]) -> None:
        """Wait until *reached*, recording what happens meanwhile. Raises `Cut`, `LetGo`, and what a dead one means."""
        clock = self.job.tools.clock
        next_look = clock.monotonic() + INSPECT_SECONDS
        while not reached():
            self.read_journal()
            self.job.check()
            if clock.monotonic() >= next_look:
                self._see_that_it_lives()
                next_look = clock.monotonic() + INSPECT_SECONDS
            if clock.monotonic() >= self.renewed + logins.REFRESH_SECONDS:
                logins.renew(self.job)
                self.renewed = clock.monotonic()
            clock.wait(LOOK_SECONDS, self.job.letting_go)

    def read_journal(self) -> None:
        """Record the events that are new."""
        while events := self.journal.read():
            for event in events:
                self._take(event)

    def _take(self, event: JournalEvent) -> None:
        job = self.job
        if isinstance(event, Prepared):
            self.prepared = True
        elif isinstance(event, ProblemFound):
            self.problem, self.problem_at, self.problem_status = event.reason, event.index, event.status
        elif isinstance(event, Moved):
            self.moved = event.said_at
        elif isinstance(event, CommandStarted):
            self.running = event
        elif isinstance(event, CommandEnded):
            self.killed = event if event.status == _KILLED else self.killed
        elif isinstance(event, PhaseStarted):
            self.started = True
            job.build = job.recorder.enter(job.build, event.phase, event.at)
        elif isinstance(event, PhaseEnded):
            if event.failure and event.phase not in job.forgiven:
                job.blame(*self._why(event.failure, event.at))
            if self._closes(event.phase):
                job.build = job.recorder.leave(job.build, *ended(job, event), event.at)

    def _why(self, failure: Failure, at: float) -> tuple[Cause, str]:
        """Return cause and advice of a phase that failed; whether the disk is full is seen only while it is."""
        fresh = self.job.tools.clock.now() - at < _FRESH_SECONDS
        places = {"state_dir": self.job.paths.root, "the Docker engine": DOCKER_ROOT}
        if failure.status and fresh and (full := deaths.disk_is_full(places)):
            return Cause.HOST_DISK_FULL, f"free some disk space: the disk of {full} was full when the command failed"
        return why(failure)

    def death(self, state: ContainerState | None) -> ContainerDied | ContainerLost:
        """Return what it means that the container has ended, or is gone, without a result."""
        return deaths.death(state, self.evidence(state))

    def evidence(self, state: ContainerState | None) -> Evidence:
        """Return what else is known of a container that stands like that."""
        command = self.killed or self.running
        text = command_text(self.job.plan.phases, command) if command and self.job.has_plan else ""
        return self._patiently(lambda: deaths.evidence(self.job, state, text, began=self.started))

    def _see_whether_it_pauses(self) -> None:
        build = self.job.build
        if build.project.agent.debug and breakpoints.is_paused(self.job.paths.control) != bool(build.paused_since):
            since = None if build.paused_since else self.job.tools.clock.now()
            self.job.build = self.job.recorder.save(build.evolve(paused_since=since))

    def _closes(self, phase: PhaseType) -> bool:
        """Whether the end of *phase* is to be recorded now: POST_BUILD stays open until the cache has been saved."""
        return phase is not PhaseType.POST_BUILD and self.job.build.current_phase is phase

    def state(self) -> ContainerState | None:
        """Return how the container stands; waits for an engine that does not answer, for the build may well go on."""
        return self._patiently(self._ask)

    def _ask(self) -> ContainerState | None:
        engine = self.job.tools.engine
        self.job.container = self.job.container or engine.find(self.job.build.id)
        return engine.inspect(self.job.container) if self.job.container else None

    def _patiently(self, ask: Callable[[], T]) -> T:
        """Return the engine's answer, as soon as there is one and unless the build is to end meanwhile."""
        job, clock = self.job, self.job.tools.clock
        while True:
            try:
                return ask()
            except Unavailable as error:
                _log.warning("the engine does not answer, waiting for it", build=job.build.id, error=error.message)
            job.check()
            clock.wait(INSPECT_SECONDS, job.letting_go)

    def last_state(self) -> ContainerState | None:
        """Return how a container stands whose result is there; its end follows at once, and with it the word on memory.

        While it runs the engine may not have been told yet that the kernel killed one of its processes.
        """
        job, clock = self.job, self.job.tools.clock
        end = clock.monotonic() + EXIT_SECONDS
        while (state := self.state()) and state.running and clock.monotonic() < end and not job.letting_go.is_set:
            clock.wait(LOOK_SECONDS, job.letting_go)
        return state

    def _see_that_it_lives(self) -> None:
        state = self.state()
        alive = state is not None and state.running
        self._see_whether_it_pauses()
        if not alive and driver.read_result(self.job.paths.control) is None:
            raise self.death(state)
