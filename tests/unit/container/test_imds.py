"""The guard's rules, in a network of the test's own where a stand-in has the metadata service's addresses."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from agent.container import imds
from agent.container.imds import ADDRESSES, CHAIN, FORWARDED, Guard, Verdict
from agent.kit.clock import SystemClock

SERVE = """
import selectors, socket, sys
selector = selectors.DefaultSelector()
for family, address in ((socket.AF_INET, sys.argv[1]), (socket.AF_INET6, sys.argv[2])):
    selector.register(socket.create_server((address, 80), family=family, backlog=128), selectors.EVENT_READ)
print("ready", flush=True)
while True:
    for key, _ in selector.select():
        key.fileobj.accept()[0].close()
"""


@dataclass
class Network:
    """A network namespace, and a cgroup that stands for that of all builds."""

    name: str
    parent: Path
    guard: Guard

    def run(self, *words: str, check: bool = True) -> str:
        done = subprocess.run([*self.guard.prefix, *words], capture_output=True, text=True, timeout=60)
        assert done.returncode == 0 or not check, f"{words}: {done.stderr}"
        return done.stdout

    def rules(self, tool: str = "iptables") -> list[str]:
        return self.run(tool, "-w", "10", "-S").splitlines()


def _need(root: Path | None) -> Path:
    if os.geteuid() != 0:
        pytest.skip("only root makes rules and namespaces")
    for tool in ("ip", "nsenter", "iptables", "iptables-restore", "ip6tables"):
        if shutil.which(tool) is None:
            pytest.skip(f"{tool} is not installed")
    if root is None:
        pytest.skip("no cgroups of version 2 are mounted")
    if not os.access(root, os.W_OK):
        pytest.skip(f"{root} is read-only")
    return root


@pytest.fixture
def network() -> Iterator[Network]:
    root = _need(imds.root_of_cgroups())
    name = f"bsd-imds-{uuid.uuid4().hex[:6]}"
    parent = root / name
    with ExitStack() as stack:
        stack.callback(lambda: parent.is_dir() and parent.rmdir())
        subprocess.run(["ip", "netns", "add", name], check=True, capture_output=True, timeout=60)
        stack.callback(subprocess.run, ["ip", "netns", "del", name], capture_output=True, timeout=60)
        guard = Guard(SystemClock(), root, (name,), ("nsenter", f"--net=/run/netns/{name}"))
        found = Network(name, parent, guard)
        found.run("ip", "link", "set", "lo", "up")
        for address, bits in ((ADDRESSES["iptables"], 32), (ADDRESSES["ip6tables"], 128)):
            found.run("ip", "addr", "add", f"{address}/{bits}", "dev", "lo")
        parent.mkdir()
        (parent / "probe").mkdir()
        tried = found.run(
            "iptables", "-A", "OUTPUT", "-m", "cgroup", "--path", f"{name}/probe", "-j", "ACCEPT", check=False
        )
        (parent / "probe").rmdir()
        if "probe" not in found.run("iptables", "-S", "OUTPUT"):
            pytest.skip(f"this kernel has no xt_cgroup: {tried}")
        found.run("iptables", "-F", "OUTPUT")
        server = subprocess.Popen(
            [*guard.prefix, sys.executable, "-c", SERVE, *ADDRESSES.values()],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        stack.callback(server.wait, 60)
        stack.callback(server.kill)
        assert server.stdout is not None
        assert server.stdout.readline() == b"ready\n"
        yield found


def test_builds_are_kept_from_the_metadata_service_and_the_host_is_not(network: Network) -> None:
    assert "reaches 169.254.169.254" in network.guard.reached(), "nothing guards yet"
    verdict = network.guard.hold()
    assert verdict.holds, verdict.problem
    outside = "import socket,sys; socket.create_connection((sys.argv[1], 80), 20); print('reached')"
    for address in ADDRESSES.values():
        assert network.run(sys.executable, "-c", outside, address) == "reached\n"
    network.guard.remove()
    assert "reaches" in network.guard.reached()
    assert not [line for line in network.rules() if "BUILDSPECD" in line]


def test_it_is_first_in_its_chain_and_once_whatever_others_do(network: Network) -> None:
    assert network.guard.hold().holds
    before = network.rules(), network.rules("ip6tables")
    assert network.guard.hold().holds
    assert (network.rules(), network.rules("ip6tables")) == before
    network.run("iptables", "-I", "OUTPUT", "1", "-j", "ACCEPT")
    network.run("iptables", "-A", "OUTPUT", "-j", CHAIN)
    network.run("iptables", "-F", CHAIN)
    assert "reaches" in network.guard.reached()
    assert network.guard.hold().holds
    output = [line for line in network.rules() if line.startswith("-A OUTPUT")]
    assert output == [f"-A OUTPUT -j {CHAIN}", "-A OUTPUT -j ACCEPT"]


def test_a_cgroup_that_was_made_anew_is_guarded_like_the_one_before(network: Network) -> None:
    assert network.guard.hold().holds
    network.parent.rmdir()
    network.parent.mkdir()
    assert "reaches" in network.guard.reached(), "the rule means the cgroup that is gone"
    assert network.guard.hold().holds


def test_what_is_forwarded_is_rejected_ahead_of_the_rules_of_docker(network: Network) -> None:
    network.run("iptables", "-N", "DOCKER-USER")
    network.run("iptables", "-A", "FORWARD", "-j", "DOCKER-USER")
    assert network.guard.hold().holds
    rules = network.rules()
    assert f"-A DOCKER-USER -j {FORWARDED}" in rules
    assert [line for line in rules if line.startswith(f"-A {FORWARDED} -d 169.254.169.254/32 -j REJECT")]
    assert f"-A FORWARD -j {FORWARDED}" in network.rules("ip6tables"), "there Docker has no chain"


def test_a_host_whose_firewall_or_cgroups_do_not_serve_is_told_so(tmp_path: Path) -> None:
    nowhere = Guard(SystemClock(), None)
    assert "no cgroups of version 2" in nowhere.hold().problem
    missing = replace(nowhere, root=tmp_path, prefix=(str(tmp_path / "no-such-program"),))
    assert "is not installed" in missing.hold().problem
    refusing = replace(missing, prefix=("false",))
    assert not refusing.hold().holds


def test_the_word_of_the_guard_is_believed_as_long_as_it_is_fresh(tmp_path: Path) -> None:
    file = tmp_path / "guard" / "state.json"
    assert imds.published(1000.0, file).problem == "no guard runs on this host"
    imds.publish(Verdict(True, "", 1000.0), file)
    assert imds.published(1100.0, file).holds
    assert "does not run any more" in imds.published(1300.0, file).problem
    imds.publish(Verdict(False, "it is broken", 1000.0), file)
    assert imds.published(1000.0, file).problem == "it is broken"
    for text in ("", "[]", "{}", '{"holds": true, "problem": "", "at": "x"}'):
        file.write_text(text)
        assert not imds.published(1000.0, file).holds


def test_the_parent_is_named_as_the_driver_of_the_engine_wants_it(tmp_path: Path) -> None:
    assert imds.parent_of("systemd") == "buildspecd.slice"
    assert imds.parent_of("cgroupfs") == "/buildspecd"
    (tmp_path / "buildspecd.slice/docker-abc.scope").mkdir(parents=True)
    (tmp_path / "buildspecd/def").mkdir(parents=True)
    assert [imds.lies_in_its_cgroup(name, tmp_path) for name in ("abc", "def", "xyz")] == [True, True, False]
    assert not imds.lies_in_its_cgroup("abc", None)
