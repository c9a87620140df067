"""Builds that take too much of the disk, and what a daemon that was killed leaves behind."""

from __future__ import annotations

import subprocess
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from agent.container.upkeep import DockerUpkeep
from tests.images import docker
from tests.journey.daemon import Daemon, failure
from tests.journey.waiting import until

pytestmark = pytest.mark.docker

DaemonMaker = Callable[..., Daemon]


@pytest.fixture(scope="module")
def with_volume(busybox: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """An image that keeps a directory in an anonymous volume."""
    name = f"buildspecd-test-volume:{uuid.uuid4().hex[:12]}"
    place = tmp_path_factory.mktemp("image")
    (place / "Dockerfile").write_text(f"FROM {busybox}\nVOLUME /kept\n")
    docker("build", "--quiet", "--tag", name, str(place))
    yield name
    docker("rmi", "--force", name)


def volumes(container: str) -> list[str]:
    form = '{{range .Mounts}}{{if eq .Type "volume"}}{{.Name}} {{end}}{{end}}'
    return docker("inspect", "--format", form, container).split()


def exists(volume: str) -> bool:
    done = subprocess.run(["docker", "volume", "inspect", volume], capture_output=True, check=False)
    return done.returncode == 0


def test_a_build_over_its_quota_is_stopped_and_the_other_goes_on(
    with_volume: str, busybox: str, new_daemon: DaemonMaker
) -> None:
    settings = {"disk": {"build_quota": "16MiB", "reserve": 0}, "retention": {"failed_workspaces": "1h"}}
    daemon = new_daemon(settings=settings).start()
    good = daemon.ask(daemon.inline(busybox, "until test -e end; do usleep 20000; done", "echo well"))
    command = "while true; do head -c 1000000 /dev/zero >> /kept/file; usleep 20000; done"
    greedy = daemon.ask(daemon.inline(with_volume, command))
    until(lambda: daemon.containers(greedy), "a container")
    (volume,) = volumes(daemon.containers(greedy)[0])
    greedy = daemon.ended(greedy, 180)
    assert (greedy["buildStatus"], failure(greedy)[:2]) == ("FAILED", ("BUILD", "DISK_QUOTA_EXCEEDED"))
    assert "disk.build_quota is 16.0 MiB" in failure(greedy)[2]
    daemon.assert_nothing_left(greedy)
    assert not exists(volume)
    (daemon.workspace(good) / "end").touch()
    good = daemon.ended(good, 180)
    assert good["buildStatus"] == "SUCCEEDED", daemon.text(good)
    red = daemon.build(daemon.inline(busybox, "echo here > mine", "false"))
    assert Path(red["buildspecd"]["workspace"], "mine").read_text() == "here\n"
    assert red["buildspecd"]["workspace"] in daemon.cli("show", red["id"]).stdout.decode()


def test_what_a_killed_daemon_left_is_gone_after_the_next_sweep_and_nothing_else(
    with_volume: str, busybox: str, new_daemon: DaemonMaker
) -> None:
    daemon = new_daemon().start()
    build = daemon.ask(daemon.inline(with_volume, "echo begun", "sleep 600"))
    daemon.until_said(build, "\nbegun\n")
    (volume,) = volumes(daemon.containers(build)[0])
    assert daemon.process is not None
    daemon.process.kill()
    daemon.process.wait()
    named = f"buildspecd-test-{uuid.uuid4().hex[:12]}"
    docker("volume", "create", named)
    stranger = docker("create", "--name", f"buildspecd-{uuid.uuid4()}", "-v", f"{named}:/x", busybox, "true").strip()
    label, gone = f"buildspecd.agent={daemon.agent_id()}", "buildspecd.build=web:gone"
    docker("create", "--label", label, "--label", gone, "-v", f"{named}:/x", busybox, "true")
    uuid_of_nobody = str(uuid.uuid4())
    for parent in (daemon.state / "builds", daemon.runtime / daemon.agent_id()):
        (parent / uuid_of_nobody / "workspace").mkdir(parents=True)
    (daemon.state / "builds" / "mine.txt").touch()
    try:
        daemon.start()
        until(lambda: len(daemon.containers()) == 1, "the janitor's first sweep")
        until(lambda: not (daemon.state / "builds" / uuid_of_nobody / "workspace").exists(), "a sweep of directories")
        until(lambda: not (daemon.runtime / daemon.agent_id() / uuid_of_nobody).exists(), "a sweep of secrets")
        assert (daemon.state / "builds" / "mine.txt").exists()
        assert docker("ps", "--all", "--quiet", "--no-trunc", "--filter", f"id={stranger}").strip() == stranger
        assert exists(named)
        daemon.cli("stop", build["id"])
        assert daemon.ended(build, 120)["buildStatus"] == "STOPPED"
        assert not exists(volume)
    finally:
        docker("rm", "--force", stranger)
        docker("volume", "rm", named)


def test_only_the_name_that_we_pulled_is_removed_and_not_under_a_container(busybox: str) -> None:
    upkeep = DockerUpkeep()
    name = f"buildspecd-test-image:{uuid.uuid4().hex[:12]}"
    docker("tag", busybox, name)
    identity = upkeep.image_id(name)
    assert identity.startswith("sha256:")
    assert upkeep.image_id("buildspecd-test-nothing:1") == ""
    assert upkeep.remove_image("buildspecd-test-nothing:1", identity)
    assert upkeep.remove_image(name, "sha256:another")
    assert upkeep.image_id(name) == identity
    container = docker("create", name, "true").strip()
    assert not upkeep.remove_image(name, identity)
    docker("rm", container)
    assert upkeep.remove_image(name, identity) in (True, False)  # others' tests may have containers of the same image
    assert upkeep.image_id(busybox) == identity
    docker("rmi", "--force", name) if upkeep.image_id(name) else None
