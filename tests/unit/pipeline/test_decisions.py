"""The pure tables of the pipeline, whole: what a restart finds, what a dead container means, how a build stands."""

from __future__ import annotations

import itertools

import pytest

from agent.container.driver import Result
from agent.container.spec import ContainerState
from agent.errors import ContainerDied, ContainerLost
from agent.model.cause import Cause
from agent.model.phase import PhaseType
from agent.model.status import Status
from agent.pipeline.commands import Remedy, remedy
from agent.pipeline.deaths import Evidence, death, told
from agent.pipeline.job import verdict
from tests.unit.store.samples import NOON, a_build

RESULT = Result("completed", PhaseType.POST_BUILD, succeeding=True)


def state(
    *, running: bool = False, exit_code: int = 0, oom: bool = False, error: str = "", started: bool = True
) -> ContainerState:
    """Return how a container stands."""
    return ContainerState("c", running=running, started=started, exit_code=exit_code, oom_killed=oom, error=error)


STATES = {
    "running": state(running=True),
    "created": state(started=False),
    "ended": state(exit_code=137),
    "gone": None,
}


@pytest.mark.parametrize(
    ("result", "container", "began"), list(itertools.product([RESULT, None], STATES, [False, True]))
)
def test_a_restart_finds_a_remedy_for_everything(result: Result | None, container: str, began: bool) -> None:
    expected = {
        "running": (Remedy.FOLLOW, Remedy.FOLLOW),
        "created": (Remedy.START_OVER, Remedy.FAULT),
        "ended": (Remedy.START_OVER, Remedy.FAULT),
        "gone": (Remedy.START_OVER, Remedy.FAULT),
    }[container][began]
    assert remedy(result, STATES[container], began=began) is (Remedy.GO_ON if result else expected)


@pytest.mark.parametrize(
    ("found", "error", "code", "words"),
    [
        (None, ContainerLost, "CONTAINER_LOST", "it is gone"),
        (state(exit_code=137), ContainerLost, "CONTAINER_LOST", "exit status 137"),
        (state(exit_code=0), ContainerLost, "CONTAINER_LOST", "exit status 0"),
        (state(exit_code=255), ContainerLost, "CONTAINER_LOST", "the Docker engine was restarted"),
        (state(exit_code=1), ContainerLost, "CONTAINER_LOST", "exit status 1"),
        (state(exit_code=137, oom=True), ContainerDied, "OUT_OF_MEMORY", "ran out of memory"),
        (state(exit_code=127, oom=True), ContainerDied, "OUT_OF_MEMORY", "ran out of memory"),
        (state(exit_code=126), ContainerDied, "BUILD_CONTAINER_DIED", "exit status 126"),
        (state(exit_code=127), ContainerDied, "BUILD_CONTAINER_DIED", "exit status 127"),
        (state(exit_code=128, error="no such file"), ContainerDied, "BUILD_CONTAINER_DIED", "no such file"),
        (state(started=False), ContainerLost, "CONTAINER_LOST", "exit status 0"),
    ],
)
def test_a_dead_container_is_the_users_or_ours_and_says_why(
    found: ContainerState | None, error: type[ContainerDied | ContainerLost], code: str, words: str
) -> None:
    died = death(found)
    assert (type(died), died.code) == (error, code)
    assert died.message.startswith("Build container found dead before completing the build: ")
    assert words in died.message
    assert died.hint
    assert died.status is (Status.FAILED if error is ContainerDied else Status.FAULT)
    assert not died.retry


def test_a_driver_that_ran_and_ended_by_itself_found_no_room_on_the_host() -> None:
    assert death(state(exit_code=1), Evidence(began=True)).cause is Cause.HOST_DISK_FULL
    assert death(state(exit_code=2), Evidence(began=True)).cause is Cause.HOST_DISK_FULL
    assert death(state(exit_code=1)).cause is Cause.CONTAINER_KILLED
    assert death(state(exit_code=137), Evidence(began=True)).cause is Cause.CONTAINER_KILLED


def test_a_death_of_memory_names_whom_it_hit_as_far_as_that_is_known() -> None:
    whole = Evidence(victim="cc1plus (process 7 of the host)", command="make")
    assert death(state(oom=True), whole).message.endswith(
        "it ran out of memory: the kernel killed cc1plus (process 7 of the host); while running make"
    )
    assert told(Evidence(command="make")) == ", while running make"
    assert told(Evidence()) == ""


GRAVITY = [Status.STOPPED, Status.FAULT, Status.TIMED_OUT, Status.FAILED, Status.SUCCEEDED]


@pytest.mark.parametrize(("one", "other"), list(itertools.product(GRAVITY, repeat=2)))
def test_a_build_stands_as_its_gravest_phase_and_a_time_limit_is_a_failure(one: Status, other: Status) -> None:
    build = a_build().left(NOON, Status.SUCCEEDED)
    build = build.entered(PhaseType.INSTALL, NOON).left(NOON, one).entered(PhaseType.BUILD, NOON).left(NOON, other)
    gravest = min(one, other, key=GRAVITY.index)
    expected = {Status.TIMED_OUT: Status.FAILED, Status.SUCCEEDED: Status.IN_PROGRESS}.get(gravest, gravest)
    assert verdict(build) is expected


def test_a_forgiven_phase_does_not_count_and_the_others_do() -> None:
    build = a_build().left(NOON, Status.SUCCEEDED)
    build = build.entered(PhaseType.INSTALL, NOON).left(NOON, Status.FAILED).entered(PhaseType.BUILD, NOON)
    assert verdict(build, frozenset({PhaseType.INSTALL})) is Status.IN_PROGRESS
    assert verdict(build, frozenset({PhaseType.BUILD})) is Status.FAILED
