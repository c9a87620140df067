"""A disk that is full in the middle of a step: the build ends as one that found no room, and nothing breaks on that."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from agent.app.workshop import Workshop
from agent.daemon.estate import Estate
from agent.kit.service import StopToken
from agent.model.cause import Cause
from agent.model.phase import PhaseType
from agent.model.status import Status
from agent.pipeline.job import Job
from agent.pipeline.route import ROUTE, Step, travel
from agent.settings.schema import Settings
from agent.store.builds import Builds
from tests.restart.mortal import SECRET
from tests.restart.world import World


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    found = World(tmp_path)
    yield found
    found.close()


@contextmanager
def taken_up(world: World) -> Iterator[Job]:
    """Yield the job of the world's build, as a daemon would make it."""
    settings = Settings(state_dir=world.state, runtime_dir=world.state / "runtime")
    workshop = Workshop(settings, Estate.at(world.state, world.state / "runtime"))
    workshop.engine = world.engine  # type: ignore[assignment]
    workshop.__dict__["tools"] = replace(workshop.tools, parameters=lambda names: dict.fromkeys(names, SECRET))
    build = Builds(workshop.database).get(world.build_id)
    assert build is not None
    yield workshop.new_job(build, StopToken())
    workshop.database.close()


def with_one(name: str, run: Callable[[Job], None], route: Sequence[Step] = ROUTE) -> tuple[Step, ...]:
    """Return the route with another step of that name."""
    return tuple(replace(step, run=run) if step.name == name else step for step in route)


def no_room(_: Job) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/var/lib/buildspecd/a-file")


@pytest.mark.parametrize("step", [step.name for step in ROUTE])
def test_wherever_the_disk_is_full_the_build_says_so_and_no_step_breaks(step: str, world: World) -> None:
    with taken_up(world) as job:
        assert travel(job, with_one(step, no_room)) is Status.FAULT
    build = world.build
    told = [context.message for phase in build.phases for context in phase.contexts if context.message]
    assert (build.cause, told) == (Cause.HOST_DISK_FULL, ["/var/lib/buildspecd/a-file: no space left on the host"])
    assert build.complete


def test_steps_that_would_read_what_was_given_up_are_not_taken_any_more(world: World) -> None:
    taken: list[Job] = []
    with taken_up(world) as job:
        travel(job, with_one("artifacts", no_room, with_one("reports", taken.append)))
    assert taken == []
    ended = world.build.phase(PhaseType.UPLOAD_ARTIFACTS)
    assert ended is not None
    assert ended.phase_status is Status.FAULT


def test_a_red_build_that_ends_as_a_fault_is_one_for_the_cause_of_that(world: World) -> None:
    with taken_up(world) as job:
        job.blame(Cause.COMMAND_NOT_FOUND, "look")
        job.blame(Cause.ARTIFACTS_MISSING, "later")
        assert (job.build.cause, job.build.advice) == (Cause.COMMAND_NOT_FOUND, "look")
        job.blame(Cause.HOST_DISK_FULL, "free some", Status.FAULT)
        assert (job.build.cause, job.build.advice) == (Cause.HOST_DISK_FULL, "free some")
        job.blame(Cause.CONTAINER_KILLED, status=Status.FAULT)
        assert job.build.cause is Cause.HOST_DISK_FULL
        job.transcript.leave()
