"""The Docker engine is started anew under a running build: a real one, in a namespace of its own."""

from __future__ import annotations

import re
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import pytest

from agent.store.outbox import Outbox
from tests.images import busybox_image
from tests.journey.daemon import Daemon, Json, failure
from tests.journey.waiting import until
from tests.restart.dockerd import Dockerd, need
from tests.restart.test_killed_daemon import HELD, release, stored

pytestmark = [pytest.mark.docker, pytest.mark.xdist_group("second engine")]

COUNTING = 'n=0; until [ -e released ]; do echo "line $n"; n=$((n+1)); sleep 0.02; done; echo "released after $n"'
BEGUN = "echo begun"


@pytest.fixture(scope="module")
def engine() -> Iterator[Dockerd]:
    """An engine for all of these stories; each starts and ends it as it likes."""
    need()
    with Dockerd() as found:
        yield found


@dataclass
class Site:
    """A daemon that uses the second engine."""

    engine: Dockerd
    daemon: Daemon
    image: str

    def begin(self, *commands: str, **agent: object) -> Json:
        """Start a build of *commands*, and wait until the first has said something."""
        build = self.daemon.ask(self.daemon.inline(self.image, *commands, agent=agent))
        until(lambda: self.printed(build), "the first output")
        return build

    def raw(self, build: Json) -> Path:
        return self.daemon.root(build) / "control" / "output"

    def printed(self, build: Json) -> bytes:
        return self.raw(build).read_bytes() if self.raw(build).exists() else b""

    def misses_the_engine(self) -> None:
        """Wait until the daemon has found the engine gone since the last time."""
        seen = self.daemon.said().count("the engine does not answer, waiting for it")
        until(lambda: self.daemon.said().count("the engine does not answer, waiting for it") > seen, "a warning")

    def assert_all_logged_and_nothing_left(self, build: Json, raw: BinaryIO, attempts: int = 1) -> None:
        """All that the containers wrote is in the log, the end is told once, and the engine is as it was."""
        assert attempts > 1 or raw.read() in self.daemon.log(build)
        self.daemon.assert_nothing_left(build)
        assert self.engine.docker("ps", "--all", "--quiet") == ""
        assert self.engine.docker("volume", "ls", "--quiet") == ""
        with stored(self.daemon) as database:
            told = [event for _, event in Outbox(database).pending("nobody", 1000)]
        ends = [event.build.status for event in told if event.kind == "state" and event.build.id == build["id"]]
        assert ends == ["IN_PROGRESS", build["buildStatus"]]


@pytest.fixture
def site(
    request: pytest.FixtureRequest, engine: Dockerd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Site]:
    """A daemon of the story's own, and the engine started, with or without live-restore."""
    monkeypatch.setenv("DOCKER_HOST", engine.host)  # of the client in our hands, and of the daemon
    engine.start(live_restore=request.param)
    with Daemon(tmp_path / "daemon") as daemon:
        try:
            yield Site(engine, daemon, busybox_image())
        finally:
            engine.start(live_restore=request.param)


@pytest.mark.parametrize("site", [True], indirect=True)
def test_with_live_restore_a_build_goes_on_while_the_engine_is_ended_or_killed_and_started(site: Site) -> None:
    build = site.begin(COUNTING)
    with site.raw(build).open("rb") as raw:
        for how in (signal.SIGTERM, signal.SIGKILL):
            site.engine.end(how)
            before = len(site.printed(build))
            site.misses_the_engine()
            until(lambda at=before: len(site.printed(build)) > at, "output while there is no engine")
            site.engine.start(live_restore=True)
        release(site.daemon, build)
        build = site.daemon.ended(build)
        assert build["buildStatus"] == "SUCCEEDED", build["phases"]
        numbers = [int(number) for number in re.findall(r"^line (\d+)$", site.daemon.text(build), re.MULTILINE)]
        assert numbers == list(range(len(numbers)))
        assert f"released after {len(numbers)}" in site.daemon.text(build).splitlines()
        site.assert_all_logged_and_nothing_left(build, raw)


@pytest.mark.parametrize("site", [False], indirect=True)
def test_without_live_restore_a_build_that_is_killed_with_the_engine_says_that_the_engine_was_restarted(
    site: Site,
) -> None:
    build = site.begin(COUNTING)
    with site.raw(build).open("rb") as raw:
        site.engine.end(signal.SIGTERM)
        site.engine.start(live_restore=False)
        build = site.daemon.ended(build)
        phase, code, message = failure(build)
        assert (build["buildStatus"], phase, code) == ("FAULT", "BUILD", "CONTAINER_LOST")
        assert "the Docker engine was restarted" in message
        assert build["buildspecd"]["cause"] == "ENGINE_RESTARTED"
        assert build["buildspecd"]["advice"]
        site.assert_all_logged_and_nothing_left(build, raw)


@pytest.mark.parametrize("site", [False], indirect=True)
def test_a_build_that_ends_in_order_because_the_engine_goes_down_says_so_too(site: Site) -> None:
    build = site.begin(BEGUN, *["sleep 0.2"] * 300)
    with site.raw(build).open("rb") as raw:
        site.engine.end(signal.SIGTERM)
        site.engine.start(live_restore=False)
        build = site.daemon.ended(build)
        assert (build["buildStatus"], build["buildspecd"]["cause"]) == ("FAULT", "ENGINE_RESTARTED"), build["phases"]
        site.assert_all_logged_and_nothing_left(build, raw)


@pytest.mark.parametrize("site", [False], indirect=True)
def test_where_the_project_allows_it_a_build_whose_engine_was_killed_starts_over_with_a_seam(site: Site) -> None:
    build = site.begin(BEGUN, HELD, rerun_lost=1)
    with site.raw(build).open("rb") as raw:
        site.engine.end(signal.SIGKILL)
        site.engine.start(live_restore=False)
        until(lambda: site.printed(build).count(b"\nbegun\n") == 2, "the second attempt")
        release(site.daemon, build)
        build = site.daemon.ended(build)
        assert build["buildStatus"] == "SUCCEEDED", build["phases"]
        before, seam, after = site.daemon.text(build).partition("starting over (1 of 1)")
        assert seam
        assert "engine was restarted" in before.splitlines()[-1]
        assert [part.splitlines().count("begun") for part in (before, after)] == [1, 1]
        assert not build["buildspecd"].get("cause")
        site.assert_all_logged_and_nothing_left(build, raw, attempts=2)


@pytest.mark.parametrize("site", [False], indirect=True)
def test_a_build_that_finds_no_engine_when_it_needs_a_container_tries_again(site: Site) -> None:
    project = site.daemon.inline(site.image, BEGUN)
    site.engine.end(signal.SIGTERM)
    build = site.daemon.ask(project)
    site.daemon.until_said(build, "trying again in")
    site.engine.start(live_restore=False)
    build = site.daemon.ended(build)
    assert build["buildStatus"] == "SUCCEEDED", build["phases"]
    assert site.daemon.text(build).splitlines().count("begun") == 1
    site.daemon.assert_nothing_left(build)
