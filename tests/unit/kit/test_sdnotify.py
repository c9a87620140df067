"""systemd is told how the daemon stands, over a real datagram socket."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.kit.sdnotify import Notifier, handed_over


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.settimeout(5)
        yield channel


def test_every_message_arrives_in_systemds_words(listener: socket.socket, tmp_path: Path) -> None:
    address = str(tmp_path / "notify")
    listener.bind(address)
    systemd = Notifier({"NOTIFY_SOCKET": address})
    systemd.ready("2 projects")
    systemd.alive()
    systemd.status("1 build\nruns")
    systemd.reloading()
    systemd.stopping()
    received = [listener.recv(4096).decode() for _ in range(5)]
    assert received[:3] == ["READY=1\nSTATUS=2 projects", "WATCHDOG=1", "STATUS=1 build runs"]
    assert received[3].startswith("RELOADING=1\nMONOTONIC_USEC=")
    assert received[4] == "STOPPING=1"


def test_an_abstract_socket_is_reached(listener: socket.socket) -> None:
    name = f"buildspecd-test-{uuid.uuid4()}"
    listener.bind(f"\0{name}")
    Notifier({"NOTIFY_SOCKET": f"@{name}"}).ready()
    assert listener.recv(4096) == b"READY=1"


def test_without_systemd_nothing_happens(tmp_path: Path) -> None:
    Notifier({}).ready()
    Notifier({"NOTIFY_SOCKET": str(tmp_path / "gone")}).ready()


def test_a_socket_that_nobody_reads_holds_nobody_up(listener: socket.socket, tmp_path: Path) -> None:
    address = str(tmp_path / "notify")
    listener.bind(address)
    systemd = Notifier({"NOTIFY_SOCKET": address})
    for _ in range(5000):
        systemd.alive()


def test_the_watchdog_is_fed_at_half_its_time() -> None:
    assert Notifier({"WATCHDOG_USEC": "60000000"}).watchdog_interval == 30.0
    assert Notifier({"WATCHDOG_USEC": "60000000", "WATCHDOG_PID": str(os.getpid())}).watchdog_interval == 30.0
    assert Notifier({"WATCHDOG_USEC": "60000000", "WATCHDOG_PID": "1"}).watchdog_interval is None
    assert Notifier({}).watchdog_interval is None


def test_a_socket_is_handed_to_systemd_with_its_name(listener: socket.socket, tmp_path: Path) -> None:
    address = str(tmp_path / "notify")
    listener.bind(address)
    with socket.create_server(("127.0.0.1", 0)) as held:
        Notifier({"NOTIFY_SOCKET": address}).keep("roles-1", held)
        words, (handle, *_), _, _ = socket.recv_fds(listener, 4096, 4)
        assert words == b"FDSTORE=1\nFDNAME=roles-1"
        with socket.socket(fileno=handle) as same:
            assert same.getsockname() == held.getsockname()


_CHILD = """
import os, subprocess, sys
from agent.kit.sdnotify import handed_over
found = handed_over()
print(sorted((name, one.getsockname()[1]) for name, one in found.items()))
print([name for name in os.environ if name.startswith("LISTEN_")])
print(subprocess.run([sys.executable, "-c", "import os; os.fstat(3)"], stderr=subprocess.DEVNULL).returncode)
print(os.path.exists("/proc/self/fd/4"))
"""


def test_what_systemd_held_is_taken_by_name_once_and_no_child_gets_it() -> None:
    with socket.create_server(("127.0.0.1", 0)) as held, Path(os.devnull).open() as other:
        port, python = held.getsockname()[1], sys.executable
        words = f'exec 3<&{held.fileno()} 4<&{other.fileno()}; LISTEN_PID=$$ LISTEN_FDS=2 LISTEN_FDNAMES=a:b exec "$@"'
        done = subprocess.run(
            ["bash", "-c", words, "bash", python, "-c", _CHILD],
            pass_fds=(held.fileno(), other.fileno()),
            capture_output=True,
            text=True,
        )
    assert done.stdout.splitlines() == [f"[('a', {port})]", "[]", "1", "False"], done.stderr


@pytest.mark.parametrize("pid", ["1", "", "x"])
def test_what_is_meant_for_another_process_is_left_alone(pid: str) -> None:
    assert handed_over({"LISTEN_PID": pid, "LISTEN_FDS": "1", "LISTEN_FDNAMES": "a"}) == {}
