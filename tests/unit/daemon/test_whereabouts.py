"""Where the host stands: asked once, kept, and never waited for long."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from agent.daemon.whereabouts import ABSENT_SECONDS, PATIENCE_SECONDS, Whereabouts
from agent.errors import Unavailable
from agent.kit.clock import SystemClock
from agent.model.place import HostPlace, Interface
from tests.fakes.metadata import MetadataService, metadata_service

FIRST, SECOND = "02:00:00:00:00:01", "02:00:00:00:00:02"


class Clock(SystemClock):
    """A clock that is put forward."""

    ahead = 0.0

    def monotonic(self) -> float:
        return super().monotonic() + self.ahead


def stand(service: MetadataService, mac: str = FIRST, groups: str = "sg-1\nsg-2", subnet: str = "subnet-a") -> None:
    """Have *service* tell of an interface."""
    below = f"network/interfaces/macs/{mac}/"
    facts = {"vpc-id": "vpc-1", "subnet-id": subnet, "security-group-ids": groups, "interface-id": f"eni-{mac[-1]}"}
    service.says |= {below + name: text for name, text in facts.items()}
    macs = service.says.get("network/interfaces/macs/", "")
    service.says["network/interfaces/macs/"] = f"{macs}{mac}/\n"
    service.says.setdefault("mac", mac)


@pytest.fixture
def service() -> Iterator[MetadataService]:
    with metadata_service() as one:
        yield one


def test_the_primary_interface_comes_first_whatever_the_list_says(service: MetadataService) -> None:
    stand(service, SECOND, "sg-3", "subnet-b")
    service.says.pop("mac")
    stand(service)
    assert Whereabouts(service.address, Clock()).ask(0) == HostPlace(
        "i-0123456789abcdef0",
        (
            Interface("eni-1", "vpc-1", "subnet-a", frozenset({"sg-1", "sg-2"})),
            Interface("eni-2", "vpc-1", "subnet-b", frozenset({"sg-3"})),
        ),
    )


def test_what_was_said_is_kept_for_as_long_as_whoever_asks_takes_it(service: MetadataService) -> None:
    stand(service)
    clock = Clock()
    where = Whereabouts(service.address, clock)
    before = where.ask(300)
    stand(service, groups="sg-9")
    assert where.ask(300) == before
    clock.ahead = 10
    assert where.ask(300) == before
    assert where.ask(5).interfaces[0].groups == {"sg-9"}


def test_a_host_with_no_metadata_service_is_asked_again_after_a_minute_only() -> None:
    with metadata_service() as service:
        stand(service)
        service.refuses = 403
        clock = Clock()
        where = Whereabouts(service.address, clock)
        with pytest.raises(Unavailable) as caught:
            where.ask(300)
        assert "gives no token: status 403" in caught.value.message
        assert "--http-endpoint enabled" in caught.value.hint
        service.refuses = 0
        with pytest.raises(Unavailable):
            where.ask(300)
        clock.ahead = ABSENT_SECONDS + 1
        assert where.ask(300).interfaces


def test_a_service_that_accepts_and_never_answers_costs_a_second_once() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(8)
        clock = Clock()
        where = Whereabouts(f"http://127.0.0.1:{listener.getsockname()[1]}", clock)
        begun = clock.monotonic()
        with pytest.raises(Unavailable) as caught:
            where.ask(300)
        once = clock.monotonic() - begun
        assert f"does not answer within {PATIENCE_SECONDS:g} s" in caught.value.message
        for _ in range(50):
            with pytest.raises(Unavailable):
                where.ask(300)
        assert clock.monotonic() - begun < once + PATIENCE_SECONDS, "it is not asked again"


@pytest.mark.parametrize("address", [None, "http://127.0.0.1:1", "http://127.0.0.1:none", "nothing"])
def test_nobody_to_ask_is_said_whatever_the_address(address: str | None) -> None:
    with pytest.raises(Unavailable) as caught:
        Whereabouts(address, Clock()).ask(0)
    assert "agent.vpc: ignore" in caught.value.hint
