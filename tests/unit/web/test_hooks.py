"""Webhooks over HTTP, served for real on the loopback address."""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from agent.kit.service import StopToken
from agent.store.builds import Builds
from agent.store.database import Database
from agent.web.hooks import BODY_LIMIT
from tests.fakes import hooks
from tests.fakes.hook_server import SECRET, serve
from tests.fakes.hooks import body_of

URL = "https://github.com/octo/p1.git"


@pytest.fixture
def port(tmp_path: Path) -> Iterator[int]:
    stop = StopToken()
    yield serve(tmp_path, stop).port or 0
    stop.set()


def post(port: int, body: bytes, headers: Mapping[str, str], path: str = "/hooks/github") -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    connection.request("POST", path, body, dict(headers))
    with connection.getresponse() as answer:
        return answer.status, answer.read()


def built(directory: Path) -> list[str | None]:
    return [build.source_version for build in Builds(Database(directory / "agent.db")).list()]


def test_a_push_is_accepted_through_a_proxy_of_any_name(tmp_path: Path, port: int) -> None:
    body = body_of(hooks.github_push(url=URL))
    headers = hooks.github_headers("push", body, SECRET) | {"Host": "ci.example.com"}
    status, answer = post(port, body, headers)
    assert status == 202
    assert json.loads(answer)["projects"][0]["project"] == "p1"
    assert built(tmp_path) == [hooks.AFTER]
    assert post(port, b"", {"Host": "ci.example.com"}, "/readyz")[0] == 403, "everything else keeps its check"


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"x-hub-signature-256": "sha256=" + "0" * 64}, 401),
        ({"x-hub-signature-256": ""}, 401),
        ({"origin": "https://evil.example"}, 403),
        ({"x-github-event": "watch"}, 200),
        ({"x-github-event": ""}, 200),
    ],
)
def test_a_delivery_that_is_not_right_starts_nothing(
    tmp_path: Path, port: int, change: dict[str, str], status: int
) -> None:
    body = body_of(hooks.github_push(url=URL))
    assert post(port, body, hooks.github_headers("push", body, SECRET) | change)[0] == status
    assert built(tmp_path) == []


def test_a_wrong_shape_is_told_in_words_and_a_deleted_branch_is_no_build(tmp_path: Path, port: int) -> None:
    def send(payload: Any) -> tuple[int, bytes]:
        body = body_of(payload)
        return post(port, body, hooks.github_headers("push", body, SECRET))

    status, answer = send(hooks.github_push(url=URL) | {"ref": 7})
    assert status == 400
    assert json.loads(answer)["message"] == "the payload's ref must be a string"
    status, answer = send(hooks.github_push(url=URL, after=hooks.ZEROS))
    assert (status, json.loads(answer)["reason"]) == (200, "refs/heads/main was deleted")
    assert built(tmp_path) == []


def test_a_body_of_thirty_megabytes_is_refused_unread_and_one_that_hides_its_length_half_way(
    tmp_path: Path, port: int
) -> None:
    with socket.create_connection(("127.0.0.1", port), 20) as connection:
        connection.sendall(b"POST /hooks/github HTTP/1.1\r\nHost: x\r\nContent-Length: 31457280\r\n\r\n")
        assert connection.recv(100).startswith(b"HTTP/1.1 413")
    pieces = (b"x" * (1 << 20) for _ in range(30))
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        connection.request("POST", "/hooks/github", pieces, {"X-GitHub-Event": "push"}, encode_chunked=True)
        status = connection.getresponse().status
    except (BrokenPipeError, ConnectionResetError):
        status = 400  # it hung up while we were still sending
    assert status == 400
    assert BODY_LIMIT < 30 << 20
    assert built(tmp_path) == []


def test_a_body_that_breaks_off_starts_nothing_and_disturbs_nobody(tmp_path: Path, port: int) -> None:
    body = body_of(hooks.github_push(url=URL))
    headers = hooks.github_headers("push", body, SECRET)
    with socket.create_connection(("127.0.0.1", port), 20) as connection:
        head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        connection.sendall(
            f"POST /hooks/github HTTP/1.1\r\nHost: x\r\n{head}Content-Length: {len(body)}\r\n\r\n".encode()
        )
        connection.sendall(body[:100])
    assert built(tmp_path) == []
    assert post(port, body, headers)[0] == 202


def test_other_paths_and_methods_are_nothing(port: int) -> None:
    assert post(port, b"{}", {}, "/hooks/subversion")[0] == 404
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    connection.request("GET", "/hooks/github")
    assert connection.getresponse().status in (404, 405)
