"""A build is killed while the runtimes of its image are set up, and around that; it ends as if nothing had been."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.restart.test_between_steps import assert_same, die, fresh, live
from tests.restart.world import SECRET, WITH_RUNTIME, Mortals, World

EVERY = 40
"""Of the points at which a life can end, every so many-th is tried, beginning with one by chance."""


@pytest.fixture(scope="module")
def mortals() -> Iterator[Mortals]:
    found = Mortals()
    yield found
    found.close()


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    world = World(tmp_path_factory.mktemp("template"), buildspec=WITH_RUNTIME)
    yield world
    world.close()


def is_setting_up(world: World) -> bool:
    journal = world.root / "control" / "journal"
    return journal.exists() and "DOWNLOAD_SOURCE" in journal.read_text()


def test_killed_ahead_of_any_effect_a_build_with_runtimes_ends_as_if_nothing_had_been(
    mortals: Mortals, template: World, tmp_path: Path
) -> None:
    undisturbed = fresh(template, tmp_path / "undisturbed")
    assert live(mortals, undisturbed) == "SUCCEEDED"
    told = undisturbed.log.decode()
    lines = (
        "Resolved 'tool' runtime alias '1.x' to '1.2'.",
        "Running command tool\ntool ***\n\n",
        "Moving to directory",
    )
    assert [told.count(line) for line in lines] == [1, 1, 1]
    assert told.index(lines[1]) < told.index(lines[2]) < told.index("Expanded cache path")
    for point in range(1 + random.SystemRandom().randrange(EVERY), 2000, EVERY):
        world = fresh(template, tmp_path)
        survived = live(mortals, world, point)
        if not survived:
            assert live(mortals, world) == "SUCCEEDED", point
        assert_same(world, undisturbed, f"killed at {point}")
        world.close()
        if survived:
            return
    raise AssertionError("the build never survived")


@pytest.mark.parametrize("ends", ["goes on", "is stopped", "dies"])
def test_killed_while_runtimes_are_set_up_a_build_is_taken_up_there(
    ends: str, mortals: Mortals, template: World, tmp_path: Path
) -> None:
    world = fresh(template, tmp_path)
    world.engine.stays_in = "DOWNLOAD_SOURCE"
    assert not die(mortals, world, 0, lambda: is_setting_up(world))
    if ends == "is stopped":
        world.ask_to_stop()
    elif ends == "dies":
        world.engine.end_all()
    if ends != "is stopped":
        world.engine.stays_in = ""
    assert live(mortals, world) == ("STOPPED" if ends == "is stopped" else "SUCCEEDED")
    log = world.log.decode()
    assert log.count("Running command tool\ntool ***\n") == (2 if ends == "dies" else 1)
    assert SECRET not in log
    assert world.left_behind() == []
    world.close()
