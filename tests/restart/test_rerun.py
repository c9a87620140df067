"""A build that loses its container starts over where it may, in one log, whatever is killed meanwhile."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.model.cause import Cause
from agent.model.phase import PhaseType
from tests.restart.test_between_steps import assert_same, fresh, live, lives
from tests.restart.world import Mortals, World

EVERY = 120
"""Of the points at which a life can end, every so many-th is tried, beginning with one by chance."""
SEAM = "buildspecd: something outside the build killed its container; starting over (1 of 1)"


@pytest.fixture(scope="module")
def mortals() -> Iterator[Mortals]:
    found = Mortals()
    yield found
    found.close()


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    world = World(tmp_path_factory.mktemp("template"), reruns=1)
    yield world
    world.close()


def losing(template: World, place: Path, losses: int) -> World:
    """Return a world whose build loses so many containers."""
    world = fresh(template, place)
    world.engine.losses = losses
    return world


def test_killed_ahead_of_any_effect_a_build_that_starts_over_ends_as_if_nothing_had_been(
    mortals: Mortals, template: World, tmp_path: Path
) -> None:
    undisturbed = losing(template, tmp_path / "undisturbed", 1)
    assert live(mortals, undisturbed) == "SUCCEEDED"
    build, log = undisturbed.build, undisturbed.log.decode()
    assert (build.reruns, build.cause, undisturbed.left_behind()) == (1, None, [])
    before, _, after = log.partition(SEAM)
    assert [before.count(f"\n{phase} line 19 ***") for phase in ("INSTALL", "PRE_BUILD", "BUILD")] == [1, 1, 0]
    assert [after.count(f"\n{phase} line 19 ***") for phase in ("INSTALL", "PRE_BUILD", "BUILD")] == [1, 1, 1]
    assert [part.count("Entering phase BUILD\n") for part in (before, after)] == [1, 1]
    assert [part.count("Phases found in YAML: 4") for part in (before, after)] == [1, 1]
    queued, provisioning = build.phase(PhaseType.QUEUED), build.phase(PhaseType.PROVISIONING)
    assert queued
    assert provisioning
    assert provisioning.start_time == queued.end_time, "the time limit is that of all attempts"
    points = range(1 + random.SystemRandom().randrange(EVERY), 4000, EVERY)
    for point, world in lives(mortals, points, lambda: losing(template, tmp_path, 1)):
        if world.build.reruns:  # one that was killed ahead of the seam may have found the container dead by itself
            assert_same(world, undisturbed, f"killed at {point}")


def test_a_build_that_loses_more_containers_than_it_may_ends_with_the_cause(
    mortals: Mortals, template: World, tmp_path: Path
) -> None:
    world = losing(template, tmp_path, 2)
    assert live(mortals, world) == "FAULT"
    assert (world.build.reruns, world.build.cause) == (1, Cause.CONTAINER_KILLED)
    assert world.log.decode().count("starting over") == 1
    assert world.left_behind() == []
    world.close()
