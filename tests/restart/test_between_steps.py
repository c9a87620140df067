"""The process of a build is killed ahead of every single thing that it does; the build ends as if nothing had been."""

from __future__ import annotations

import contextlib
import itertools
import os
import random
import shutil
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest

from agent.kit.clock import SystemClock
from agent.model.cause import Cause
from tests.restart.world import SECRET, Mortals, World, outcome

PARTS = 4
"""The points are dealt out to so many tests, which run side by side."""
EVERY = int(os.environ.get("RESTART_EVERY", "4"))
"""Of the points of a part, every so many-th is tried, beginning with one by chance; `RESTART_EVERY=1` tries all."""


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
    assert world.reports[0] == 2
    assert world.reports[1][0].startswith("app-unit SUCCEEDED total=1 ")
    return world


def fresh(template: World, place: Path) -> World:
    """Return a world before its build, and an outside in which nothing has been stored."""
    shutil.rmtree(template.place / "outside", ignore_errors=True)
    return World(place / "world", template)


def live(mortals: Mortals, world: World, point: int = 0) -> str:
    """Live one life to its end."""
    mortals.start(world, point)
    return mortals.end()


def until(condition: Callable[[], bool], seconds: float = 60) -> bool:
    """Wait until *condition* holds; return whether it does in time."""
    clock, pause = SystemClock(), threading.Event()
    deadline = clock.monotonic() + seconds
    while not condition():
        if clock.monotonic() > deadline:
            return False
        pause.wait(0.005)
    return True


def points(part: int) -> Iterator[int]:
    """Deal out the points; whoever fails says which one it was."""
    first = part + PARTS * random.SystemRandom().randrange(EVERY)
    return iter(range(1 + first, 2000, PARTS * EVERY))


def lives(mortals: Mortals, points: Iterable[int], make: Callable[[], World]) -> Iterator[tuple[int, World]]:
    """Yield each point, and the world whose build was killed there and then lived on, up to one that survived."""
    for point in points:
        world = make()
        survived = live(mortals, world, point)
        if not survived:
            assert live(mortals, world) == "SUCCEEDED", point
        yield point, world
        world.close()
        if survived:
            return
    raise AssertionError("the build never survived")


def die(mortals: Mortals, world: World, point: int, unless: Callable[[], bool]) -> str:
    """Live one life that ends at *point*, or a little after *unless* holds; return how the build ended, if it did."""
    child = mortals.start(world, point)
    over: list[str] = []
    waiting = threading.Thread(target=lambda: over.append(mortals.end()))
    waiting.start()
    if until(lambda: bool(over) or unless(), 20):
        until(lambda: bool(over), 0.1)
    with contextlib.suppress(ProcessLookupError):
        os.kill(child, signal.SIGKILL)
    waiting.join()
    return over[0]


@pytest.mark.parametrize("part", range(PARTS))
def test_killed_ahead_of_any_effect_a_build_ends_as_if_nothing_had_been(
    part: int, mortals: Mortals, template: World, undisturbed: World, tmp_path: Path
) -> None:
    for point, world in lives(mortals, points(part), lambda: fresh(template, tmp_path)):
        assert_same(world, undisturbed, f"killed at {point}")


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


@pytest.mark.parametrize("phase", ["INSTALL", "POST_BUILD"])
def test_stopped_while_nobody_looked_a_build_is_stopped_and_all_that_it_printed_is_in_the_log(
    phase: str, mortals: Mortals, template: World, tmp_path: Path
) -> None:
    for point in itertools.chain(points(0), [0]):
        world = fresh(template, tmp_path)
        world.engine.stays_in = phase
        assert not die(mortals, world, point, lambda at=world: f"Entering phase {phase}" in at.engine.printed)
        reached = bool(world.engine.printed)
        world.ask_to_stop()
        assert live(mortals, world) == "STOPPED", point
        assert world.log_holds(world.engine.printed), point
        assert world.left_behind() == [], point
        assert [kind for kind in world.events if kind == ("state", "STOPPED")] == [("state", "STOPPED")], point
        assert len(world.events) == len(set(world.events)), point
        world.close()
        if reached:
            return
    raise AssertionError(f"{phase} was never reached")


