"""The desk where builds get the credentials of their roles: tokens, renewal, restarts, bad days."""

from __future__ import annotations

import json
import socket
import stat
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from agent.aws import Aws, Keys
from agent.container.inside import listening
from agent.daemon.roles import Pass, RoleDesk
from agent.environment.roles import RoleKeys, RoleWish
from agent.errors import AwsUnavailable, EngineUnavailable, RoleRefused
from agent.kit.clock import SystemClock
from agent.kit.heed import begun, heeding
from tests.fakes.serving import running
from tests.journey.waiting import until

ROLE = "arn:aws:iam::123456789012:role/web"


def wish(number: int, role: str = ROLE) -> RoleWish:
    """Return the wish of one build."""
    session = f"4a0d2f5c-0000-4000-8000-{number:012}"
    return RoleWish(role, "web", f"web:{session}", session, "arn:aws:codebuild:r:123456789012:project/web")


class Clock(SystemClock):
    """The real one, `ahead` seconds early by the calendar."""

    ahead = 0.0

    def now(self) -> float:
        return super().now() + self.ahead


@dataclass
class FakeSts:
    """Gives credentials with a number; `trouble` is raised in their place."""

    clock: Clock
    given: int = 0
    trouble: Exception | None = None
    hangs: dict[str, threading.Event] = field(default_factory=dict)
    """By build: what its answer waits for."""
    asked: threading.Event = field(default_factory=threading.Event)
    """Whether one of these has been asked for."""

    def __call__(self, wish: RoleWish) -> RoleKeys:
        if (held := self.hangs.get(wish.build)) is not None:
            self.asked.set()
            held.wait(120)
        if self.trouble is not None:
            raise self.trouble
        self.given += 1
        keys = Keys(f"ASIA{self.given}", "secret", "session")
        return RoleKeys(keys, self.clock.now() + 3600, "123456789012", wish.role)

    def through(self, given: RoleKeys) -> Aws:
        return Aws(region="eu-central-1").with_keys(given.keys)


@dataclass
class FakeInside:
    """Containers share the test's network; `opened` lists what was asked for."""

    opened: list[tuple[str, int]] = field(default_factory=list)
    trouble: Exception | None = None
    meanwhile: Callable[[], object] = lambda: None

    def listen(self, container: str, port: int) -> socket.socket:
        self.opened.append((container, port))
        if self.trouble is not None:
            raise self.trouble
        self.meanwhile()
        return listening(port)


@dataclass
class World:
    place: Path
    clock: Clock = field(default_factory=Clock)
    containers: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.sts = FakeSts(self.clock)
        self.inside = FakeInside()

    @contextmanager
    def desk(self, **options: Any) -> Iterator[RoleDesk]:
        """Run a desk, as a daemon does, for the time of the block."""
        desk = RoleDesk(self.sts, self.inside, self.place, self.clock, find=self.containers.get, **options)
        with running(desk, lambda: True):
            yield desk


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path / "passes")


def ask(given: Pass, token: str | None = None) -> tuple[int, dict[str, str]]:
    """Ask as an SDK does."""
    headers = {"Authorization": given.token if token is None else token}
    try:
        with urllib.request.urlopen(urllib.request.Request(given.uri, headers=headers), timeout=60) as answer:
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read())


def key(given: Pass) -> str:
    """Return the access key that is served now; empty when nobody serves."""
    with suppress(OSError):
        return ask(given)[1].get("AccessKeyId", "")
    return ""


def test_a_build_gets_what_sdks_ask_for_with_its_own_token_and_with_no_other(world: World) -> None:
    with world.desk() as desk:
        one, two = desk.admit(wish(1), "host"), desk.admit(wish(2), "host")
        status, document = ask(one)
        assert (status, document["AccessKeyId"], document["RoleArn"]) == (200, "ASIA1", ROLE)
        assert set(document) == {"AccessKeyId", "SecretAccessKey", "Token", "Expiration", "AccountId", "RoleArn"}
        assert [ask(one, token)[0] for token in (two.token, "", one.token + "x", "ä")] == [403] * 4
        assert len(one.token) >= 43, "32 random bytes"
        assert one.token not in repr(one)
        desk.dismiss(wish(1))
        assert ask(one)[0] == 403
        assert ask(two)[0] == 200


