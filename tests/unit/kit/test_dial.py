"""Connecting to all addresses of a host at once: which one answers, and which hop fails where none does."""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pytest

from agent.kit.dial import Answer, Hop, dial, hop_of, missed, split
from agent.kit.resolver import Nameless


@contextmanager
def listening(backlog: int = 8) -> Iterator[int]:
    """Listen and never accept nor answer: the kernel accepts."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(backlog)
        yield listener.getsockname()[1]


@contextmanager
def silent() -> Iterator[int]:
    """A port whose queue is full: whoever connects hears nothing."""
    with listening(0) as port:
        waiting = [socket.socket() for _ in range(4)]
        for one in waiting:
            one.setblocking(False)
            one.connect_ex(("127.0.0.1", port))
        try:
            yield port
        finally:
            for one in waiting:
                one.close()


def to(target: str, *addresses: str, patience: float = 60) -> Answer:
    def resolve(name: str, _: float) -> Sequence[str]:
        return addresses or [name]

    return dial(target, resolve, socket.socket, patience)


def test_a_server_that_accepts_and_never_answers_is_reached() -> None:
    with listening() as port:
        answer = to(f"db.internal:{port}", "127.0.0.1")
    assert (answer.hop, answer.address, answer.target) == (None, "127.0.0.1", f"db.internal:{port}")
    assert answer.seconds is not None


def test_every_address_is_tried_and_one_that_answers_is_enough() -> None:
    with listening() as port:
        assert to(f"db:{port}", "127.0.0.9", "127.0.0.1").address == "127.0.0.1"


def test_a_port_on_which_nobody_listens_is_refused() -> None:
    with listening() as port:
        pass
    answer = to(f"db:{port}", "127.0.0.1", "127.0.0.9")
    assert (answer.hop, answer.address) == (Hop.REFUSED, "127.0.0.1")
    assert answer.said == "127.0.0.1: Connection refused; 127.0.0.9: Connection refused"


def test_silence_ends_in_time_and_says_so() -> None:
    with silent() as port:
        answer = to(f"db:{port}", "127.0.0.1", patience=0.3)
    assert (answer.hop, answer.said) == (Hop.SILENCE, "nothing comes back within 0.3 s")


def test_an_address_without_a_route_is_told_from_the_others() -> None:
    assert to("db:80", "fe80::1%lo").hop in (Hop.ROUTE, Hop.OTHER, Hop.REFUSED)
    assert hop_of(errno.ENETUNREACH) is hop_of(errno.EHOSTUNREACH) is Hop.ROUTE
    assert hop_of(errno.EPERM) is Hop.OTHER
    mixed = missed("db:80", {"fd00::1": (Hop.ROUTE, "no route"), "10.0.0.1": (Hop.SILENCE, "nothing")})
    assert (mixed.hop, mixed.address) == (Hop.SILENCE, "10.0.0.1")


def test_a_name_that_does_not_resolve_is_the_hop() -> None:
    def resolve(name: str, _: float) -> Sequence[str]:
        raise Nameless(f"10.0.0.2 does not know {name}")

    answer = dial("db:80", resolve, socket.socket, 60)
    assert (answer.hop, answer.said) == (Hop.NAME, "10.0.0.2 does not know db")
    assert dial("db:80", lambda *_: [], socket.socket, 60).hop is Hop.NAME


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("db:5432", ("db", 5432)),
        ("[::1]:80", ("::1", 80)),
        ("db", None),
        (":80", None),
        ("db:0", None),
        ("db:65536", None),
    ],
)
def test_a_target_is_taken_apart(text: str, place: tuple[str, int] | None) -> None:
    assert split(text) == place
    assert place or to(text).hop is Hop.OTHER
