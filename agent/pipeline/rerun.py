"""Rerun: a build whose container was lost by a fault starts over, under the same id and in the same log.

What is left of the attempt before is removed by `clear`, at the start of the new one: the count that is stored with the
build says which attempt that is, a file in its directory which one has been cleared for. So a daemon that is killed at
any moment leaves either the old attempt, to be found dead again, or the new one, to be gone on with.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from agent.container import driver
from agent.errors import BuildspecdError, ContainerLost
from agent.kit.files import write_atomic
from agent.kit.logging import get_logger
from agent.model.build import Build, CacheRecord
from agent.model.cause import EXPLANATIONS, LOST
from agent.model.phase import COMMAND_PHASES, PhaseType

if TYPE_CHECKING:
    from agent.pipeline.job import Job

_log = get_logger("pipeline")
UNBEGUN = 2
"""How often a build starts over of which no command had begun: nothing is lost by that, and no project is asked."""
_KEPT = (PhaseType.SUBMITTED, PhaseType.QUEUED)


class StartOver(Exception):
    """The container of a build was lost, and the build is to start over."""

    def __init__(self, error: BuildspecdError) -> None:
        super().__init__(error.message)
        self.error = error


def limit(build: Build) -> int:
    """Return how often *build*, as it stands, may start over: its commands run twice only where the project says so.

    Pure. A build that was started over counts all of its attempts.
    """
    allowed = build.project.agent.rerun_lost
    began = any(phase.phase_type in COMMAND_PHASES for phase in build.phases)
    return allowed if began else max(allowed, UNBEGUN)


def is_wanted(job: Job, error: BuildspecdError) -> bool:
    """Whether the loss that *error* tells of is made good by starting over; it is not once the build should end."""
    lost = isinstance(error, ContainerLost) and error.cause in LOST
    return lost and job.build.cause is None and job.build.reruns < limit(job.build) and not job.unwanted


def begin(job: Job, error: BuildspecdError) -> None:
    """Have *job* start over: a seam in the log, and the build is ahead of PROVISIONING again, as it is stored now."""
    build = job.build
    number, most = build.reruns + 1, limit(build)
    _log.warning("starting a build over", build=build.id, number=number, limit=most, error=error.message)
    job.transcript.begin(f"start over {number}")
    job.say(f"buildspecd: {EXPLANATIONS[error.cause].meaning}; starting over ({number} of {most})")
    if job.prefetch is not None:
        job.prefetch.abandon()
    job.start_anew(job.recorder.save(anew(build)))


def anew(build: Build) -> Build:
    """Return *build* as it stood before PROVISIONING, with one attempt more to its name; its commit stays. Pure.

    PROVISIONING begins again when the queue was left: the time limit is that of all attempts together.
    """
    return build.evolve(
        phases=tuple(phase for phase in build.phases if phase.phase_type in _KEPT),
        steps_done=(),
        cache=CacheRecord(),
        paused_since=None,
        reruns=build.reruns + 1,
    )


def clear(job: Job, reclaim: Callable[[Job, Path], None]) -> None:
    """Remove what the attempt before has left, all but its log and its masks. Does nothing when that is done.

    *reclaim* removes a tree that the build may have written as root.
    """
    done = job.paths.scratch / "attempt"
    attempt = str(job.build.reruns).encode()
    if not job.build.reruns or (done.exists() and done.read_bytes() == attempt):
        return
    if dead := job.container or job.tools.engine.find(job.build.id):
        job.tools.engine.remove(dead)
    job.container = None
    for entry in list(job.paths.control.iterdir()) if job.paths.control.is_dir() else ():
        if entry.is_dir() and not entry.is_symlink():
            reclaim(job, entry)
        elif entry.name != "output" or entry.is_symlink() or not entry.is_file():
            entry.unlink(missing_ok=True)  # the output stays: the log has come to its end, and goes on from there
    reclaim(job, job.paths.workspace)
    (job.paths.handed / driver.ENVIRONMENT_FILE).unlink(missing_ok=True)
    job.paths.plan.unlink(missing_ok=True)
    reclaim(job, job.paths.scratch)
    job.paths.scratch.mkdir(parents=True, mode=0o700)
    write_atomic(done, attempt, sync=False)


def step_title(job: Job, step: str) -> str:
    """Return the name under which *step* speaks in the log: each attempt says all of its lines."""
    return f"{step}, attempt {job.build.reruns + 1}" if job.build.reruns else step
