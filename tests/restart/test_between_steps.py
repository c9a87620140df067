"""The process of a build is killed ahead of every single thing that it does; the build must end as if nothing had been."""

from __future__ import annotations

import os
import random
import shutil
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from agent.kit.clock import SystemClock
from agent.model.status import Status
from tests.restart.world import SECRET, Mortals, World, outcome

PARTS = 6
"""The points are dealt out to so many tests, which run side by side."""


@pytest.fixture(scope="module")
def mortals() -> Iterator[Mortals]:
    found = Mortals()
    yield found
    found.close()


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory, mortals: Mortals) -> Iterator[World]:
    """A world before its build; its `place` holds the repository and the outside that all others use."""
    world = World(tmp_path_factory.mktemp("template"))
    yield world
    world.close()


@pytest.fixture(scope="module")
def undisturbed(template: World, mortals: Mortals, tmp_path_factory: pytest.TempPathFactory) -> World:
    """A world whose build was left alone."""
    world = fresh(template, tmp_path_factory.mktemp("undisturbed"))
    assert live(mortals, world) == "SUCCEEDED"
    assert world.left_behind() == []
    return world


def fresh(template: World, place: Path) -> World:
    """Return a world before its build, and an outside in which nothing has been stored."""
    shutil.rmtree(template.place / "outside", ignore_errors=True)
    return World(place / "world", template)


def live(mortals: Mortals, world: World, point: int = 0) -> str:
    """Live one life to its end."""
    mortals.start(world, point)
    return mortals.end()


def until(condition: Callable[[], bool], seconds: float = 10) -> bool:
    """Wait until *condition* holds; return whether it does in time."""
    clock, pause = SystemClock(), threading.Event()
    deadline = clock.monotonic() + seconds
    while not condition():
        if clock.monotonic() > deadline:
            return False
        pause.wait(0.005)
    return True


def points(part: int) -> Iterator[int]:
    return iter(range(1 + part, 2000, PARTS))


@pytest.mark.parametrize("part", range(PARTS))
def test_killed_ahead_of_any_effect_a_build_ends_as_if_nothing_had_been(
    part: int, mortals: Mortals, template: World, undisturbed: World, tmp_path: Path
) -> None:
    for point in points(part):
        world = fresh(template, tmp_path)
        survived = live(mortals, world, point)
        if not survived:
            assert live(mortals, world) == "SUCCEEDED", point
        assert_same(world, undisturbed, f"killed at {point}")
        world.close()
        if survived:
            return
    raise AssertionError("the build never survived")


def test_killed_again_and_again_a_build_ends_as_if_nothing_had_been(
    mortals: Mortals, template: World, undisturbed: World, tmp_path: Path
) -> None:
    seed = int(os.environ.get("RESTART_SEED") or random.SystemRandom().randrange(10**6))
    chance = random.Random(seed)
    for _ in range(4):
        world = fresh(template, tmp_path)
        deaths = [chance.randrange(1, 60) for _ in range(12)]
        while deaths and not live(mortals, world, deaths.pop()):
            pass
        live(mortals, world)
        assert_same(world, undisturbed, f"seed {seed}")
        world.close()


def assert_same(world: World, other: World, when: str) -> None:
    assert outcome(world.build) == outcome(other.build), when
    assert world.events == other.events, when
    assert world.log.decode() == other.log.decode(), when
    assert world.left_behind() == [], when
