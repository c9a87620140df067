"""Sockets inside the networks of containers, opened by one who may enter them and by one who may not."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
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
    """A directory with a long name: the address of a Unix socket has 107 bytes at most."""
    place = Path("/dev/shm") / f"inside-{uuid.uuid4().hex[:8]}-{'long' * 40}"
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


AS_THE_UNIT_DOES = """
import os, sys
from pathlib import Path
from agent.container.docker import connect
from agent.container.inside import Inside
container, room = sys.argv[1:]
with_all_that_is_loaded_late = connect(None, 30.0).inspect_container(container)
os.setgroups([os.stat("/var/run/docker.sock").st_gid])
os.setgid(65534)
os.setuid(65534)
status = Path("/proc/self/status").read_text()
print(int(status.partition("CapEff:")[2].split()[0], 16))
with Inside("inside-unit", Path(room)).listen(container, 23459) as listener:
    print("listens", flush=True)
    listener.settimeout(60)
    line, _ = listener.accept()
    line.settimeout(60)
    print(line.recv(64).decode().strip())
"""


def test_a_daemon_that_is_not_root_and_only_in_the_group_of_docker_gets_its_socket_as_well(
    container: str, room: Path
) -> None:
    where = Path("/var/run/docker.sock")
    if os.geteuid() != 0 or os.environ.get("DOCKER_HOST") or not where.is_socket():
        pytest.skip("takes root, to become somebody else, and the engine at its usual socket")
    if where.stat().st_mode & 0o060 != 0o060:
        pytest.skip(f"the group of {where} may not use it")
    room.mkdir(mode=0o700)
    os.chown(room, 65534, 65534)
    command = [sys.executable, "-c", AS_THE_UNIT_DOES, container, str(room)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as daemon:
        assert daemon.stdout is not None
        said = [daemon.stdout.readline(), daemon.stdout.readline()]
        if said[1]:
            docker("exec", "--detach", container, *ASK[:2], ASK[2].replace("23456", "23459"))
        out, err = daemon.communicate(timeout=120)
    assert [*said, out] == ["0\n", "listens\n", "from inside\n"], err
    assert docker("ps", "--all", "--quiet", "--filter", "label=buildspecd.agent=inside-unit") == ""


def test_a_container_that_is_gone_or_has_ended_is_told_as_such(room: Path) -> None:
    ended = docker("create", "--network", "none", busybox_image(), "/bin/true")
    try:
        with pytest.raises(EngineUnavailable, match="does not run"):
            Inside("inside", room).listen(ended, 23456)
    finally:
        docker("rm", "--force", ended)
    with pytest.raises(EngineUnavailable, match="opening a socket inside a container"):
        Inside("inside", room).listen(ended, 23456)
