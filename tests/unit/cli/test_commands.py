"""The commands that talk to a daemon, against a real control socket."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.cli.client import Client
from agent.cli.follow import follow_to_the_end
from agent.cli.main import main
from agent.daemon.control import ProjectState
from agent.errors import DaemonNotRunning
from agent.kit.service import StopToken
from agent.model.build import ArtifactRecord, Build, CacheRecord, LogRecord
from agent.model.phase import PhaseContext, PhaseType
from agent.model.request import BuildRequest
from agent.model.status import Status
from agent.web.server import ControlServer
from tests.fakes.control import FakeControl, a_project, fake_arn
from tests.fakes.serving import running, socket_answers

Capture = pytest.CaptureFixture[str]


class Jump:
    """A clock whose every wait is over at once, and counts."""

    def __init__(self) -> None:
        self.time = 0.0

    def now(self) -> float:
        return self.time

    def monotonic(self) -> float:
        return self.time

    def wait(self, seconds: float, stop: StopToken) -> bool:
        self.time += seconds
        return stop.is_set


@pytest.fixture
def control(tmp_path: Path) -> FakeControl:
    return FakeControl(tmp_path / "logs", [a_project()])


@pytest.fixture
def daemon(control: FakeControl, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Client]:
    state = tmp_path / "state"
    state.mkdir()
    monkeypatch.setenv("BUILDSPECD_STATE_DIR", str(state))
    with running(ControlServer(control, state, fake_arn), lambda: socket_answers(state / "agent.sock")):
        yield Client(state)


def a_build(control: FakeControl, version: str | None = None) -> Build:
    return control.start(BuildRequest(project="web", initiator="ada", source_version=version))


@pytest.mark.usefixtures("daemon")
def test_start_prints_the_id_and_passes_version_and_variables(control: FakeControl, capsys: Capture) -> None:
    assert main(["start", "web", "--source-version", "dev", "-e", "A=1=2", "-e", "HOME"]) == 0
    build = control.get(capsys.readouterr().out.strip())
    assert build.source_version == "dev"
    assert [variable.name for variable in build.overrides] == ["A", "HOME"]
    assert build.overrides[0].value == "1=2"


@pytest.mark.usefixtures("daemon")
def test_start_of_an_unknown_project_is_exit_code_2(capsys: Capture) -> None:
    assert main(["start", "nope"]) == 2
    assert "Project cannot be found" in capsys.readouterr().err


@pytest.mark.usefixtures("daemon")
@pytest.mark.parametrize(
    ("status", "code"),
    [
        (Status.SUCCEEDED, 0),
        (Status.FAILED, 1),
        (Status.FAULT, 3),
        (Status.TIMED_OUT, 4),
        (Status.STOPPED, 5),
    ],
)
def test_start_follow_shows_the_log_and_ends_with_the_builds_code(
    control: FakeControl, capsysbinary: pytest.CaptureFixture[bytes], status: Status, code: int
) -> None:
    def end_it(build: Build) -> None:
        control.write_log(build.id, b"one\ntwo\xff\n")
        control.finish(build.id, status)

    ender = threading.Thread(target=lambda: end_it(_first(control)))
    ender.start()
    assert main(["start", "web", "--follow"]) == code
    ender.join()
    output = capsysbinary.readouterr()
    assert output.out == b"one\ntwo\xff\n"
    assert f"buildspecd: {status.value}".encode() in output.err


def _first(control: FakeControl) -> Build:
    pause = StopToken()
    while not (found := control.builds()):
        pause.wait(0.01)
    return found[0]


@pytest.mark.usefixtures("daemon")
def test_builds_are_a_table_newest_first(control: FakeControl, capsys: Capture) -> None:
    red = control.finish(a_build(control, "main").id, Status.FAILED)
    slow = control.finish(a_build(control, "x" * 90).id, Status.TIMED_OUT)
    assert main(["builds"]) == 0
    head, *rows = capsys.readouterr().out.splitlines()
    assert head.split() == ["NUMBER", "BUILD", "PROJECT", "STATUS", "SOURCE", "STARTED", "TIME"]
    assert rows[0].split()[:5] == ["2", slow.uuid[:8], "web", "TIMED_OUT", "x" * 90]
    assert rows[1].split()[:5] == ["1", red.uuid[:8], "web", "FAILED", "main"]
    assert rows[1].split()[-1] == "2s"


@pytest.mark.usefixtures("daemon")
def test_builds_as_json_are_in_the_shape_of_the_api(control: FakeControl, capsys: Capture) -> None:
    red = control.finish(a_build(control).id, Status.FAILED)
    green = control.finish(a_build(control).id, Status.SUCCEEDED)
    assert main(["builds", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert [build["id"] for build in document["builds"]] == [green.id, red.id]
    assert main(["builds", "--json", "--status", "failed", "--project", "web"]) == 0
    assert [build["id"] for build in json.loads(capsys.readouterr().out)["builds"]] == [red.id]
    assert main(["builds", "--project", "nope"]) == 2


@pytest.mark.usefixtures("daemon")
def test_show_says_why_a_build_failed_and_where_everything_is(control: FakeControl, capsys: Capture) -> None:
    context = PhaseContext(status_code="COMMAND_EXECUTION_ERROR", message="make \x1b[2J failed")
    build = control.finish(a_build(control, "main").id, Status.FAILED, context=context)
    control.store(
        build.evolve(
            artifacts=ArtifactRecord(location="arn:aws:s3:::b/web"),
            cache=CacheRecord(restored="hit", saved=True),
            logs=LogRecord(group_name="/aws/codebuild/web", stream_name="u", problems={"s3": "no such bucket"}),
            resolved_source_version="c0ffee",
            advice="install make",
        )
    )
    assert main(["show", build.uuid[:8]]) == 0
    page = capsys.readouterr().out
    for text in (
        f"{build.id}  FAILED",
        "main -> c0ffee",
        "by ada",
        "COMMAND_EXECUTION_ERROR: make \\x1b[2J failed",
        "arn:aws:s3:::b/web",
        "hit, saved",
        "/aws/codebuild/web u",
        "log to s3: no such bucket",
        "advice: install make",
    ):
        assert text in page
    assert "\x1b" not in page


@pytest.mark.usefixtures("daemon")
def test_show_as_json_is_one_build(control: FakeControl, capsys: Capture) -> None:
    build = a_build(control)
    assert main(["show", build.id, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["id"] == build.id


@pytest.mark.usefixtures("daemon")
@pytest.mark.parametrize("command", ["show", "logs", "stop", "retry"])
def test_an_unknown_build_is_exit_code_2(command: str, capsys: Capture) -> None:
    assert main([command, "ffff"]) == 2
    assert capsys.readouterr().err == "error: Build ffff does not exist\n"


@pytest.mark.usefixtures("daemon")
def test_logs_are_printed_as_they_are(control: FakeControl, capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    build = a_build(control)
    control.write_log(build.id, b"\x1b[31mred\x1b[0m\xff\n" * 40_000)
    assert main(["logs", build.uuid]) == 0
    assert capsysbinary.readouterr().out == b"\x1b[31mred\x1b[0m\xff\n" * 40_000


@pytest.mark.usefixtures("daemon")
def test_logs_that_are_gone_from_this_host_are_said_to_be_elsewhere(control: FakeControl, capsys: Capture) -> None:
    build = a_build(control)
    control.store(build.evolve(logs=LogRecord(group_name="g", stream_name="s", bytes=5)))
    assert main(["logs", build.uuid]) == 0
    assert "log-group:g:log-stream:s" in capsys.readouterr().err
    control.finish(build.id, Status.SUCCEEDED)
    assert main(["logs", "-f", build.uuid]) == 0


@pytest.mark.usefixtures("daemon")
def test_stop_ends_a_build_and_leaves_an_ended_one(control: FakeControl, capsys: Capture) -> None:
    build = a_build(control)
    assert main(["stop", build.uuid[:8]]) == 0
    assert control.get(build.id).status is Status.STOPPED
    assert main(["stop", build.uuid[:8]]) == 0
    assert "has ended already: STOPPED" in capsys.readouterr().err


@pytest.mark.usefixtures("daemon")
def test_retry_prints_the_id_of_the_new_build(control: FakeControl, capsys: Capture) -> None:
    old = control.finish(a_build(control).id, Status.FAILED)
    assert main(["retry", old.uuid[:8]]) == 0
    assert control.get(capsys.readouterr().out.strip()).retry_of == old.id


@pytest.mark.usefixtures("daemon")
def test_drain_waits_for_the_running_builds(control: FakeControl, capsys: Capture) -> None:
    build = a_build(control)
    assert main(["drain", "--no-wait"]) == 0
    assert capsys.readouterr().err == "draining: 1 running\n"

    def end_it() -> None:
        control.finish(build.id, Status.SUCCEEDED)

    threading.Timer(0.2, end_it).start()
    assert main(["drain"]) == 0
    assert capsys.readouterr().err == "waiting for 1 running build\ndraining: 0 running\n"


@pytest.mark.usefixtures("daemon")
def test_projects_are_listed_with_last_build_and_mistakes(control: FakeControl, capsys: Capture) -> None:
    control.broken.append(ProjectState("bad", None, "/p/bad.yml", ("bad.yml:1:1: no source",)))
    control.finish(a_build(control).id, Status.FAILED)
    assert main(["projects", "list"]) == 0
    output = capsys.readouterr()
    _, bad, web = output.out.splitlines()
    assert bad.split() == ["bad", "INVALID", "/p/bad.yml"]
    assert web.split()[:3] == ["web", "https://host/web.git", "FAILED"]
    assert output.err == "bad.yml:1:1: no source\n"
    assert main(["projects", "list", "--json"]) == 0
    assert [item["name"] for item in json.loads(capsys.readouterr().out)["projects"]] == ["bad", "web"]


@pytest.mark.usefixtures("daemon")
def test_a_project_is_shown(control: FakeControl, capsys: Capture) -> None:
    a_build(control)
    assert main(["projects", "show", "web"]) == 0
    assert '"image": "debian:12"' in capsys.readouterr().out
    assert main(["projects", "show", "web", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["name"] == "web"
    assert main(["projects", "show", "nope"]) == 2


@pytest.mark.usefixtures("daemon")
def test_the_caches_of_a_project_are_invalidated(control: FakeControl) -> None:
    assert main(["projects", "invalidate-cache", "web"]) == 0
    assert control.invalidated == ["web"]
    assert main(["projects", "invalidate-cache", "nope"]) == 2


def test_a_follower_outlives_a_restart_of_the_daemon_and_shows_no_byte_twice(
    control: FakeControl, tmp_path: Path, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    state = tmp_path / "s"
    state.mkdir()
    build = a_build(control)
    control.write_log(build.id, b"one\n")
    server, ready = ControlServer(control, state, fake_arn), lambda: socket_answers(state / "agent.sock")
    ended: list[object] = []
    follower = threading.Thread(target=lambda: ended.append(follow_to_the_end(Client(state), build.id)))
    with running(server, ready):
        follower.start()
        StopToken().wait(0.3)
    control.write_log(build.id, b"two\n")
    with running(server, ready):
        control.write_log(build.id, b"three\n")
        control.finish(build.id, Status.SUCCEEDED)
        follower.join(timeout=30)
    assert not follower.is_alive()
    assert capsysbinary.readouterr().out == b"one\ntwo\nthree\n"
    assert ended


def test_a_follower_gives_up_on_a_daemon_that_stays_away(tmp_path: Path) -> None:
    clock = Jump()
    with pytest.raises(DaemonNotRunning):
        follow_to_the_end(Client(tmp_path), "web:1", clock)
    assert 60 < clock.time < 70


def test_a_timed_out_phase_before_the_build_counts_too(control: FakeControl) -> None:
    from agent.cli.verdict import exit_code
    from agent.web.shapes import build_json

    build = control.finish(a_build(control).id, Status.TIMED_OUT, phase=PhaseType.INSTALL)
    assert exit_code(build_json(build)) == 4
    assert exit_code(build_json(a_build(control))) == 3
    assert exit_code(build_json(build.evolve(status=Status.TIMED_OUT))) == 4
