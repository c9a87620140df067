"""What a build is given to run in: networks, memory, time, privileges."""

from __future__ import annotations

import functools
import subprocess

import pytest

from tests.fakes.serving import free_listener
from tests.images import docker
from tests.journey.daemon import Daemon, failure, phase

pytestmark = pytest.mark.docker

INTERFACES = "tail -n +3 /proc/net/dev | cut -d: -f1 | tr -d ' ' | sort | tr '\\n' ' '"


def test_a_build_sees_the_network_that_its_project_names(daemon: Daemon, busybox: str) -> None:
    with free_listener() as listener:
        port = listener.getsockname()[1]
        commands = (
            f"echo interfaces $({INTERFACES})",
            f"nc -w 2 127.0.0.1 {port} </dev/null && echo reached || echo cut",
        )
        builds = {
            network: daemon.ask(daemon.inline(busybox, *commands, agent={"network": network}))
            for network in ("host", "bridge", "none")
        }
        listener.settimeout(30)
        listener.accept()[0].close()
        said = {network: daemon.text(daemon.ended(build)) for network, build in builds.items()}
    assert "\nreached\n" in said["host"]
    assert "\ncut\n" in said["bridge"]
    assert "\ncut\n" in said["none"]
    assert "\ninterfaces lo\n" in said["none"]
    assert "\ninterfaces eth0 lo\n" in said["bridge"]
    assert "docker0" in said["host"].partition("\ninterfaces ")[2].partition("\n")[0]


def test_a_network_of_ones_own_can_be_named(daemon: Daemon, busybox: str) -> None:
    name = "journey-net"
    project = daemon.inline(busybox, f"echo interfaces $({INTERFACES})", agent={"network": name})
    docker("network", "create", name)
    try:
        text = daemon.text(daemon.build(project))
    finally:
        docker("network", "rm", name)
    assert "\ninterfaces eth0 lo\n" in text


def test_a_command_that_needs_too_much_memory_is_told_so(daemon: Daemon, debian: str) -> None:
    project = daemon.inline(debian, "python3 -c 'x = bytearray(200 << 20)'", agent={"resources": {"memory": 64}})
    build = daemon.build(project)
    assert build["buildStatus"] == "FAILED"
    assert "A process of this build was killed because the container ran out of memory" in daemon.text(build)
    assert build["buildspecd"]["cause"] == "OUT_OF_MEMORY"
    assert "while running python3 -c" in build["buildspecd"]["advice"]
    assert failure(build)[0] == "BUILD"
    daemon.assert_nothing_left(build)


def test_a_build_that_runs_out_of_time_is_ended(daemon: Daemon, busybox: str) -> None:
    build = daemon.build(
        daemon.inline(busybox, "trap '' TERM; echo begun; while :; do sleep 1; done", "echo never"),
        timeoutInMinutesOverride=0.03,
    )
    assert build["buildStatus"] == "FAILED"
    assert build["buildspecd"]["timedOut"] is True
    timed_out = phase(build, "BUILD")
    assert timed_out["phaseStatus"] == "TIMED_OUT"
    assert timed_out["contexts"] == [{"statusCode": "BUILD_TIMED_OUT", "message": "Build has timed out."}]
    assert [one["phaseType"] for one in build["phases"]][-3:] == ["BUILD", "FINALIZING", "COMPLETED"]
    assert "\nnever\n" not in daemon.text(build)
    daemon.assert_nothing_left(build)


@functools.cache
def _privileged_refusal(image: str) -> str:
    command = ["docker", "run", "--rm", "--privileged", image, "true"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stderr.strip() if done.returncode else ""


def test_privileged_mode_gives_a_build_the_whole_machine(daemon: Daemon, busybox: str) -> None:
    if refusal := _privileged_refusal(busybox):
        pytest.skip(f"this host gives no privileged containers: {refusal[-200:]}")
    commands = ("mkdir m && mount -t tmpfs none m && echo mounted || echo refused",)
    plain = daemon.text(daemon.build(daemon.inline(busybox, *commands)))
    project = daemon.inline(busybox, *commands, environment={"privilegedMode": True})
    assert "\nrefused\n" in plain
    assert "\nmounted\n" in daemon.text(daemon.build(project))
