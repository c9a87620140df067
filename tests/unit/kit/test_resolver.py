"""The resolver: whom it asks, in which order, and what it says where nothing is found."""

from __future__ import annotations

import random
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from agent.kit.resolver import Nameless, NameService, read, resolve
from tests.fakes.dns import Zone, name_server


@contextmanager
def serving(*zones: Zone | None) -> Iterator[list[str]]:
    """Run a name server for each zone on an address of its own; yield the addresses."""
    if not zones:
        yield []
        return
    address = f"127.{random.randint(1, 250)}.{random.randint(1, 250)}.{random.randint(1, 250)}"
    with name_server(zones[0], address), serving(*zones[1:]) as others:
        yield [address, *others]


def look(name: str, service: NameService, seconds: float = 60) -> list[str]:
    return resolve(name, service, socket.socket, time.monotonic() + seconds)


def why(name: str, service: NameService, seconds: float = 60) -> str:
    with pytest.raises(Nameless) as caught:
        look(name, service, seconds)
    return str(caught.value)


def test_the_files_are_read_as_the_library_reads_them() -> None:
    text = "# mine\nnameserver 10.0.0.2\nnameserver fe80::1%eth0\nnameserver bad\nsearch a.b c.d.\noptions x ndots:2\n"
    service = read(text, "127.0.0.1 localhost\n::1 localhost # no\nnonsense here\n10.0.0.9 Db.Internal db\n")
    assert service.servers == ("10.0.0.2", "fe80::1%eth0")
    assert (service.search, service.ndots) == (("a.b", "c.d"), 2)
    assert look("DB.internal.", service) == ["10.0.0.9"]
    assert look("localhost", service) == ["127.0.0.1", "::1"]
    assert read("", "") == NameService(())


def test_an_address_is_its_own_name() -> None:
    assert look("10.0.0.1", NameService(())) == ["10.0.0.1"]
    assert look("fd00::1", NameService(())) == ["fd00::1"]


def test_every_address_of_a_name_is_found_those_of_version_4_first() -> None:
    zone: Zone = {"db.internal": ["fd00::5", "10.0.1.5", "10.0.2.5"]}
    with serving(zone) as servers:
        assert look("db.internal", NameService(tuple(servers))) == ["10.0.1.5", "10.0.2.5", "fd00::5"]


def test_search_domains_are_tried_as_ndots_says() -> None:
    zone: Zone = {"db.corp": ["10.0.0.1"], "a.b": ["10.0.0.2"], "a.b.corp": ["10.0.0.3"]}
    with serving(zone) as servers:
        service = NameService(tuple(servers), ("corp",))
        assert look("db", service) == ["10.0.0.1"]
        assert look("a.b", service) == ["10.0.0.2"]
        assert look("a.b", NameService(tuple(servers), ("corp",), 2)) == ["10.0.0.3"]
        assert "no such name" in why("db.", service)


def test_a_server_that_cannot_tell_or_does_not_answer_is_followed_by_the_next() -> None:
    with serving({"db.internal": 2}, None, {"db.internal": ["10.0.0.1"]}) as servers:
        assert look("db.internal", NameService(tuple(servers))) == ["10.0.0.1"]


def test_who_was_asked_and_what_it_said_is_told() -> None:
    with serving({"empty.internal": [], "broken.internal": 2}, None) as (server, silent):
        service = NameService((server,))
        assert why("gone.internal", service) == f"{server} says that there is no such name"
        assert why("empty.internal", service) == f"{server} says that it has no address"
        assert why("broken.internal", service) == f"{server} cannot tell (SERVFAIL)"
        assert why("x.internal", NameService((silent,)), 0.2) == f"{silent} does not answer"
    assert why("x.internal", NameService(())) == "no name server is set"


@pytest.mark.parametrize("name", ["a..b", "x" * 64 + ".y", ".".join(["abcdefgh"] * 40), "ä" * 80])
def test_what_is_no_name_is_not_asked_for(name: str) -> None:
    assert "is no name of a host" in why(name, NameService(("127.0.0.1",)))


def test_a_server_that_is_not_there_is_named() -> None:
    service = NameService((f"127.{random.randint(1, 250)}.77.1",))
    assert "cannot be asked: Connection refused" in why("db.internal", service)
