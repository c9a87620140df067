"""The control socket and the HTTP listener, served for real."""

from __future__ import annotations

import getpass
import http.client
import json
import socket
import stat
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agent.cli.client import Client, _Connection
from agent.errors import BuildspecdError, StateDirBusy, Unavailable
from agent.kit.service import StopToken
from agent.model.build import Build
from agent.model.request import BuildRequest
from agent.model.status import Status
from agent.web.server import BODY_LIMIT, ControlServer, HttpServer
from tests.fakes.control import FakeControl, a_project, fake_arn
from tests.fakes.serving import running, socket_answers


class Bomb(FakeControl):
    """A control with a bug."""

    def drain(self) -> Any:
        raise KeyError("s3cret-value")


@pytest.fixture
def control(tmp_path: Path) -> FakeControl:
    return Bomb(tmp_path / "logs", [a_project()])


@pytest.fixture
def state(tmp_path: Path) -> Path:
    directory = tmp_path / "state"
    directory.mkdir()
    return directory


@pytest.fixture
def server(control: FakeControl, state: Path) -> Iterator[StopToken]:
    service = ControlServer(control, state, fake_arn)
    with running(service, lambda: socket_answers(state / "agent.sock")) as stop:
        yield stop


def ask(state: Path, method: str, path: str, body: bytes = b"", **headers: str) -> tuple[int, dict[str, str], bytes]:
    connection = _Connection(state / "agent.sock", 10)
    connection.request(method, path, body or None, {name.replace("_", "-"): value for name, value in headers.items()})
    answer = connection.getresponse()
    with answer:
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()


def a_build(control: FakeControl) -> Build:
    return control.start(BuildRequest(project="web", initiator="ada"))


@pytest.mark.usefixtures("server")
def test_the_socket_is_for_its_owner_and_group_alone(state: Path) -> None:
    assert stat.S_IMODE((state / "agent.sock").stat().st_mode) == 0o660


@pytest.mark.usefixtures("server")
def test_the_initiator_is_the_user_that_the_kernel_names(state: Path) -> None:
    build = Client(state).call("StartBuild", projectName="web")["build"]
    assert build["initiator"] == getpass.getuser()


@pytest.mark.usefixtures("server")
def test_an_answer_has_a_request_id_and_the_type_of_json_1_1(state: Path) -> None:
    status, headers, body = ask(state, "POST", "/", b"{}", X_Amz_Target="CodeBuild_20161006.ListBuilds")
    assert status == 200
    assert headers["content-type"] == "application/x-amz-json-1.1"
    assert headers["x-amzn-requestid"]
    assert json.loads(body) == {"ids": []}


@pytest.mark.usefixtures("server")
@pytest.mark.parametrize(
    ("target", "body", "kind"),
    [
        ("CodeBuild_20161006.CreateFleet", b"{}", "UnknownOperationException"),
        ("CodeBuild_20161006.StartBuild", b"{", "InvalidInputException"),
        ("CodeBuild_20161006.StartBuild", b"[]", "InvalidInputException"),
        ("CodeBuild_20161006.StartBuild", b'{"projectName": "nope"}', "ResourceNotFoundException"),
        ("CodeBuild_20161006.StartBuild", b"x" * (BODY_LIMIT + 1), "InvalidInputException"),
        ("", b"", "UnknownOperationException"),
    ],
)
def test_a_request_that_makes_no_sense_is_refused_by_type(state: Path, target: str, body: bytes, kind: str) -> None:
    status, _, answer = ask(state, "POST", "/", body, X_Amz_Target=target)
    assert status == 400
    assert json.loads(answer)["__type"] == kind
    assert json.loads(answer)["message"]


@pytest.mark.usefixtures("server")
def test_a_bug_is_answered_with_its_request_id_and_nothing_of_its_text(state: Path) -> None:
    status, headers, body = ask(state, "POST", "/", b"{}", X_Amz_Target="Buildspecd.Drain")
    assert status == 500
    assert headers["x-amzn-requestid"] in json.loads(body)["message"]
    assert b"s3cret" not in body
    assert ask(state, "POST", "/", b"{}", X_Amz_Target="Buildspecd.State")[0] == 200


