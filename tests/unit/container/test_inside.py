"""Sockets inside the networks of containers, opened by one who may enter them and by one who may not."""

from __future__ import annotations

import os
import socket
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.container.inside import IMAGE, Inside
from agent.errors import EngineUnavailable
from tests.images import busybox_image, docker

pytestmark = pytest.mark.docker
ASK = ("/bin/sh", "-c", "echo from inside | nc 127.0.0.1 23456")


@pytest.fixture(scope="module")
def container() -> Iterator[str]:
    """A container without any network but its loopback."""
    command = ("/bin/sh", "-c", "while :; do sleep 1; done")
    made = docker("run", "--detach", "--network", "none", busybox_image(), *command)
    try:
        yield made
    finally:
        docker("rm", "--force", made)


@pytest.fixture
def room() -> Iterator[Path]:
    """A directory with a short name: the path of a Unix socket has to fit into 108 bytes."""
    place = Path("/dev/shm") / f"inside-{uuid.uuid4().hex[:8]}"
    yield place
    left = list(place.iterdir()) if place.exists() else []
    if place.exists():
        place.rmdir()
    assert left == []


@pytest.mark.parametrize("enter", [True, False])
def test_who_connects_inside_of_the_container_is_served_by_us(container: str, room: Path, enter: bool) -> None:
    if enter and os.geteuid() != 0:
        pytest.skip("only root enters namespaces")
    agent = f"inside-{uuid.uuid4()}"
    with Inside(agent, room, enter=enter).listen(container, 23456) as listener:
        listener.settimeout(60)
        assert not listener.get_inheritable()
        docker("exec", "--detach", container, *ASK)
        line, _ = listener.accept()
        with line:
            line.settimeout(60)
            assert line.recv(64) == b"from inside\n"
    with socket.socket() as outside:
        assert outside.connect_ex(("127.0.0.1", 23456)) != 0, "not in the host's network"
    assert docker("ps", "--all", "--quiet", "--filter", f"label=buildspecd.agent={agent}") == ""
    if not enter:
        assert docker("image", "inspect", "--format", "{{.Size}}", IMAGE) == "0"


@pytest.mark.parametrize("enter", [True, False])
def test_a_port_that_the_build_has_itself_is_said_to_be_the_trouble(container: str, room: Path, enter: bool) -> None:
    inside = Inside("inside", room, enter=enter)
    with inside.listen(container, 23457), pytest.raises(EngineUnavailable, match="port 23457"):
        inside.listen(container, 23457)


def test_a_container_that_is_gone_or_has_ended_is_told_as_such(room: Path) -> None:
    ended = docker("create", "--network", "none", busybox_image(), "/bin/true")
    try:
        with pytest.raises(EngineUnavailable, match="does not run"):
            Inside("inside", room).listen(ended, 23456)
    finally:
        docker("rm", "--force", ended)
    with pytest.raises(EngineUnavailable, match="opening a socket inside a container"):
        Inside("inside", room).listen(ended, 23456)
