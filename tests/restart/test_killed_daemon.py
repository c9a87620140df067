"""A real daemon is killed while a real container builds: the build goes on, and nobody can tell afterwards."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from agent.store.builds import Builds
from agent.store.database import Database
from agent.store.outbox import Outbox
from tests.fakes.repository import Repository
from tests.images import docker
from tests.journey.cloud import Cloud
from tests.journey.daemon import Daemon, Json, failure
from tests.journey.registry import dead_port
from tests.journey.relay import Relay
from tests.journey.waiting import until

pytestmark = pytest.mark.docker

SECRET = "correct-horse-battery"
LINES = 2000
PHASES = ("install", "pre_build", "build", "post_build")
REPEATED = {
    "Assembling file list": 4,
    "Expanding .": 2,
    "Expanding file paths for base directory .": 2,
    "Phase context status code:  Message: ": 6,
}
"""Lines of ours that every log has more than once, and how often."""
HELD = "until [ -e released ]; do sleep 0.05; done"
NewDaemon = Callable[..., Daemon]


def kill(daemon: Daemon) -> None:
    """End the daemon as a power cut would."""
    assert daemon.process is not None
    daemon.process.kill()
    daemon.process.wait(10)


def release(daemon: Daemon, build: Json) -> None:
    """Let a build that is `HELD` go on."""
    (daemon.workspace(build) / "released").touch()


@contextlib.contextmanager
def stored(daemon: Daemon) -> Iterator[Database]:
    """Open the daemon's database beside it, or after its death."""
    database = Database(daemon.state / "builds.db")
    try:
        yield database
    finally:
        database.close()


def chatter(lines: int, chunks: int) -> dict[str, object]:
    """Return four phases that print numbered lines, *lines* each, in *chunks* with a rest in between."""
    each = lines // chunks
    script = (
        f"n=0; while [ $n -lt {lines} ]; do i=0; while [ $i -lt {each} ]; do "
        f'echo "PHASE line $n $PASSWORD"; n=$((n+1)); i=$((i+1)); done; sleep 0.05; done'
    )
    return {name: {"commands": [script.replace("PHASE", name)]} for name in PHASES}


class Story:
    """One project whose builds say, keep and deliver something known, and one build of it."""

    def __init__(self, daemon: Daemon, aws: Cloud, repository: Repository, image: str, *, lines: int, chunks: int):
        self.daemon, self.aws, self.lines = daemon, aws, lines
        self.bucket = aws.bucket()
        self.repository = repository
        parameter = f"/restart/{self.bucket}"
        aws.client("ssm").put_parameter(Name=parameter, Value=SECRET, Type="SecureString", Overwrite=True)
        phases = chatter(lines, chunks)
        commands = phases["build"]["commands"]  # type: ignore[index]
        commands += ["mkdir kept && head -c 3000000 /dev/urandom > kept/file", "cp kept/file out.bin"]
        self.buildspec = {
            "version": 0.2,
            "phases": phases,
            "artifacts": {"files": ["out.bin"]},
            "cache": {"paths": ["kept/**/*"]},
        }
        repository.commit(**{"buildspec.yml": json.dumps(self.buildspec)})
        self.project = daemon.project(
            image,
            source={"type": "GIT", "location": repository.url},
            environment={"environmentVariables": [{"name": "PASSWORD", "value": parameter, "type": "PARAMETER_STORE"}]},
            artifacts={
                "type": "S3",
                "location": self.bucket,
                "name": "out.zip",
                "packaging": "ZIP",
                "path": "artifact",
            },
            cache={"type": "S3", "location": f"{self.bucket}/cache"},
        )
        self.raw = daemon.place / "raw"

    def begin(self) -> Json:
        self.build = self.daemon.ask(self.project)
        threading.Thread(target=self._keep_raw, daemon=True).start()
        return self.build

    def _keep_raw(self) -> None:
        """Hold on to what the container writes, which goes away with the build."""

        def look() -> bool:
            with contextlib.suppress(FileNotFoundError):
                os.link(self.daemon.root(self.build) / "control" / "output", self.raw)
                return True
            return False

        until(look, "the output of the container")

    def phase(self) -> str:
        with stored(self.daemon) as database:
            build = Builds(database).get(self.build["id"])
            return str(build.current_phase) if build else ""

    def printed(self, text: str) -> bool:
        return self.raw.exists() and text.encode() in self.raw.read_bytes()

    def kill_at(self, moment: Callable[[], bool], what: str) -> None:
        """Kill the daemon as soon as *moment* has come, and start it again."""
        until(moment, what)
        kill(self.daemon)
        self.daemon.start()

    def assert_as_if_nothing_had_been(self) -> None:
        daemon, aws = self.daemon, self.aws
        build = daemon.ended(self.build)
        assert build["buildStatus"] == "SUCCEEDED", build["phases"]
        assert [one["buildNumber"] for one in daemon.builds(self.project)] == [1]
        raw, log = self.raw.read_bytes(), daemon.log(build)
        assert SECRET.encode() not in log
        assert raw.replace(SECRET.encode(), b"***") in log
        spoken = [line for line in log.decode().splitlines() if " line " in line and not line.startswith("[")]
        assert spoken == [f"{name} line {n} ***" for name in PHASES for n in range(self.lines)]
        own = [line[39:] for line in log.decode().splitlines() if line.startswith("[Container]")]
        assert {line: own.count(line) for line in own if own.count(line) > 1} == REPEATED
        # A kill while a batch was being sent puts it in doubt, for longer than the end of a build waits.
        record = until(lambda: _delivered(daemon, build), "the whole log", 120)
        assert (record["problems"], record["delivered"]["cloudwatch"]) == ({}, len(log))
        logs = build["logs"]
        shipped = aws.lines(logs["groupName"], logs["streamName"])
        assert shipped == [line or " " for line in log.decode().splitlines()]
        keys = aws.keys(self.bucket)
        assert [key for key in keys if not key.startswith("cache/")] == ["artifact/out.zip"]
        assert len([key for key in keys if key.startswith("cache/")]) == 1
        daemon.assert_nothing_left(build)
        with stored(daemon) as database:
            told = [event for _, event in Outbox(database).pending("nobody", 1000)]
        assert [(one.kind, str(one.completed_phase or one.build.status)) for one in told] == [
            ("state", "IN_PROGRESS"),
            *(("phase", one["phaseType"]) for one in build["phases"][1:-1]),
            ("state", "SUCCEEDED"),
        ]