def test_a_pass_lies_in_memory_for_the_daemon_alone_and_holds_no_credentials(world: World) -> None:
    with world.desk() as desk:
        desk.admit(wish(1), "host")
        (file,) = world.place.glob("*/*")
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert "ASIA" not in file.read_text()
        desk.dismiss(wish(1))
        assert not file.exists()


@pytest.mark.parametrize("network", ["host", "bridge"])
def test_after_a_restart_the_same_address_and_token_go_on_working(world: World, network: str) -> None:
    world.containers[wish(1).build] = "c1"
    with world.desk() as desk:
        given = desk.admit(wish(1), network)
        desk.enter(wish(1), "c1")
        assert key(given) == "ASIA1"
    with world.desk() as desk:
        until(lambda: key(given) == "ASIA2", "an answer after the restart")
        assert desk.admit(wish(1), network) == given
        desk.enter(wish(1), "c1")  # the route may come by, too
        assert key(given) == "ASIA2"
    assert len(world.inside.opened) == (0 if network == "host" else 3)


def test_a_build_that_is_taken_up_by_its_route_before_the_desk_looks_is_served_all_the_same(world: World) -> None:
    world.containers[wish(1).build] = "c1"
    with world.desk() as desk:
        given = desk.admit(wish(1), "bridge")
    second = RoleDesk(world.sts, world.inside, world.place, world.clock, find=world.containers.get)
    second.aws_of(wish(1), "bridge")  # its variables are resolved again, and its container runs on
    with running(second, lambda: True):
        until(lambda: key(given) != "", "an answer after the restart")


def test_a_build_that_starts_over_in_another_container_is_served_there(world: World) -> None:
    with world.desk() as desk:
        given = desk.admit(wish(1), "bridge")
        desk.enter(wish(1), "c1")
        world.inside.opened.clear()
        world.inside.trouble = EngineUnavailable("no")
        with pytest.raises(EngineUnavailable):
            desk.enter(wish(1), "c2")
        assert world.inside.opened == [("c2", given.port)]


def test_a_container_that_was_started_once_more_has_another_network_and_is_entered_again(world: World) -> None:
    with world.desk() as desk:
        given = desk.admit(wish(1), "bridge")
        for _ in range(2):
            desk.enter(wish(1), "c1")
            assert key(given) == "ASIA1"
    assert world.inside.opened == [("c1", given.port)] * 2


def test_a_socket_that_is_there_only_after_its_build_has_ended_is_closed(world: World) -> None:
    with world.desk() as desk:
        given = desk.admit(wish(1), "bridge")
        world.inside.meanwhile = lambda: desk.dismiss(wish(1))
        desk.enter(wish(1), "c1")
        with socket.socket() as caller:
            assert caller.connect_ex(("127.0.0.1", given.port)) != 0, "it would keep the container's network for ever"


def test_after_a_restart_an_sts_that_hangs_for_some_builds_keeps_no_other_waiting(world: World) -> None:
    builds = [wish(number) for number in range(1, 6)]
    with world.desk() as desk:
        passes = [desk.admit(one, "bridge" if number % 2 else "host") for number, one in enumerate(builds)]
    world.containers.update({one.build: f"c{number}" for number, one in enumerate(builds)})
    held = threading.Event()
    world.sts.hangs = dict.fromkeys([one.build for one in builds[:4]], held)
    try:
        with world.desk():
            until(lambda: key(passes[4]), "an answer for the last build while STS hangs for those before it")
            until(lambda: len(world.inside.opened) == 2, "the sockets of those that wait for STS")
            assert ask(passes[0])[0] == 503, "its address and token are right"
            held.set()
            until(lambda: all(key(one) for one in passes), "answers for all")
    finally:
        held.set()


class Ended(Exception):
    """A build is to end."""


def test_a_build_that_is_to_end_does_not_wait_for_an_sts_that_somebody_else_asks(world: World) -> None:
    held = world.sts.hangs[wish(1).build] = threading.Event()
    desk = RoleDesk(world.sts, world.inside, world.place, world.clock, find=world.containers.get)

    def end() -> None:
        raise Ended

    other = begun(lambda: desk.admit(wish(1), "host"), "other")
    try:
        assert world.sts.asked.wait(60)
        with heeding(end), pytest.raises(Ended):
            desk.admit(wish(1), "host")
    finally:
        held.set()
        assert other.over.wait(60)