@pytest.mark.usefixtures("server")
def test_cbor_is_refused_in_plain_words(state: Path) -> None:
    status, _, body = ask(state, "POST", "/service/CodeBuild_20161006/operation/ListBuilds", b"\xa0")
    assert status == 415
    assert b"JSON 1.1" in body


@pytest.mark.usefixtures("server")
def test_a_log_is_read_from_an_offset(control: FakeControl, state: Path) -> None:
    build = a_build(control)
    control.write_log(build.id, b"one\ntwo\n")
    assert b"".join(Client(state).log(build.uuid[:8])) == b"one\ntwo\n"
    assert b"".join(Client(state).log(build.id, 4)) == b"two\n"
    assert b"".join(Client(state).log(build.arn, 400)) == b""


@pytest.mark.usefixtures("server")
def test_a_followed_log_comes_as_it_grows_and_ends_with_the_build(control: FakeControl, state: Path) -> None:
    build = a_build(control)
    control.write_log(build.id, b"one\n")
    stream = Client(state).log(build.id, follow=True)
    assert next(stream) == b"one\n"
    control.write_log(build.id, b"two\n")
    assert next(stream) == b"two\n"
    control.write_log(build.id, b"last\n")
    control.finish(build.id, Status.SUCCEEDED)
    assert b"".join(stream) == b"last\n"


def test_a_followed_log_ends_when_the_daemon_stops(control: FakeControl, state: Path, server: StopToken) -> None:
    build = a_build(control)
    control.write_log(build.id, b"one\n")
    stream = Client(state).log(build.id, follow=True)
    assert next(stream) == b"one\n"
    server.set()
    assert list(stream) == []


@pytest.mark.usefixtures("server")
def test_many_followers_leave_the_api_its_threads(control: FakeControl, state: Path) -> None:
    build = a_build(control)
    control.write_log(build.id, b"one\n")
    streams = [Client(state).log(build.id, follow=True) for _ in range(60)]
    assert [next(stream) for stream in streams] == [b"one\n"] * 60
    assert Client(state).call("State")["running"] == 1
    control.finish(build.id, Status.SUCCEEDED)
    assert [list(stream) for stream in streams] == [[]] * 60


@pytest.mark.usefixtures("server")
@pytest.mark.parametrize("offset", ["-1", "x", "9" * 40, "%C2%B2"])
def test_an_offset_that_is_none_is_refused(control: FakeControl, state: Path, offset: str) -> None:
    build = a_build(control)
    assert ask(state, "GET", f"/builds/{build.uuid}/log?offset={offset}")[0] == 400


@pytest.mark.usefixtures("server")
def test_the_log_of_an_unknown_build_is_not_found(state: Path) -> None:
    status, _, body = ask(state, "GET", "/builds/nope/log")
    assert (status, json.loads(body)["__type"]) == (400, "ResourceNotFoundException")


def test_a_stale_socket_is_replaced_and_ours_is_removed_at_the_end(control: FakeControl, state: Path) -> None:
    path = state / "agent.sock"
    stale = socket.socket(socket.AF_UNIX)
    stale.bind(str(path))
    stale.close()
    with running(ControlServer(control, state, fake_arn), lambda: socket_answers(path)):
        assert Client(state).call("State")["draining"] is False
    assert list(state.iterdir()) == []


@pytest.mark.usefixtures("server")
def test_a_second_daemon_does_not_take_the_socket_of_a_live_one(control: FakeControl, state: Path) -> None:
    with pytest.raises(StateDirBusy):
        ControlServer(control, state, fake_arn).run(StopToken())
    assert Client(state).call("State")["draining"] is False


