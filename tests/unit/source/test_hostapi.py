"""REST interfaces of git hosts: answers, limits, redirects, and what is no JSON."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from agent.errors import GitUnavailable
from agent.kit.clock import SystemClock
from agent.kit.service import StopToken
from agent.model.secret import Secret
from agent.source.hostapi import HostApi, bearer, login

Answers = dict[str, tuple[int, dict[str, str], bytes]]
Seen = list[tuple[str, str, dict[str, str], bytes]]


@contextmanager
def host(answers: Answers) -> Iterator[tuple[str, Seen]]:
    """Run a server that gives these answers by path; yield its address and what it was asked."""
    seen: Seen = []

    class Handler(BaseHTTPRequestHandler):
        def _serve(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            seen.append((self.command, self.path, dict(self.headers), body))
            status, headers, content = answers[self.path]
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = _serve  # noqa: N815

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}", seen
        finally:
            server.shutdown()
            thread.join()


def test_json_goes_out_and_comes_in_and_a_refusal_is_an_answer() -> None:
    answers = {"/a": (201, {}, b'{"id": 1}'), "/b": (422, {}, b'{"message": "no\\n\\u001b[31mway"}')}
    with host(answers) as (address, seen):
        api = HostApi()
        made = api.post(f"{address}/a", bearer(Secret("t0ken")), {"state": "ok"})
        refused = api.get(f"{address}/b", login("me", Secret("pass")))
    assert (made.ok, made.body) == (True, {"id": 1})
    assert (refused.ok, refused.said) == (False, "HTTP 422: no [31mway")
    (_, _, headers, body), (_, _, more, _) = seen
    assert (headers["Authorization"], headers["Content-Type"], body) == (
        "Bearer t0ken",
        "application/json",
        b'{"state": "ok"}',
    )
    assert more["Authorization"].startswith("Basic ")


def test_a_moved_repository_is_followed_on_its_host_and_nowhere_else() -> None:
    with host({"/stolen": (200, {}, b"{}")}) as (evil, caught):
        answers = {
            "/old": (301, {"Location": "/new"}, b""),
            "/new": (200, {}, b'{"id": 7}'),
            "/away": (302, {"Location": f"{evil}/stolen"}, b""),
            "/round": (302, {"Location": "/round2"}, b""),
            "/round2": (302, {"Location": "/round"}, b""),
        }
        with host(answers) as (address, _):
            api, headers = HostApi(), bearer(Secret("t0ken"))
            assert api.get(f"{address}/old", headers).body == {"id": 7}
            assert api.get(f"{address}/away", headers).status == 302
            assert api.get(f"{address}/round", headers).status == 302
            assert api.post(f"{address}/old", headers, {}).status == 301
        assert caught == []


@pytest.mark.parametrize(
    ("status", "headers", "rest"),
    [
        (429, {"Retry-After": "30"}, 30),
        (403, {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "{now+120}"}, 120),
        (403, {"Retry-After": "5"}, 5),
        (503, {}, None),
        (502, {"Retry-After": "99999999"}, 3600),
    ],
)
def test_a_limit_of_rate_says_how_long_to_wait(status: int, headers: dict[str, str], rest: float | None) -> None:
    now = int(SystemClock().now())
    headers = {name: value.replace("{now+120}", str(now + 120)) for name, value in headers.items()}
    with host({"/": (status, headers, b"{}")}) as (address, _), pytest.raises(GitUnavailable) as caught:
        HostApi().get(f"{address}/", {})
    assert caught.value.retry_after == (pytest.approx(rest, abs=3) if rest else None)


@pytest.mark.parametrize("content", [b"<html>", b"", b"[" * 100_000, b"\xff\xfe"])
def test_what_is_no_json_is_an_answer_without_a_body(content: bytes) -> None:
    with host({"/": (200, {}, content)}) as (address, _):
        answer = HostApi().get(f"{address}/", {})
    assert (answer.body, answer.said) == (None, "HTTP 200")


def test_an_endless_answer_is_not_read_to_its_end() -> None:
    answers: Answers = {"/": (200, {}, b'"' + b"x" * (5 << 20))}
    with host(answers) as (address, _), pytest.raises(GitUnavailable, match="longer than 4 MB"):
        HostApi().get(f"{address}/", {})


def test_an_agent_that_stops_waits_for_no_host() -> None:
    import socket

    stop = StopToken()
    stop.set()
    with socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises(GitUnavailable, match="interrupted"):
        HostApi().get(f"http://127.0.0.1:{silent.getsockname()[1]}/", {}, stop=stop)
