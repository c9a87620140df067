"""Asking a git server for its refs without a process."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.errors import GitUnavailable, SourceNotFound, SourceRefused
from agent.model.project import Source
from agent.model.secret import Secret
from agent.source import lsrefs
from agent.source.connections import LONGEST_REST
from agent.source.credentials import GitCredential, Remote, remote_of
from agent.source.git import Git
from agent.source.lsrefs import LsRefs, NotSpoken
from agent.source.remote import _ask, read_heads
from tests.fakes.git_http import GitHttpServer, git_http
from tests.fakes.repository import Repository

LOGIN = ("me", "pass")


def remote(server: GitHttpServer, name: str = "app.git", login: tuple[str, str] | None = None) -> Remote:
    credential = GitCredential(login[0], Secret(login[1])) if login else None
    return remote_of(Source(type="GIT", location=f"{server.url}/{name}"), credential)


@pytest.mark.parametrize("names", [(), ("refs/heads/*", "refs/tags/*"), ("refs/heads/main", "refs/heads/x")])
def test_the_answer_is_that_of_git_and_costs_one_request(repository: Repository, names: tuple[str, ...]) -> None:
    repository.run("tag", "-a", "v1", "-m", "one")
    repository.push("v1", "HEAD:refs/heads/feature/a", "HEAD:refs/heads/main2")
    with git_http(repository.bare.parent, LOGIN) as server:
        found = read_heads(Git(), remote(server, login=LOGIN), names, ls_refs=LsRefs())
        assert [path for path, _ in server.requests] == ["/app.git/git-upload-pack"]
        assert found == _ask(Git(), remote(server, login=LOGIN), names, None)


def test_an_empty_repository_has_no_refs(tmp_path: Path) -> None:
    empty = Repository(tmp_path / "server", "empty")
    with git_http(empty.bare.parent) as server:
        assert LsRefs().ask(remote(server, "empty.git"), ["refs/heads/*"]) == lsrefs.Refs()


def test_a_server_of_old_is_left_to_git_for_an_hour(repository: Repository) -> None:
    asks = LsRefs()
    with git_http(repository.bare.parent) as server:
        server.speaks_v2 = False
        for _ in range(2):
            heads = read_heads(Git(), remote(server), ["refs/heads/*"], ls_refs=asks)
            assert heads.refs == {"refs/heads/main": repository.head}
        own = [path for path, _ in server.requests if path.endswith("/git-upload-pack")]
        assert len(own) == 1


def test_a_redirect_is_left_to_git_and_gets_no_credential(repository: Repository) -> None:
    with git_http(repository.bare.parent) as moved, git_http(repository.bare.parent) as server:
        server.redirect = moved.url
        with pytest.raises(NotSpoken):
            LsRefs().ask(remote(server, login=LOGIN), [])
        assert moved.requests == []
        assert read_heads(Git(), remote(server), [], ls_refs=LsRefs()).head == repository.head


@pytest.mark.parametrize(
    ("status", "headers", "error", "rest"),
    [
        (401, {}, SourceRefused, None),
        (403, {}, SourceRefused, None),
        (404, {}, SourceNotFound, None),
        (429, {"Retry-After": "120"}, GitUnavailable, 120),
        (503, {"Retry-After": "Wed, 21 Oct 2026 07:28:00 GMT"}, GitUnavailable, None),
        (403, {"X-RateLimit-Remaining": "0", "Retry-After": "999999"}, GitUnavailable, LONGEST_REST),
        (502, {}, GitUnavailable, None),
    ],
)
def test_a_refusal_says_whose_fault_it_is_and_how_long_to_wait(
    repository: Repository, status: int, headers: dict[str, str], error: type[GitUnavailable], rest: float | None
) -> None:
    with git_http(repository.bare.parent) as server:
        server.status, server.headers = status, headers
        with pytest.raises(error) as caught:
            LsRefs().ask(remote(server), [])
    assert server.url in str(caught.value)
    assert getattr(caught.value, "retry_after", None) == rest


@contextmanager
def answering(body: bytes, kind: str = "application/x-git-upload-pack-result") -> Iterator[Remote]:
    """Run a server that answers every question with *body*."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        try:
            yield remote_of(Source(type="GIT", location=f"http://127.0.0.1:{server.server_address[1]}/r.git"), None)
        finally:
            server.shutdown()
            thread.join()


def test_a_web_page_in_place_of_refs_is_left_to_git() -> None:
    with answering(b"<html>log in</html>", "text/html") as page, pytest.raises(NotSpoken):
        LsRefs().ask(page, [])


@pytest.mark.parametrize("body", [b"", b"0000junk", b"zzzz", b"0003", b"00ff" + b"a" * 20, b"0032" + b"a" * 46])
def test_an_answer_that_makes_no_sense_is_left_to_git(body: bytes) -> None:
    with answering(body) as odd, pytest.raises(NotSpoken):
        LsRefs().ask(odd, [])


@given(st.binary(max_size=200))
def test_any_bytes_are_refs_or_not_spoken(data: bytes) -> None:
    try:
        found = lsrefs._read(data)
    except NotSpoken:
        return
    assert all(len(oid) == 40 for oid in found.refs.values())


def test_a_proxy_of_the_environment_is_asked(repository: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    with git_http(repository.bare.parent) as proxy:
        monkeypatch.setenv("http_proxy", proxy.url)
        monkeypatch.delenv("no_proxy", raising=False)
        with pytest.raises(GitUnavailable):  # git http-backend is no proxy, but it was asked
            LsRefs().ask(remote_of(Source(type="GIT", location="http://git.invalid/app.git"), None), [])
        assert [path for path, _ in proxy.requests] == ["http://git.invalid/app.git/git-upload-pack"]
        monkeypatch.setenv("no_proxy", "git.invalid")
        with pytest.raises(GitUnavailable):
            LsRefs().ask(remote_of(Source(type="GIT", location="http://git.invalid/app.git"), None), [])
        assert len(proxy.requests) == 1
