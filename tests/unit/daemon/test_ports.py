"""Ports: the same one for all builds of a host, and nobody else gets it while no daemon runs."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator

import pytest

from agent.container.inside import LOOPBACK, listening
from agent.daemon.ports import Ports


class Systemd:
    """Holds what it is given, as the file descriptor store does: a copy, which nobody else can close."""

    def __init__(self) -> None:
        self.held: dict[str, socket.socket] = {}

    def keep(self, name: str, held: socket.socket) -> None:
        self.held[name] = held.dup()

    def hand_over(self) -> dict[str, socket.socket]:
        return {name: one.dup() for name, one in self.held.items()}


class Daemon:
    """What serves on the ports, until it ends."""

    def __init__(self, systemd: Systemd, wanted: int = 0) -> None:
        self.served: list[socket.socket] = []
        self.ports = Ports(self.served.append, wanted)
        self.ports.hold_with(systemd.keep, systemd.hand_over())

    def end(self) -> None:
        for one in self.served:
            one.close()


@pytest.fixture
def systemd() -> Iterator[Systemd]:
    found = Systemd()
    yield found
    for one in found.held.values():
        one.close()


def test_a_port_stays_closed_to_others_and_callers_wait_while_no_daemon_runs(systemd: Systemd) -> None:
    first = Daemon(systemd)
    port = first.ports.any()
    assert first.ports.any() == port
    first.end()
    with pytest.raises(OSError, match="in use"):
        listening(port)
    with socket.create_connection((LOOPBACK, port), 60) as caller:
        caller.sendall(b"early")
        second = Daemon(systemd)
        assert port not in second.ports
        assert second.ports.any() == port
        assert port in second.ports
        (door,) = second.served
        line, _ = door.accept()
        with line:
            assert line.recv(5) == b"early"
    second.end()
    assert list(systemd.held) == [f"roles-{port}"]


def test_a_port_of_the_settings_goes_ahead_of_one_that_was_held(systemd: Systemd) -> None:
    first = Daemon(systemd)
    old = first.ports.any()
    first.end()
    with contextlib.closing(socket.create_server((LOOPBACK, 0))) as other:
        wanted = other.getsockname()[1]
    second = Daemon(systemd, wanted)
    assert second.ports.any() == wanted
    second.ports.listen(old)  # builds that were told of it go on asking there
    assert len(second.served) == 2
    second.end()
