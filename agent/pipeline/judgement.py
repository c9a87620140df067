"""Judgement: what it means how a driver has ended, and how a phase did, by its journal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.container import driver
from agent.container.journal import Failure, JournalReader, PhaseEnded, phase_context
from agent.errors import BuildspecInvalid, ContainerDied, UserError
from agent.model.cause import Cause
from agent.model.phase import PhaseContext, PhaseType
from agent.model.status import Status
from agent.pipeline import deaths, runtimes
from agent.pipeline.deaths import Evidence
from agent.pipeline.job import Job

if TYPE_CHECKING:
    from agent.pipeline.commands import Watch

_NO_COMMAND = (126, 127)


def outcome_of(job: Job, phase: PhaseType) -> tuple[Status, PhaseContext]:
    """Return how the driver ended *phase*, by its journal."""
    for event in JournalReader(job.paths.control).read():
        if isinstance(event, PhaseEnded) and event.phase is phase:
            return ended(job, event)
    return Status.FAULT, PhaseContext(status_code="CONTAINER_LOST", message=f"{phase} did not end")


def why(failure: Failure) -> tuple[Cause, str]:
    """Return the cause of a phase that failed, and advice where that of the cause is too general. Pure."""
    if failure.reason == "no-user":
        return Cause.BUILDSPEC_INVALID, "create the user of run-as in the build image, or name another one"
    if failure.reason == "no-switch":
        return Cause.IMAGE_UNUSABLE, "install setpriv or su in the build image, or do without run-as"
    return (Cause.COMMAND_NOT_FOUND if failure.status in _NO_COMMAND else Cause.COMMAND_FAILED), ""


def ended(job: Job, event: PhaseEnded) -> tuple[Status, PhaseContext]:
    """Return how a phase ended, by the event that tells of it."""
    context = phase_context(job.plan.phases, event)
    return (Status.FAILED if event.failure else Status.SUCCEEDED), context


def judge(job: Job, watch: Watch) -> None:
    """Turn what the driver could not say by phases into an error, and point at memory where that was the reason."""
    result = driver.read_result(job.paths.control)
    _refuse(job, watch)
    if result is not None and result.outcome == "stopped":
        job.check()  # by us, in the life before this one
        raise deaths.stopped(watch.evidence(watch.last_state()))
    if result is None or result.outcome == "refused":
        raise ContainerDied(f"the build ended before its commands did: {driver.read_diagnostics(job.paths.control)}")
    if not result.succeeding:
        state = watch.last_state()
        found = watch.evidence(state)
        if (state is not None and state.oom_killed) or found.victim:  # a busy engine may miss what the kernel says
            _blame_memory(job, found)


def _blame_memory(job: Job, found: Evidence) -> None:
    """Say that memory ran out, and take it for the cause of a command that failed: it says more than that."""
    hit = deaths.told(found)
    job.say(f"A process of this build was killed because the container ran out of memory{hit}")
    advice = f"a process ran out of memory{hit}: raise environment.computeType or agent.resources.memory"
    if job.build.cause in (None, Cause.COMMAND_FAILED, Cause.COMMAND_NOT_FOUND):
        job.build = job.recorder.save(job.build.evolve(cause=Cause.OUT_OF_MEMORY, advice=advice))


def _refuse(job: Job, watch: Watch) -> None:
    """Raise what it means that the driver has ended ahead of INSTALL because of a problem."""
    if watch.problem == "runtime":
        texts = runtimes.kept(job)
        text = texts[watch.problem_at - 1] if 0 < watch.problem_at <= len(texts) else ""
        raise UserError(
            f"Error while executing command: {text}. Reason: exit status {watch.problem_status}",
            code="COMMAND_EXECUTION_ERROR",
            hint="a command of the build image that sets up a runtime failed: look at the log",
            cause=Cause.RUNTIME_SETUP_FAILED,
        )
    if watch.problem == "no-shell":
        raise BuildspecInvalid(
            f"env.shell: {job.plan.shell} is not in the build image", hint="install it, or use /bin/sh"
        )
