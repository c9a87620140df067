"""The host lets us down: an engine that is away, a disk that is full, two daemons for one directory."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.fakes.repository import Repository
from tests.images import docker
from tests.journey.daemon import Daemon, buildspec, failure
from tests.journey.relay import Relay
from tests.journey.waiting import until

pytestmark = pytest.mark.docker

DaemonMaker = Callable[..., Daemon]


@pytest.fixture
def engine() -> Iterator[Relay]:
    """The way to the real Docker engine, closed at first; a short path, for a socket's name has 107 bytes."""
    place = tempfile.mkdtemp(prefix="bd-", dir="/tmp")
    with Relay(f"{place}/docker.sock", "/var/run/docker.sock") as relay:
        yield relay
    shutil.rmtree(place)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 24 MB."""
    if os.geteuid() != 0:
        pytest.skip("needs root to mount a small file system")
    place = tmp_path / "small"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", place], capture_output=True, check=False
    )
    if mounted.returncode != 0:
        pytest.skip(f"cannot mount a small file system: {mounted.stderr.decode().strip()}")
    yield place
    subprocess.run(["umount", "--lazy", place], check=True)


def test_a_daemon_starts_without_an_engine_and_builds_once_there_is_one(
    engine: Relay, busybox: str, new_daemon: DaemonMaker
) -> None:
    daemon = new_daemon(environment={"DOCKER_HOST": f"unix://{engine.front}"}).start()
    build = daemon.ask(daemon.inline(busybox, "echo begun"))
    until(lambda: "step failed, trying again" in daemon.said(), "a first try")
    assert daemon.show(build)["currentPhase"] == "PROVISIONING"
    engine.up()
    build = daemon.ended(build)
    assert build["buildStatus"] == "SUCCEEDED", daemon.text(build)
    daemon.assert_nothing_left(build)


def test_an_engine_that_is_away_for_a_while_costs_no_build(
    engine: Relay, busybox: str, new_daemon: DaemonMaker
) -> None:
    engine.up()
    daemon = new_daemon(environment={"DOCKER_HOST": f"unix://{engine.front}"}).start()
    build = daemon.ask(daemon.inline(busybox, "echo begun", _wait_for("on"), "echo on", _wait_for("end")))
    daemon.until_said(build, "\nbegun\n")
    engine.down()
    until(lambda: "the engine does not answer, waiting for it" in daemon.said(), "a look at the engine")
    (daemon.workspace(build) / "on").touch()
    daemon.until_said(build, "\non\n")
    engine.up()
    (daemon.workspace(build) / "end").touch()
    build = daemon.ended(build)
    assert build["buildStatus"] == "SUCCEEDED", daemon.text(build)
    daemon.assert_nothing_left(build)


def test_what_an_engine_that_is_away_at_the_end_keeps_is_cleared_away_later(
    engine: Relay, busybox: str, new_daemon: DaemonMaker
) -> None:
    engine.up()
    daemon = new_daemon(environment={"DOCKER_HOST": f"unix://{engine.front}"}).start()
    build = daemon.ask(daemon.inline(busybox, "echo begun", _wait_for("end")))
    daemon.until_said(build, "\nbegun\n")
    engine.down()
    (daemon.workspace(build) / "end").touch()
    build = daemon.ended(build)
    assert build["buildStatus"] == "SUCCEEDED", daemon.text(build)
    assert not (daemon.runtime / daemon.agent_id() / build["id"].partition(":")[2]).exists()
    engine.up()
    daemon.restart()
    until(lambda: daemon.containers(build) == [], "the janitor's first sweep")
    until(lambda: not (daemon.root(build) / "workspace").exists(), "the janitor's first sweep")


def _wait_for(name: str) -> str:
    return f"until test -e {name}; do usleep 20000; done"


def test_a_container_that_somebody_removes_is_a_fault_with_the_reason(daemon: Daemon, busybox: str) -> None:
    build = daemon.ask(daemon.inline(busybox, "echo begun", "sleep 600"))
    daemon.until_said(build, "\nbegun\n")
    docker("rm", "--force", daemon.containers(build)[0])
    build = daemon.ended(build)
    assert (build["buildStatus"], failure(build)[:2]) == ("FAULT", ("BUILD", "CONTAINER_LOST"))
    assert "Build container found dead before completing the build" in failure(build)[2]
    assert build["buildspecd"]["cause"] == "CONTAINER_REMOVED"
    daemon.assert_nothing_left(build)


def test_a_build_that_may_starts_over_when_its_container_is_lost_and_its_log_goes_on(
    daemon: Daemon, busybox: str
) -> None:
    commands = ("test ! -e left && echo fresh > left", "echo begun", "sleep 600")
    build = daemon.ask(daemon.inline(busybox, *commands, agent={"rerun_lost": 1}))
    daemon.until_said(build, "\nbegun\n")
    docker("rm", "--force", daemon.containers(build)[0])
    until(lambda: daemon.text(build).count("\nbegun\n") == 2, "the second attempt")
    docker("kill", daemon.containers(build)[0])
    build = daemon.ended(build)
    assert (build["buildStatus"], failure(build)[:2]) == ("FAULT", ("BUILD", "CONTAINER_LOST"))
    assert (build["buildspecd"]["cause"], build["buildspecd"]["reruns"]) == ("CONTAINER_KILLED", 1)
    seam = "buildspecd: somebody removed the container of the build; starting over (1 of 1)"
    before, _, after = daemon.text(build).partition(seam)
    assert [part.count("Entering phase BUILD") for part in (before, after)] == [1, 1]
    shown = daemon.cli("show", build["id"]).stdout.decode()
    assert "cause: CONTAINER_KILLED" in shown
    daemon.assert_nothing_left(build)


def test_a_source_that_does_not_fit_on_the_disk_is_a_fault_and_the_daemon_goes_on(
    small_disk: Path, repository: Repository, busybox: str, new_daemon: DaemonMaker
) -> None:
    repository.commit(**{"buildspec.yml": buildspec("echo begun")})
    (repository.work / "large").write_bytes(os.urandom(40 << 20))
    repository.commit("large", file="x")
    daemon = new_daemon(state=small_disk / "state").start()
    project = daemon.project(busybox, source={"type": "GIT", "location": repository.url})
    build = daemon.build(project)
    assert build["buildStatus"] == "FAULT", daemon.text(build)
    assert failure(build)[:2] == ("DOWNLOAD_SOURCE", "DISK_FULL")
    assert "free some" in build["buildspecd"]["advice"]
    daemon.assert_nothing_left(build)
    assert daemon.build(daemon.inline(busybox, "echo still here"))["buildStatus"] == "SUCCEEDED"


@pytest.mark.slow
def test_builds_that_fill_the_disk_are_given_up_and_the_next_one_has_room_again(
    small_disk: Path, busybox: str, new_daemon: DaemonMaker
) -> None:
    # No reserve: the watch over it would stop the greediest build now and then, before it finds no room by itself.
    daemon = new_daemon(state=small_disk / "state", settings={"disk": {"reserve": 0}}).start()
    files = daemon.ask(daemon.inline(busybox, "echo begun", "head -c 40000000 /dev/zero > large", "echo never"))
    output = daemon.ask(daemon.inline(busybox, "echo begun", "yes all work and no play | head -c 60000000"))
    ended = [daemon.ended(files, 90), daemon.ended(output, 90)]
    assert ended[0]["buildStatus"] in ("FAILED", "FAULT")  # whether room came back before its end was stored
    assert (ended[1]["buildStatus"], failure(ended[1])[1]) == ("FAULT", "DISK_FULL"), daemon.text(output)[-1000:]
    assert "free some disk space" in ended[1]["buildspecd"]["advice"]
    for build in ended:
        assert "\nnever\n" not in daemon.text(build)
        daemon.assert_nothing_left(build)
    assert daemon.build(daemon.inline(busybox, "echo still here"))["buildStatus"] == "SUCCEEDED"


def test_a_state_directory_has_one_daemon(busybox: str, new_daemon: DaemonMaker) -> None:
    first = new_daemon().start()
    done = first.cli("serve")
    assert first.process is not None
    assert done.returncode == 3
    assert f"{first.state} belongs to a daemon that runs (process {first.process.pid})" in done.stderr.decode()
    assert b"another state_dir" in done.stderr
    assert first.build(first.inline(busybox, "echo still here"))["buildStatus"] == "SUCCEEDED"


def test_who_asks_a_daemon_that_does_not_run_is_told_so(new_daemon: DaemonMaker) -> None:
    daemon = new_daemon()
    done = daemon.cli("builds")
    assert done.returncode == 3
    assert f"no daemon listens on {daemon.state}/agent.sock" in done.stderr.decode()


@pytest.mark.parametrize("text", ["state_dir: [1", "builds: {max_concurrent: many}", "unknown: 1"], ids=str)
def test_a_daemon_does_not_start_with_settings_that_are_wrong(new_daemon: DaemonMaker, text: str) -> None:
    daemon = new_daemon()
    daemon.config.write_text(text)
    done = daemon.cli("serve")
    assert done.returncode == 2
    assert f"{daemon.config}:1:" in done.stderr.decode()