@pytest.mark.parametrize("gone", [False, True])
def test_a_container_that_dies_meanwhile_is_a_fault_once_a_phase_had_begun_and_made_anew_before(
    gone: bool, mortals: Mortals, template: World, undisturbed: World, tmp_path: Path
) -> None:
    for point in itertools.chain(points(gone), [0]):
        world = fresh(template, tmp_path)
        world.engine.stays_in = "BUILD"
        assert not die(mortals, world, point, lambda at=world: "Entering phase BUILD" in at.engine.printed)
        begun = bool(world.engine.printed)
        world.engine.end_all()
        if gone:
            world.engine.containers.clear()
        world.engine.stays_in = ""
        assert live(mortals, world) == ("FAULT" if begun else "SUCCEEDED"), point
        build = world.build
        if begun:
            assert "Build container found dead before completing the build" in str(build.phases[-3].contexts), point
            assert SECRET not in world.log.decode()
        else:
            assert outcome(build)["phases"] == outcome(undisturbed.build)["phases"], point
        assert world.log_holds(world.engine.printed), point
        assert world.left_behind() == [], point
        world.close()
        if begun:
            return
    raise AssertionError("BUILD was never reached")


def test_after_the_host_was_started_anew_nothing_secret_is_shown(
    mortals: Mortals, template: World, tmp_path: Path
) -> None:
    world = fresh(template, tmp_path)
    world.engine.stays_in = "BUILD"
    die(mortals, world, 0, lambda: "Entering phase BUILD" in world.engine.printed)
    world.engine.end_all()
    (world.root / "log" / "checkpoint.json").unlink()  # as if nothing had been read yet
    shutil.rmtree(world.state / "runtime")
    assert live(mortals, world) == "FAULT"
    assert "PRE_BUILD line 19 ***" in world.log.decode()
    assert SECRET not in world.log.decode()
    world.close()


@pytest.mark.parametrize("damage", ["{", "", '{"phases": 7}', None])
def test_a_damaged_plan_ends_the_build_with_a_fault_that_names_the_file(
    damage: str | None, mortals: Mortals, template: World, tmp_path: Path
) -> None:
    world = fresh(template, tmp_path)
    world.engine.stays_in = "BUILD"
    die(mortals, world, 0, lambda: "Entering phase BUILD" in world.engine.printed)
    if damage is None:
        (world.root / "plan.json").unlink()
    else:
        (world.root / "plan.json").write_text(damage)
    assert live(mortals, world) == "FAULT"
    assert "plan.json" in str(world.build.phases[-3].contexts)
    assert world.build.cause is Cause.STATE_DAMAGED
    assert world.engine.containers == {}
    world.close()


@pytest.mark.parametrize("damage", ["{", "\x00\xff", "[]", '{"raw": "x"}', '{"raw": null, "said": 5}', '{"raw": -5}'])
def test_a_damaged_checkpoint_costs_no_build(damage: str, mortals: Mortals, template: World, tmp_path: Path) -> None:
    world = fresh(template, tmp_path)
    world.engine.stays_in = "BUILD"
    die(mortals, world, 0, lambda: "Entering phase BUILD" in world.engine.printed)
    (world.root / "log" / "checkpoint.json").write_text(damage)
    world.engine.stays_in = ""
    assert live(mortals, world) == "SUCCEEDED"
    assert "checkpoint was damaged" in world.build.logs.problems["output"]
    assert world.log_holds(world.engine.printed)
    world.close()


@pytest.mark.parametrize(("over", "status"), [(True, "SUCCEEDED"), (False, "FAILED")])
def test_time_during_which_nobody_looked_is_held_against_a_build_only_if_its_commands_still_run(
    over: bool, status: str, mortals: Mortals, template: World, tmp_path: Path
) -> None:
    world = fresh(template, tmp_path)
    world.engine.stays_in = "BUILD"
    die(mortals, world, 0, lambda: "Entering phase BUILD" in world.engine.printed)
    world.age(2 * 3600)
    if over:
        world.engine.stays_in = ""
        assert until(lambda: (world.root / "control" / "result").exists())
    assert live(mortals, world) == status
    build = world.build
    assert build.timed_out is not over
    assert world.log_holds(world.engine.printed)
    assert world.left_behind() == []
    world.close()


def test_an_engine_that_is_away_at_the_very_end_does_not_spoil_a_green_build(
    mortals: Mortals, template: World, tmp_path: Path
) -> None:
    world = fresh(template, tmp_path)
    world.engine.refuses = "remove"
    assert live(mortals, world) == "SUCCEEDED"
    assert world.build.logs.delivered == {"s3": len((world.root / "log" / "log").read_bytes())}
    assert len(world.engine.containers) == 1  # for the janitor
    world.close()


def assert_same(world: World, other: World, when: str) -> None:
    assert outcome(world.build) == outcome(other.build), when
    assert world.events == other.events, when
    assert world.reports == other.reports, when
    assert world.log.decode() == other.log.decode(), when
    assert world.left_behind() == [], when