def test_a_state_directory_with_a_long_name_is_no_obstacle(control: FakeControl, tmp_path: Path) -> None:
    state = tmp_path / ("long" * 30)
    state.mkdir()
    with running(ControlServer(control, state, fake_arn), lambda: socket_answers(state / "agent.sock")):
        assert Client(state).call("State")["draining"] is False


def test_a_state_directory_that_is_not_there_is_named(control: FakeControl, tmp_path: Path) -> None:
    with pytest.raises(BuildspecdError, match=r"gone/agent\.sock"):
        ControlServer(control, tmp_path / "gone", fake_arn).run(StopToken())


def test_a_service_can_run_again_after_it_ended(control: FakeControl, state: Path) -> None:
    service = ControlServer(control, state, fake_arn)
    for _ in range(2):
        with running(service, lambda: socket_answers(state / "agent.sock")):
            assert Client(state).call("State")["draining"] is False


@pytest.fixture
def tcp(control: FakeControl) -> Iterator[int]:
    service = HttpServer(control, "127.0.0.1", 0)
    with running(service, lambda: service.port is not None):
        assert service.port
        yield service.port


def get(port: int, path: str, method: str = "GET", **headers: str) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request(method, path, headers=headers)
    answer = connection.getresponse()
    with answer:
        return answer.status, answer.read()


def test_health_and_readiness_are_told(tcp: int, control: FakeControl) -> None:
    assert get(tcp, "/healthz") == (200, b"ok\n")
    assert get(tcp, "/readyz")[0] == 200
    control.services["poll"] = "boom: s3cret"
    status, body = get(tcp, "/readyz")
    assert status == 503
    assert json.loads(body) == {"ready": False, "draining": False, "trouble": ["poll"]}
    control.services.clear()
    control.draining = True
    assert get(tcp, "/readyz")[0] == 503
    assert get(tcp, "/healthz")[0] == 200


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE", "OPTIONS", "HEAD"])
def test_nothing_else_is_served_over_tcp(tcp: int, method: str) -> None:
    for path in ("/", "/builds/x/log", "/hooks/github", "/healthz/", "//healthz"):
        assert get(tcp, path, method)[0] == 404


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example:8470", "10.0.0.1", "", "a b", "localhost@x"])
def test_a_host_header_that_names_another_host_is_refused(tcp: int, host: str) -> None:
    assert get(tcp, "/healthz", Host=host)[0] in (400, 403)


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:99", "127.0.0.1", "[::1]:8470", "127.1.2.3"])
def test_a_loopback_host_header_is_let_in(tcp: int, host: str) -> None:
    assert get(tcp, "/healthz", Host=host)[0] == 200


def test_figures_are_shown_to_who_names_this_host_and_to_nobody_else(control: FakeControl) -> None:
    service = HttpServer(control, "127.0.0.1", 0, figures=lambda accept: (accept.encode(), "text/plain; version=1"))
    with running(service, lambda: service.port is not None):
        assert service.port
        assert get(service.port, "/metrics", Accept="a/b") == (200, b"a/b")
        assert get(service.port, "/metrics", Host="evil.example")[0] == 403
        assert get(service.port, "/metrics", "POST")[0] in (404, 405)


def test_where_figures_are_switched_off_there_is_nothing(tcp: int) -> None:
    assert get(tcp, "/metrics")[0] == 404
    assert get(tcp, "/metrics", Host="evil.example")[0] == 403


def test_a_port_that_is_taken_is_named(control: FakeControl, tcp: int) -> None:
    with pytest.raises(Unavailable, match=f"cannot listen on 127.0.0.1:{tcp}"):
        HttpServer(control, "127.0.0.1", tcp).run(StopToken())


def test_a_server_leaves_signals_alone(control: FakeControl, state: Path) -> None:
    # `run` on the main thread, where uvicorn by itself would take the signals.
    stop = StopToken()
    threading.Timer(0.3, stop.set).start()
    ControlServer(control, state, fake_arn).run(stop)
    assert stop.is_set