def test_credentials_are_fetched_anew_before_sdks_ask_for_newer_ones(world: World) -> None:
    desk = RoleDesk(world.sts, world.inside, world.place, world.clock, find=world.containers.get)
    desk.admit(wish(1), "host")
    world.clock.ahead = 39 * 60
    desk.turn()
    assert world.sts.given == 1
    world.clock.ahead = 41 * 60
    desk.turn()
    desk.turn()
    assert world.sts.given == 2


def test_an_sts_that_is_down_costs_nothing_while_the_credentials_hold(world: World) -> None:
    with world.desk() as desk:
        given = desk.admit(wish(1), "host")
        world.clock.ahead = 45 * 60
        world.sts.trouble = AwsUnavailable("STS is down")
        desk.turn()
        assert ask(given)[0] == 200
        assert desk.aws_of(wish(1), "host").frozen_keys()[0] == "ASIA1"
        world.clock.ahead = 61 * 60
        assert ask(given)[0] == 503, "nothing that has expired is handed out"
        with pytest.raises(AwsUnavailable):
            desk.aws_of(wish(1), "host")


def test_a_refused_role_is_told_at_the_desk_and_another_try_may_succeed(world: World) -> None:
    with world.desk() as desk:
        world.sts.trouble = RoleRefused("no")
        with pytest.raises(RoleRefused):
            desk.admit(wish(1), "host")
        world.sts.trouble = None
        given = desk.admit(wish(1), "host")
        assert ask(given)[0] == 200


def test_builds_whose_directory_went_are_forgotten_with_their_tokens(world: World) -> None:
    with world.desk() as desk:
        given = desk.admit(wish(1), "host")
        (world.place / wish(1).session / "role.json").unlink()
        desk.turn()
        assert ask(given)[0] == 403


@pytest.mark.parametrize(
    "text", ["", "{}", "[1]", '{"wish": 3}', "null", '{"wish": {"role": "r"}, "port": "x"}', "99999", "80"]
)
def test_a_damaged_pass_is_left_alone_and_a_new_one_is_made(world: World, text: str) -> None:
    file = world.place / wish(1).session / "role.json"
    file.parent.mkdir(parents=True)
    strange = {"port": int(text or 0), "token": 3} if text.isdecimal() else None  # the right members, other values
    file.write_text(json.dumps({"wish": asdict(wish(1)), "inside": False, **strange}) if strange else text)
    with world.desk() as desk:
        given = desk.admit(wish(1), "host")
        assert ask(given)[0] == 200


def test_a_port_that_was_taken_meanwhile_is_waited_for(world: World) -> None:
    with world.desk() as desk:
        given = desk.admit(wish(1), "host")
    with listening(given.port):
        desk = RoleDesk(world.sts, world.inside, world.place, world.clock, find=world.containers.get)
        desk.turn()
    with running(desk, lambda: True):
        until(lambda: key(given) != "", "an answer as soon as the port is free")


def test_the_port_of_the_settings_is_used_and_another_one_where_it_is_taken(world: World, free: int) -> None:
    with world.desk(port=free) as desk:
        assert desk.admit(wish(1), "host").port == free
        with replace(world, place=world.place / "other").desk(port=free) as second:
            assert second.admit(wish(2), "host").port != free


@pytest.fixture
def free() -> int:
    with listening(0) as found:
        return int(found.getsockname()[1])


@pytest.mark.parametrize(
    "path", ["/", "/v1/builds//credentials", "/v1/builds/../credentials", "/v1/builds/x/credentials", "/v2/a/b/c"]
)
def test_an_address_that_is_none_of_ours_is_refused_like_a_wrong_token(world: World, path: str) -> None:
    with world.desk() as desk:
        given = desk.admit(wish(1), "host")
        request = urllib.request.Request(f"http://127.0.0.1:{given.port}{path}", headers={"Authorization": given.token})
        with pytest.raises(urllib.error.HTTPError, match="403"):
            urllib.request.urlopen(request, timeout=60)
