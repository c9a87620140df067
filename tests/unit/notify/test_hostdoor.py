"""HostDoor: commit statuses go out over real HTTP, with the login of the source and to its own host."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from agent.errors import Unavailable, UserError
from agent.model.project import Source
from agent.model.secret import Secret
from agent.notify.githosts import host_of
from agent.notify.hostdoor import HostDoor, headers_for
from agent.source.credentials import GitCredential, Remote, remote_of
from agent.source.hostapi import HostApi
from tests.unit.notify.hosts import GitHosts

SHA = "4e1243bd22c66e76c2ba9eddc1f91394e57f9f83"
TOKEN = GitCredential("x-access-token", Secret("ghp_secret"))


class Keys:
    """Knows one login, and another one once it was told to forget the first."""

    def __init__(self, *logins: GitCredential | None) -> None:
        self.logins = list(logins)
        self.asked: list[str | None] = []

    def remote(self, source: Source) -> Remote | None:
        self.asked.append(source.location)
        return remote_of(source, self.logins[0])

    def forget(self, source: Source) -> None:
        if len(self.logins) > 1:
            del self.logins[0]


class Strict:
    """A server that lets in whoever says `good`; keeps what it was told."""

    def __init__(self) -> None:
        self.seen: list[dict[str, str]] = []
        strict = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["Content-Length"]))
                strict.seen.append({name.lower(): value for name, value in self.headers.items()})
                good = self.headers["Authorization"] == "Bearer good"
                self.send_response(201 if good else 401)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:
                return

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def strict() -> Iterator[Strict]:
    server = Strict()
    yield server
    server.close()


@pytest.fixture
def hosts() -> Iterator[GitHosts]:
    hosts = GitHosts()
    yield hosts
    hosts.close()


def enterprise(url: str, **members: Any) -> Source:
    return Source(type="GITHUB_ENTERPRISE", location=f"{url}/acme/web.git", **members)


def address(url: str) -> str:
    return f"{url}/api/v3/repos/acme/web/statuses/{SHA}"


def test_a_status_reaches_the_host(hosts: GitHosts) -> None:
    door = HostDoor(Keys(TOKEN).remote, HostApi())
    answer = door.post(enterprise(hosts.url), address(hosts.url), {"state": "success"})
    assert answer.status == 201
    assert hosts.states("github") == ["success"]


def test_what_a_host_says_of_a_refusal_is_kept(hosts: GitHosts) -> None:
    door = HostDoor(Keys(TOKEN).remote, HostApi())
    answer = door.post(enterprise(hosts.url), address(hosts.url), {"state": "great"})
    assert (answer.status, answer.text) == (422, "HTTP 422: Validation Failed")


def test_a_limit_of_the_rate_is_a_reason_to_come_back_later(hosts: GitHosts) -> None:
    hosts.says["github"] = [(403, {"Retry-After": "30"}, "slow down")]
    with pytest.raises(Unavailable) as caught:
        HostDoor(Keys(TOKEN).remote, HostApi()).post(enterprise(hosts.url), address(hosts.url), {"state": "success"})
    assert caught.value.retry_after == 30


def test_a_login_that_was_refused_is_had_anew_once(strict: Strict) -> None:
    keys = Keys(GitCredential("x-access-token", Secret("old")), GitCredential("x-access-token", Secret("good")))
    door = HostDoor(keys.remote, HostApi(), keys.forget)
    assert door.post(enterprise(strict.url), address(strict.url), {}).status == 201
    assert [seen["authorization"] for seen in strict.seen] == ["Bearer old", "Bearer good"]
    assert strict.seen[0]["accept"] == "application/vnd.github+json"


def test_a_login_that_stays_wrong_is_tried_twice_and_no_more(strict: Strict) -> None:
    keys = Keys(TOKEN)
    assert (
        HostDoor(keys.remote, HostApi(), keys.forget).post(enterprise(strict.url), address(strict.url), {}).status
        == 401
    )
    assert len(strict.seen) == 2


def test_without_a_login_nothing_is_sent(strict: Strict) -> None:
    with pytest.raises(UserError, match="no login for"):
        HostDoor(Keys(None).remote, HostApi()).post(enterprise(strict.url), address(strict.url), {})
    assert strict.seen == []


def test_a_clone_over_ssh_is_told_with_the_login_of_the_hosts_pages(hosts: GitHosts) -> None:
    keys = Keys(TOKEN)
    source = Source(type="GITHUB_ENTERPRISE", location="git@ghe.internal:acme/web.git")
    HostDoor(keys.remote, HostApi()).post(source, address(hosts.url), {"state": "success"})
    assert keys.asked == ["https://ghe.internal/acme/web.git"]


@pytest.mark.parametrize(
    ("kind", "location", "username", "expected"),
    [
        ("GITHUB", "https://github.com/a/b", "x-access-token", "Bearer s"),
        ("GITHUB", "https://github.com/a/b", "alice", "Bearer s"),
        ("GITLAB", "https://gitlab.com/a/b", "oauth2", "Bearer s"),
        ("BITBUCKET", "https://bitbucket.org/a/b", "x-token-auth", "Bearer s"),
        ("BITBUCKET", "https://bitbucket.org/a/b", "alice", "Basic YWxpY2U6cw=="),
    ],
)
def test_each_login_is_carried_as_its_host_wants_it(kind: Any, location: str, username: str, expected: str) -> None:
    host = host_of(Source(type=kind, location=location))
    assert host is not None
    assert headers_for(host, GitCredential(username, Secret("s")))["Authorization"] == expected
