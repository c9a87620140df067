"""How builds are ended: in every step, whatever hangs there, and whatever the processes of the build make of it."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.fakes.metadata import metadata_service
from tests.images import docker
from tests.journey.daemon import Daemon, Json, phase
from tests.journey.waiting import until

pytestmark = pytest.mark.docker

SOON = 60.0
"""Seconds for what takes a fraction of one: machines are slow and full."""


@contextmanager
def silence() -> Iterator[tuple[str, Callable[[], int]]]:
    """Yield the address of a server that takes every connection and says nothing, and how many it has taken."""
    taken: list[socket.socket] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def take() -> None:
            while True:
                try:
                    taken.append(listener.accept()[0])
                except OSError:
                    return

        threading.Thread(target=take, daemon=True).start()
        try:
            yield f"127.0.0.1:{listener.getsockname()[1]}", lambda: len(taken)
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            for connection in taken:
                connection.close()


def _stopped(daemon: Daemon, build: Json, within: float = SOON) -> tuple[Json, float]:
    """Stop a build; return it when it has ended, and how long that took."""
    begun = time.monotonic()
    daemon.client.call("StopBuild", id=build["id"])
    ended = daemon.ended(build, within)
    assert ended["buildStatus"] == "STOPPED"
    return ended, time.monotonic() - begun


def test_a_stop_is_heeded_while_a_git_server_says_nothing(daemon: Daemon, busybox: str) -> None:
    with silence() as (address, taken):
        source = {"type": "GIT", "location": f"http://{address}/a.git"}
        build = daemon.ask(daemon.project(busybox, source=source))
        until(taken, "a question to the git server")
        until(lambda: daemon.show(build)["currentPhase"] == "DOWNLOAD_SOURCE", "DOWNLOAD_SOURCE")
        ended, seconds = _stopped(daemon, build)
    assert phase(ended, "DOWNLOAD_SOURCE")["phaseStatus"] == "STOPPED"
    assert [one["phaseType"] for one in ended["phases"]][-2:] == ["FINALIZING", "COMPLETED"]
    daemon.assert_nothing_left(ended)
    print(f"git fetch: {seconds:.2f} s")


def test_a_stop_is_heeded_while_a_registry_says_nothing(daemon: Daemon) -> None:
    with silence() as (address, taken):
        build = daemon.ask(daemon.inline(f"{address}/app:1", "true"))
        until(taken, "a question to the registry")
        ended, seconds = _stopped(daemon, build)
    assert phase(ended, "PROVISIONING")["phaseStatus"] == "STOPPED"
    assert ended["phases"][-1]["phaseType"] == "COMPLETED"
    print(f"image pull: {seconds:.2f} s")


def test_a_time_limit_is_heeded_while_a_registry_says_nothing(daemon: Daemon) -> None:
    with silence() as (address, _):
        build = daemon.build(daemon.inline(f"{address}/app:1", "true"), timeoutInMinutesOverride=0.02)
    assert phase(build, "PROVISIONING")["phaseStatus"] == "TIMED_OUT"


def test_a_stop_ends_what_left_its_session_forked_on_or_does_not_hear(daemon: Daemon, busybox: str) -> None:
    deaf = "trap '' TERM INT HUP; while :; do sleep 1000; done"
    commands = (
        f'setsid sh -c "{deaf}" & (setsid sh -c "({deaf}) &" &)',
        "i=0; while [ $i -lt 200 ]; do sleep 1000 & i=$((i + 1)); done; (true & exec sleep 1000) &",
        f"echo begun; {deaf}",
        "echo never",
    )
    phases = {"build": {"commands": commands, "finally": ["echo never"]}}
    spec = json.dumps({"version": 0.2, "phases": phases})
    build = daemon.ask(daemon.project(busybox, source={"type": "NO_SOURCE", "buildspec": spec}))
    daemon.until_said(build, "\nbegun\n")
    ended, seconds = _stopped(daemon, build)
    assert phase(ended, "BUILD")["phaseStatus"] == "STOPPED"
    assert [one["phaseType"] for one in ended["phases"]][-3:] == ["BUILD", "FINALIZING", "COMPLETED"]
    assert "\nnever\n" not in daemon.text(ended)
    daemon.assert_nothing_left(ended)
    print(f"process tree with a grace of 1 s: {seconds:.2f} s")


def test_a_paused_container_does_not_keep_its_build_from_being_stopped(daemon: Daemon, busybox: str) -> None:
    build = daemon.ask(daemon.inline(busybox, "echo begun; sleep 1000"))
    daemon.until_said(build, "\nbegun\n")
    docker("pause", *daemon.containers(build))
    ended, _ = _stopped(daemon, build)
    daemon.assert_nothing_left(ended)


def test_a_drain_holds_over_a_restart_until_it_is_ended(daemon: Daemon, busybox: str) -> None:
    project = daemon.inline(busybox, "echo begun; sleep 1000")
    running = daemon.ask(project)
    daemon.until_said(running, "\nbegun\n")
    late = daemon.cli("drain", "--timeout", "0")
    assert (late.returncode, b"draining: 1 running" in late.stderr) == (1, True), late.stderr
    waiting = daemon.ask(project)
    daemon.restart()
    assert daemon.client.call("State")["draining"] is True
    done = daemon.cli("drain", "--stop-after", "0")
    assert done.returncode == 0, done.stderr
    assert daemon.ended(running)["buildStatus"] == "STOPPED"
    assert daemon.show(waiting)["currentPhase"] == "QUEUED"
    assert daemon.cli("drain", "--cancel").returncode == 0
    daemon.until_said(waiting, "\nbegun\n")
    _stopped(daemon, waiting)


def test_a_spot_notice_ends_queue_and_builds_and_takes_no_new_ones(tmp_path: Path, busybox: str) -> None:
    with metadata_service() as metadata:
        environment = {"AWS_EC2_METADATA_SERVICE_ENDPOINT": metadata.address, "AWS_REGION": "eu-central-1"}
        settings = {"builds": {"stop_grace": "1s", "max_concurrent": 1}, "events": None, "metrics": None}
        with Daemon(tmp_path, environment=environment, settings=settings) as daemon:
            project = daemon.inline(busybox, "echo begun; sleep 1000", logsConfig=_NO_CLOUD)
            running, waiting = daemon.ask(project), daemon.ask(project)
            daemon.until_said(running, "\nbegun\n")
            metadata.says["spot/instance-action"] = '{"action": "terminate", "time": "2020-01-01T00:00:00Z"}'
            ended = [daemon.ended(build) for build in (waiting, running)]
            assert [build["buildStatus"] for build in ended] == ["STOPPED", "STOPPED"]
            assert phase(ended[0], "QUEUED")["phaseStatus"] == "STOPPED"
            assert "host interrupted: Spot" in phase(ended[1], "BUILD")["contexts"][0]["message"]
            refused = daemon.cli("start", project)
            assert refused.returncode != 0
            assert b"no build begins here any more" in refused.stderr


_NO_CLOUD = {"cloudWatchLogs": {"status": "DISABLED"}}
