"""The route: what happens to a build, in order, and what of it still happens once something has gone wrong."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum, auto

from agent.errors import BuildspecdError, DiskFull, Unavailable
from agent.kit.files import NO_SPACE
from agent.kit.heed import go_on, heeding
from agent.kit.logging import get_logger
from agent.model.build import Build
from agent.model.cause import Cause
from agent.model.phase import Phase, PhaseContext, PhaseType
from agent.model.status import Status
from agent.pipeline import rerun, steps
from agent.pipeline.job import Cut, Job, LetGo, gravest
from agent.pipeline.rerun import StartOver

_log = get_logger("pipeline")

REST_SECONDS = 0.5
JITTER = 0.25
"""By how much of itself a pause may be longer."""


class When(Enum):
    """Which builds take a step."""

    GREEN = auto()
    """Only while nothing has gone wrong."""
    RAN_POST_BUILD = auto()
    """As soon as POST_BUILD was entered, red or not."""
    UPLOADS = auto()
    """When the commands came to their end without a cut or an ABORT (buildspec.md 4.2)."""
    ALWAYS = auto()


@dataclass(frozen=True)
class Step:
    """One station. `run` can be called twice: it looks for its finished work, then attaches, then starts.

    The step happens inside `phase`; with `closes` that phase ends with the step, and `outcome` says how.
    """

    name: str
    run: Callable[[Job], None]
    phase: PhaseType
    when: When = When.GREEN
    closes: bool = False
    defers: bool = False
    """Whether what goes wrong in it is kept until a later step closes the phase, which is taken all the same."""
    outcome: Callable[[Job], tuple[Status, PhaseContext]] = steps.succeeded
    attaches: bool = False
    """Whether it may find its work under way, and must look at that before it heeds a stop or a time limit."""


ROUTE: tuple[Step, ...] = (
    Step("provision", steps.provision, PhaseType.PROVISIONING, closes=True),
    Step("check out", steps.check_out, PhaseType.DOWNLOAD_SOURCE),
    Step("environment", steps.resolve_environment, PhaseType.DOWNLOAD_SOURCE),
    Step("restore cache", steps.restore_cache, PhaseType.DOWNLOAD_SOURCE, closes=True),
    Step("run phases", steps.run_phases, PhaseType.INSTALL, attaches=True),
    Step(
        "save cache",
        steps.save_cache,
        PhaseType.POST_BUILD,
        When.RAN_POST_BUILD,
        closes=True,
        outcome=steps.post_build_outcome,
    ),
    Step("artifacts", steps.upload_artifacts, PhaseType.UPLOAD_ARTIFACTS, When.UPLOADS, defers=True),
    Step("reports", steps.collect_reports, PhaseType.UPLOAD_ARTIFACTS, When.UPLOADS, closes=True),
    Step("finish", steps.finish, PhaseType.FINALIZING, When.ALWAYS, closes=True),
)


def travel(job: Job, route: Sequence[Step] = ROUTE) -> Status:
    """Take *job* along *route* and return how it ended; a step done before a restart is not done again.

    Raises `LetGo` when the daemon ends first; the build stays as it is.
    """
    while True:
        try:
            walk(job, route)
            break
        except StartOver as lost:
            rerun.begin(job, lost.error)
            rest(job, pause_before(job, job.build.reruns - 1))
    status = job.verdict
    green = status is Status.IN_PROGRESS
    if green:
        job.build = job.build.evolve(cause=None)  # what went wrong was forgiven
    else:
        job.blame(Cause.INTERNAL_ERROR)  # total: whatever ends badly without a word is ours
    job.build = job.recorder.complete(job.build, Status.SUCCEEDED if green else status)
    return job.build.status


def walk(job: Job, route: Sequence[Step]) -> None:
    """Take the steps of *route* that are not done. Raises `StartOver` when they are to be taken from the beginning."""
    for step in route:
        if step.name in job.build.steps_done or not wanted(step.when, job):
            continue
        try:
            take(step, job)
        except DiskFull as error:
            give_up(job, error, route)


def take(step: Step, job: Job) -> None:
    """Do *step*, and store that and how it was done. Raises `LetGo`, and `DiskFull` when there is no room to go on."""
    if shows(step.phase, job.build):
        job.build = job.recorder.enter(job.build, step.phase)
    ended = attempt(step, job) or (step.outcome(job) if step.closes else None)
    job.build = done = job.build.evolve(steps_done=(*job.build.steps_done, step.name))
    if ended and step.defers:
        job.build = done = done.troubled(*ended)
    elif ended:
        close(job, *ended)
    if job.build is done:
        job.build = job.recorder.save(done)


def give_up(job: Job, error: DiskFull, route: Sequence[Step]) -> None:
    """End a build that found no room on the disk. Its own files go first: without room its end could not be stored.

    Steps that would read those are not taken any more.
    """
    _log.error("the disk is full, giving up a build", build=job.build.id, error=error.message)
    steps.make_room(job)
    over = (step.name for step in route if step.when is not When.ALWAYS and step.name not in job.build.steps_done)
    job.build = job.build.evolve(steps_done=(*job.build.steps_done, *over))
    if job.build.phases[-1].end_time is not None:
        job.build = job.recorder.enter(job.build, PhaseType.FINALIZING)
    close(job, *explained(job, error))


def shows(phase: PhaseType, build: Build) -> bool:
    """Whether *build* meets *phase*: one that was not provisioned goes straight to COMPLETED (buildspec.md 4.2)."""
    provisioned = build.phase(PhaseType.PROVISIONING)
    return phase is not PhaseType.FINALIZING or not provisioned or provisioned.phase_status is Status.SUCCEEDED


def wanted(when: When, job: Job) -> bool:
    """Whether a build that stands as *job* does takes a step of this kind."""
    if when is When.ALWAYS:
        return True
    if when is When.GREEN:
        return job.verdict is Status.IN_PROGRESS
    if when is When.RAN_POST_BUILD:
        return job.build.current_phase is PhaseType.POST_BUILD and job.build.phases[-1].end_time is None
    return steps.uploads_follow(job)


def attempt(step: Step, job: Job) -> tuple[Status, PhaseContext] | None:
    """Run *step*, again after a pause while its fault may pass; return how its phase ends if it went wrong."""
    title = rerun.step_title(job, step.name)
    for turn in range(len(job.tools.retry_pauses) + 1):
        job.transcript.begin(title)
        try:
            if step.when is not When.ALWAYS and not step.attaches:
                job.check()
            with heeding(go_on if step.when is When.ALWAYS else job.check), room_wanted():
                step.run(job)
        except (LetGo, DiskFull):
            raise
        except Cut as cut:
            job.blame(cut.cause)
            return cut.status, cut.context
        except BuildspecdError as error:
            pause = pause_before(job, turn, error)
            if error.retry and turn < len(job.tools.retry_pauses) and step.when is not When.ALWAYS and fits(job, pause):
                _log.warning("step failed, trying again", build=job.build.id, step=step.name, error=error.message)
                job.transcript.begin(f"{title}, again")  # its own lines: those of the step are not said twice
                job.say(f"{error.message}; trying again in {pause:.2g} s")
                rest(job, pause)
                continue
            if step.when is When.GREEN and rerun.is_wanted(job, error):
                raise StartOver(error) from error
            return explained(job, error)
        except Exception as error:  # noqa: BLE001 - edge 2 of 4: a bug in one step must not skip those that always run
            _log.exception("a step broke", build=job.build.id, step=step.name)
            job.blame(Cause.INTERNAL_ERROR, status=Status.FAULT)
            return Status.FAULT, PhaseContext(status_code="INTERNAL_ERROR", message=f"{step.name}: {error!r}")
        return None
    return None


@contextmanager
def room_wanted() -> Iterator[None]:
    """Turn what the system says of a full disk into `DiskFull`; any file of a step's may be the one without room."""
    try:
        yield
    except OSError as error:
        if error.errno not in NO_SPACE:
            raise
        raise DiskFull(
            f"{error.filename or 'a file of the build'}: no space left on the host", hint="free some disk space"
        ) from error