MOMENTS: dict[str, Callable[[Story], bool]] = {
    "PROVISIONING": lambda story: story.phase() == "PROVISIONING",
    "DOWNLOAD_SOURCE": lambda story: story.phase() == "DOWNLOAD_SOURCE",
    "saving the cache": lambda story: "Uploading S3 cache" in story.daemon.text(story.build),
    "UPLOAD_ARTIFACTS": lambda story: story.phase() == "UPLOAD_ARTIFACTS",
    "FINALIZING": lambda story: story.phase() in ("FINALIZING", "COMPLETED"),
}


@pytest.fixture
def apart(aws: Cloud, new_daemon: NewDaemon) -> Daemon:
    """A daemon of one's own, started."""
    return new_daemon(environment=aws.environment).start()


@pytest.mark.parametrize("moment", MOMENTS)
def test_killed_at_a_moment_between_the_commands_the_build_ends_as_if_nothing_had_been(
    moment: str, apart: Daemon, aws: Cloud, repository: Repository, busybox: str
) -> None:
    story = Story(apart, aws, repository, busybox, lines=20, chunks=1)
    story.begin()
    story.kill_at(lambda: MOMENTS[moment](story), moment)
    story.assert_as_if_nothing_had_been()


def test_killed_in_every_phase_of_one_build_no_byte_of_its_log_is_lost_or_doubled(
    apart: Daemon, aws: Cloud, repository: Repository, busybox: str
) -> None:
    story = Story(apart, aws, repository, busybox, lines=LINES, chunks=20)
    story.begin()
    for name in PHASES:
        story.kill_at(lambda at=name: story.printed(f"{at} line {LINES // 3} "), name)
    story.assert_as_if_nothing_had_been()


def test_killed_at_moments_of_chance_the_build_ends_as_if_nothing_had_been(
    apart: Daemon, aws: Cloud, repository: Repository, busybox: str
) -> None:
    seed = int(os.environ.get("RESTART_SEED") or random.SystemRandom().randrange(10**6))
    print(f"RESTART_SEED={seed}")
    chance = random.Random(seed)
    story = Story(apart, aws, repository, busybox, lines=LINES, chunks=10)
    story.begin()
    for _ in range(4):
        moment = time.monotonic() + chance.uniform(0, 0.8)
        story.kill_at(lambda at=moment: time.monotonic() >= at, "a moment of chance")
    story.assert_as_if_nothing_had_been()


def test_sigterm_lets_go_of_a_running_build_and_the_next_daemon_takes_it_up(apart: Daemon, busybox: str) -> None:
    build = apart.ask(apart.inline(busybox, "echo begun", HELD, "echo done"))
    apart.until_said(build, "begun")
    assert apart.process is not None
    apart.process.send_signal(signal.SIGTERM)
    begun = time.monotonic()
    assert apart.process.wait(20) == 0
    assert time.monotonic() - begun < 5
    (container,) = apart.containers(build)
    assert docker("inspect", "--format", "{{.State.Running}}", container) == "true"
    apart.start()
    release(apart, build)
    assert apart.ended(build)["buildStatus"] == "SUCCEEDED"
    assert [line for line in apart.text(build).splitlines() if line in ("begun", "done")] == ["begun", "done"]
    apart.assert_nothing_left(build)


def test_a_storm_of_sigterms_costs_no_build(apart: Daemon, busybox: str) -> None:
    build = apart.ask(apart.inline(busybox, "echo begun", HELD))
    apart.until_said(build, "begun")
    for _ in range(3):
        assert apart.process is not None
        for _ in range(20):
            apart.process.send_signal(signal.SIGTERM)
        assert apart.process.wait(20) in (0, 128 + signal.SIGTERM)
        apart.start()
    release(apart, build)
    assert apart.ended(build)["buildStatus"] == "SUCCEEDED"


