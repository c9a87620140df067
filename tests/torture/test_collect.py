"""What a run looks for at its end is found where it is."""

from __future__ import annotations

import base64
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.torture import collect
from agent.torture.cloud import CloudServer
from agent.torture.forge import Forge, GitServer
from agent.torture.hands import Hands
from agent.torture.subject import Ground, Subject
from agent.torture.world import World
from tests.images import BUSYBOX, busybox_image
from tests.torture.findings import found

pytestmark = pytest.mark.docker
SECRET = "hunter-0123456789"
NUMBER = "00000000-0000-4000-8000-000000000001"


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """A world in which nothing has happened yet, with an engine and an AWS-shaped server."""
    busybox_image()
    ground = Ground(tmp_path, tmp_path / "runtime")
    ground.make()
    (ground.state / "builds" / NUMBER / "log").mkdir(parents=True)
    (ground.state / "agent-id").write_text(f"torture-{tmp_path.name}-{id(ground)}\n")
    ground.log.touch()
    hands = Hands(BUSYBOX)
    hands.agent = ground.agent_id
    with CloudServer() as cloud, GitServer(ground.repositories) as server:
        chance = random.Random(1)
        made = World(1, BUSYBOX, ground, Subject(ground, {}), Forge(ground.repositories), server, cloud, hands, chance)
        made.secrets = (SECRET,)
        try:
            yield made
        finally:
            hands.clear()


def test_nothing_is_left_behind_where_nothing_was(world: World) -> None:
    assert collect.left_behind(world) == ()
    assert collect.exposed(world, (found(),)) == ()
    assert collect.broken(world) == ()


def test_a_container_that_was_left_is_found(world: World) -> None:
    assert world.hands.orphan("web:1")
    assert [what for what in collect.left_behind(world) if what.endswith("of web:1")]


@pytest.mark.parametrize(
    "path",
    [
        f"state/builds/{NUMBER}/workspace/file",
        f"state/builds/{NUMBER}/control/output",
        f"state/builds/{NUMBER}/log/.s3.offset.abcd1234",
        "state/mirrors/x.git/packed-refs.lock",
        "state/mirrors/x.git/objects/pack/tmp_pack_1",
        "tmp/something",
        f"runtime/AGENT/{NUMBER}/masked.json",
        "runtime/AGENT.keys/77/key",
    ],
)
def test_a_file_that_was_left_is_found(world: World, path: str) -> None:
    file = world.ground.place / path.replace("AGENT", world.ground.agent_id)
    file.parent.mkdir(parents=True) if not file.parent.exists() else None
    file.write_text("left\n")
    assert len(collect.left_behind(world)) == 1


@pytest.mark.parametrize("text", [SECRET, base64.b64encode(SECRET.encode()).decode()])
def test_a_secret_is_found_wherever_it_can_be_read(world: World, text: str) -> None:
    one = found(f"password {text}\n".encode())
    (world.ground.state / "builds" / NUMBER / "plan.json").write_text(text)
    world.ground.log.write_text(text)
    said = collect.exposed(world, (one,))
    assert len(said) == 5
    assert SECRET not in "".join(said)


def test_a_traceback_in_the_log_of_a_daemon_is_found_with_its_line(world: World) -> None:
    world.ground.log.write_text('{"message": "well"}\nTraceback (most recent call last):\n')
    assert collect.broken(world) == (f"{world.ground.log}:2: Traceback (most recent call last):",)