def pause_before(job: Job, turn: int, error: BuildspecdError | None = None) -> float:
    """Return the seconds to wait ahead of another try, the first being turn 0: longer each time, never the same for
    all builds of a host, and as long as the other side has asked for."""
    pauses = job.tools.retry_pauses or (0.0,)
    asked = error.retry_after if isinstance(error, Unavailable) else None
    return max(pauses[min(turn, len(pauses) - 1)] * random.uniform(1, 1 + JITTER), asked or 0.0)  # noqa: S311


def fits(job: Job, pause: float) -> bool:
    """Whether the build still has time after *pause*; else it ends now, and by what is wrong."""
    return pause < job.time_left


def rest(job: Job, seconds: float) -> None:
    """Pause; a build that is not to go on does not wait for the end of it."""
    until = job.tools.clock.monotonic() + seconds
    while (left := until - job.tools.clock.monotonic()) > 0:
        if job.unwanted or job.tools.clock.wait(min(left, REST_SECONDS), job.letting_go):
            return


def explained(job: Job, error: BuildspecdError) -> tuple[Status, PhaseContext]:
    """Keep the cause of *error* and its advice, and return how the phase ends."""
    job.blame(error.cause, error.hint, error.status)
    return error.status, PhaseContext(status_code=error.code, message=error.message)


def together(phase: Phase, status: Status, context: PhaseContext) -> tuple[Status, PhaseContext]:
    """Return how *phase* ends: so, and with what an earlier step of it had kept. Pure."""
    if phase.phase_status is None:
        return status, context
    told = list(dict.fromkeys(item for item in (*phase.contexts, context) if item.message))
    if not told:
        return gravest({phase.phase_status, status}), phase.contexts[0]
    message = "; ".join(dict.fromkeys(item.message for item in told))
    return gravest({phase.phase_status, status}), PhaseContext(status_code=told[0].status_code, message=message)


def close(job: Job, status: Status, context: PhaseContext) -> None:
    """End the current phase, in the log and in the record; one that has ended stays as it is."""
    phase = job.build.phases[-1]
    if phase.end_time is None:
        status, context = together(phase, status, context)
        steps.say_phase_end(job, job.build.current_phase, status, context)
        job.build = job.recorder.leave(job.build, status, context)