def test_a_build_that_ends_while_nobody_looks_is_taken_to_its_end_later(apart: Daemon, busybox: str) -> None:
    build = apart.ask(apart.inline(busybox, "echo begun", HELD, "echo done", "exit 3"))
    apart.until_said(build, "begun")
    kill(apart)
    release(apart, build)
    docker("wait", *apart.containers(build))
    apart.start()
    build = apart.ended(build)
    assert (build["buildStatus"], failure(build)[:2]) == ("FAILED", ("BUILD", "COMMAND_EXECUTION_ERROR"))
    assert "done" in apart.text(build).splitlines()
    apart.assert_nothing_left(build)


@pytest.mark.parametrize("command", [("kill",), ("rm", "--force")], ids=["killed", "removed"])
def test_a_container_that_is_lost_while_nobody_looks_is_a_fault_with_the_reason(
    command: tuple[str, ...], apart: Daemon, busybox: str
) -> None:
    build = apart.ask(apart.inline(busybox, "echo begun", HELD))
    apart.until_said(build, "begun")
    kill(apart)
    docker(*command, *apart.containers(build))
    apart.start()
    build = apart.ended(build)
    phase, code, message = failure(build)
    assert (build["buildStatus"], phase, code) == ("FAULT", "BUILD", "CONTAINER_LOST")
    assert message.startswith("Build container found dead before completing the build")
    assert build["buildspecd"]["advice"]
    apart.assert_nothing_left(build)


def test_builds_that_wait_keep_their_places_and_one_that_was_stopped_stays_so(
    new_daemon: NewDaemon, busybox: str
) -> None:
    daemon = new_daemon(settings={"builds": {"max_concurrent": 1, "stop_grace": "1s"}}).start()
    project = daemon.inline(busybox, "echo begun", HELD)
    first = daemon.ask(project)
    daemon.until_said(first, "begun")
    quick = daemon.inline(busybox, "echo quick")
    second, third, fourth = (daemon.ask(quick) for _ in range(3))
    daemon.client.call("StopBuild", id=third["id"])
    daemon.client.call("StopBuild", id=first["id"])
    kill(daemon)
    daemon.start()
    ended = [daemon.ended(build) for build in (first, second, third, fourth)]
    assert [build["buildStatus"] for build in ended] == ["STOPPED", "SUCCEEDED", "STOPPED", "SUCCEEDED"]
    assert ended[1]["endTime"] <= ended[3]["endTime"]
    for build in ended:
        daemon.assert_nothing_left(build)


def test_a_push_that_is_taken_in_while_the_daemon_is_killed_is_built_once(
    new_daemon: NewDaemon, repository: Repository, busybox: str
) -> None:
    daemon = new_daemon().start()
    spec = json.dumps({"version": 0.2, "phases": {"build": {"commands": ["echo begun"]}}})
    repository.commit(**{"buildspec.yml": spec})
    source = {"type": "GIT", "location": repository.url}
    project = daemon.project(busybox, source=source, agent={"poll": 1})
    daemon.nth(project, 1)
    for number in (2, 3):
        head = repository.commit(f"change {number}")

        def taken_in(at: int = number) -> bool:
            with stored(daemon) as database:
                return any(build.number == at for build in Builds(database).list())

        until(taken_in, f"build {number}")
        kill(daemon)
        daemon.start()
        assert daemon.nth(project, number)["resolvedSourceVersion"] == head
    assert daemon.cli("builds", "--json").returncode == 0
    assert len({build["resolvedSourceVersion"] for build in daemon.builds(project)}) == len(daemon.builds(project)) == 3


def test_lines_arrive_after_an_outage_of_cloudwatch_that_outlasts_build_and_daemon(
    aws: Cloud, new_daemon: NewDaemon, busybox: str
) -> None:
    port = dead_port()
    environment = {**aws.environment, "AWS_ENDPOINT_URL_CLOUDWATCH_LOGS": f"http://127.0.0.1:{port}"}
    daemon = new_daemon(environment=environment, settings={"events": None, "metrics": None}).start()
    build = daemon.build(daemon.inline(busybox, "echo begun", "echo done"))
    assert build["buildStatus"] == "SUCCEEDED"
    assert "were not delivered in time" in build["buildspecd"]["logs"]["problems"]["cloudwatch"]
    kill(daemon)
    with Relay(("127.0.0.1", port), ("127.0.0.1", int(aws.url.rpartition(":")[2]))) as relay:
        relay.up()
        daemon.start()
        record = until(lambda: _delivered(daemon, build), "the rest of the log")
    assert record["problems"] == {}
    log, logs = daemon.text(build), build["logs"]
    assert aws.lines(logs["groupName"], logs["streamName"]) == [line or " " for line in log.splitlines()]


def _delivered(daemon: Daemon, build: Json) -> Json | None:
    record: Json = daemon.show(build)["buildspecd"]["logs"]
    return record if record["delivered"]["cloudwatch"] == record["bytes"] else None
