"""The guard and real containers: on an engine in a network of its own, where a stand-in plays the metadata service."""

from __future__ import annotations

import shutil
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest

from agent.container import imds
from agent.container.docker import DockerEngine
from agent.container.imds import ADDRESSES, Guard
from agent.container.spec import ContainerSpec
from agent.kit.clock import SystemClock
from tests.images import BUSYBOX, busybox_image
from tests.journey.waiting import until
from tests.restart.dockerd import Dockerd, need
from tests.unit.container.test_imds import SERVE

pytestmark = pytest.mark.docker
TRIES = f"nc -w 5 {ADDRESSES['iptables']} 80 </dev/null && exit 7; exit 8"
REACHED, KEPT_OUT = 7, 8


@pytest.fixture(scope="module")
def dockerd() -> Iterator[Dockerd]:
    busybox_image()
    need()
    root = imds.root_of_cgroups()
    if root is None or shutil.which("iptables-restore") is None:
        pytest.skip("needs iptables, and cgroups of version 2")
    with ExitStack() as stack:
        engine = stack.enter_context(Dockerd())
        engine.start(live_restore=False)
        save = subprocess.Popen(["docker", "save", BUSYBOX], stdout=subprocess.PIPE)
        subprocess.run(["docker", "--host", engine.host, "load"], stdin=save.stdout, check=True, capture_output=True)
        assert save.wait(60) == 0
        inside = ("nsenter", f"--net=/run/netns/{engine.name}")
        for address, bits in ((ADDRESSES["iptables"], 32), (ADDRESSES["ip6tables"], 128)):
            words = [*inside, "ip", "addr", "add", f"{address}/{bits}", "dev", "lo"]
            subprocess.run(words, check=True, capture_output=True)
        stack.enter_context(served(inside))
        yield engine


@pytest.fixture(scope="module")
def routed(dockerd: Dockerd) -> Iterator[None]:
    """Have the metadata service's address lie behind the engine's network, one hop on, as it does on EC2."""
    beyond = f"{dockerd.name}-m"
    inside, outside = (("nsenter", f"--net=/run/netns/{name}") for name in (dockerd.name, beyond))
    address = ADDRESSES["iptables"]
    with ExitStack() as stack:
        run(("ip", "netns", "add", beyond))
        stack.callback(subprocess.run, ["ip", "netns", "delete", beyond], capture_output=True)
        run((*inside, "ip", "link", "add", "meta0", "type", "veth", "peer", "name", "meta1", "netns", beyond))
        stack.callback(subprocess.run, [*inside, "ip", "link", "delete", "meta0"], capture_output=True)
        run((*inside, "ip", "addr", "del", f"{address}/32", "dev", "lo"))
        stack.callback(run, (*inside, "ip", "addr", "add", f"{address}/32", "dev", "lo"))
        run((*inside, "ip", "addr", "add", "10.98.0.1/24", "dev", "meta0"))
        run((*inside, "ip", "link", "set", "meta0", "up"))
        run((*inside, "ip", "route", "add", f"{address}/32", "dev", "meta0"))
        for words in (("link", "set", "lo", "up"), ("addr", "add", f"{address}/32", "dev", "meta1")):
            run((*outside, "ip", *words))
        run((*outside, "ip", "link", "set", "meta1", "up"))
        run((*outside, "ip", "route", "add", "10.98.0.0/24", "dev", "meta1"))
        run((*outside, "ip", "addr", "add", f"{ADDRESSES['ip6tables']}/128", "dev", "lo"))
        stack.enter_context(served(outside))
        yield


def test_a_build_on_a_bridge_is_kept_out_by_what_forwards_for_it(dockerd: Dockerd, routed: None) -> None:
    guard = Guard(SystemClock(), imds.root_of_cgroups(), (), ("nsenter", f"--net=/run/netns/{dockerd.name}"))
    guard.remove()
    assert tried(dockerd, None, "bridge") == (REACHED, False), "nothing guards yet"
    assert guard.hold().holds
    assert tried(dockerd, None, "bridge") == (KEPT_OUT, False)
    guard.remove()


def run(words: tuple[str, ...]) -> None:
    done = subprocess.run(words, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, f"{words}: {done.stderr}"


@contextmanager
def served(inside: tuple[str, ...]) -> Iterator[None]:
    """Have a stand-in listen at the addresses of the metadata service, in the network that *inside* leads to."""
    words = [*inside, sys.executable, "-c", SERVE, *ADDRESSES.values()]
    with subprocess.Popen(words, stdout=subprocess.PIPE) as server:
        try:
            assert server.stdout is not None
            assert server.stdout.readline() == b"ready\n"
            yield
        finally:
            server.kill()


def tried(dockerd: Dockerd, parent: str | None, network: str = "host") -> tuple[int, bool]:
    """Run a container in the engine's own network that tries; return its exit status, whether it lay in *parent*."""
    engine = DockerEngine(base_url=dockerd.host)
    root = imds.root_of_cgroups()
    build = f"guard:{uuid.uuid4()}"
    script = f"until [ -e /go ]; do sleep 0.05; done; {TRIES}"
    spec = ContainerSpec(
        build, "guard", BUSYBOX, ("/bin/sh", "-c", script), "/", (), network=network, cgroup_parent=parent
    )
    container = engine.create(spec)
    try:
        engine.start(container)
        placed = bool(parent and root and (root / parent.strip("/") / container).is_dir())
        dockerd.docker("exec", container, "touch", "/go")
        until(lambda: not (state := engine.inspect(container)) or not state.running, "the end of the container")
        state = engine.inspect(container)
        assert state is not None
        return state.exit_code, placed
    finally:
        engine.remove(container)


def test_a_build_in_the_network_of_the_host_is_kept_out_and_all_else_on_the_host_is_not(dockerd: Dockerd) -> None:
    parent = f"{dockerd.name}-builds"
    guard = Guard(SystemClock(), imds.root_of_cgroups(), (parent,), ("nsenter", f"--net=/run/netns/{dockerd.name}"))
    try:
        assert tried(dockerd, f"/{parent}") == (REACHED, True), "nothing guards yet"
        verdict = guard.hold()
        assert verdict.holds, verdict.problem
        assert tried(dockerd, f"/{parent}") == (KEPT_OUT, True)
        assert tried(dockerd, None) == (REACHED, False), "a container that is no build"
    finally:
        top = Path("/sys/fs/cgroup")
        for place in (top / parent, *top.glob(f"*/{parent}")):
            with suppress(OSError):
                place.rmdir()
