"""Fetching over smart HTTP, with and without a login."""

from __future__ import annotations

import base64
import threading
from pathlib import Path

import pytest

from agent.errors import BuildspecdError, GitUnavailable, SourceNotFound, SourceRefused
from agent.kit.service import StopToken
from agent.model.project import Source
from agent.model.secret import Secret
from agent.source.credentials import GitCredential
from agent.source.sources import Sources
from tests.fakes.git_http import git_http
from tests.fakes.repository import Repository, git

LOGIN = ("x-access-token", "t0p-s3cret'\"$(id)")


def quiet(_: str) -> None:
    """Take a line of the log and forget it."""


def sources_with(tmp_path: Path, login: tuple[str, str] | None) -> Sources:
    credential = GitCredential(login[0], Secret(login[1])) if login else None
    return Sources(tmp_path / "mirrors", credential_for=lambda source: credential)


def test_a_private_repository_opens_with_its_credential_and_leaves_no_trace_of_it(
    repository: Repository, tmp_path: Path
) -> None:
    with git_http(repository.bare.parent, LOGIN) as server:
        source = Source(type="GIT", location=f"{server.url}/app.git")
        sources = sources_with(tmp_path, LOGIN)
        revision = sources.fetch(source, None, tmp_path / "ws", quiet)
        assert revision.sha == repository.head
        assert sources.heads(source, ["refs/heads/*"]).refs == {"refs/heads/main": repository.head}
    secret = LOGIN[1].encode()
    encoded = base64.b64encode(":".join(LOGIN).encode())
    for root in (tmp_path / "ws", tmp_path / "mirrors"):
        for path in root.rglob("*"):
            if path.is_file():
                content = path.read_bytes()
                assert secret not in content, path
                assert encoded not in content, path
    assert git(tmp_path / "ws", "config", "remote.origin.url") == source.location


def test_a_login_in_the_url_is_used_and_taken_out(repository: Repository, tmp_path: Path) -> None:
    with git_http(repository.bare.parent, ("me", "pass")) as server:
        location = server.url.replace("://", "://me:pass@") + "/app.git"
        sources = Sources(tmp_path / "mirrors")
        sources.fetch(Source(type="GIT", location=location), None, tmp_path / "ws", quiet)
    assert "pass" not in (tmp_path / "ws" / ".git" / "config").read_text()


@pytest.mark.parametrize("login", [None, ("x-access-token", "wrong-password")])
def test_a_server_that_does_not_let_us_in_is_named_without_the_password(
    repository: Repository, tmp_path: Path, login: tuple[str, str] | None
) -> None:
    with git_http(repository.bare.parent, LOGIN) as server:
        source = Source(type="GIT", location=f"{server.url}/app.git")
        for version in (None, "main"):
            with pytest.raises(SourceRefused) as caught:
                sources_with(tmp_path, login).fetch(source, version, tmp_path / "ws", quiet)
            assert server.url in str(caught.value)
            assert "wrong-password" not in str(caught.value) + caught.value.hint


@pytest.mark.parametrize(
    ("status", "error"),
    [(403, SourceRefused), (404, SourceNotFound), (500, GitUnavailable), (503, GitUnavailable), (429, GitUnavailable)],
)
def test_an_answer_of_the_server_becomes_the_error_that_says_whose_fault_it_is(
    repository: Repository, tmp_path: Path, status: int, error: type[BuildspecdError]
) -> None:
    with git_http(repository.bare.parent) as server:
        server.status = status
        with pytest.raises(error) as caught:
            sources_with(tmp_path, None).fetch(
                Source(type="GIT", location=f"{server.url}/app.git"), "main", tmp_path / "ws", quiet
            )
        assert type(caught.value) is error


@pytest.mark.parametrize("location", ["http://127.0.0.1:9/app.git", "http://no-such-host.invalid/app.git"])
def test_a_server_that_cannot_be_reached_is_tried_again_later(tmp_path: Path, location: str) -> None:
    with pytest.raises(GitUnavailable) as caught:
        sources_with(tmp_path, None).fetch(Source(type="GIT", location=location), None, tmp_path / "ws", quiet)
    assert caught.value.retry
    assert "Connection(" not in caught.value.message  # urllib3 begins with the object that it is about


def test_a_credential_is_not_sent_to_the_server_that_another_redirects_to(
    repository: Repository, tmp_path: Path
) -> None:
    with git_http(repository.bare.parent, LOGIN) as evil, git_http(repository.bare.parent, LOGIN) as server:
        server.redirect = evil.url
        with pytest.raises(SourceRefused):
            sources_with(tmp_path, LOGIN).fetch(
                Source(type="GIT", location=f"{server.url}/app.git"), "main", tmp_path / "ws", quiet
            )
        assert evil.requests
        assert {header for _, header in evil.requests} == {None}


def test_a_repository_that_was_renamed_is_followed_with_its_credential_and_the_new_address_is_told(
    repository: Repository, tmp_path: Path
) -> None:
    with git_http(repository.bare.parent, LOGIN) as server:
        server.moved = {"/old/name.git": "/app.git"}
        source, sources = Source(type="GIT", location=f"{server.url}/old/name.git"), sources_with(tmp_path, LOGIN)
        assert sources.fetch(source, "main", tmp_path / "ws", quiet).sha == repository.head
        heads = sources.heads(source, ["refs/heads/*"])
        assert (heads.head, heads.moved_to) == (repository.head, f"{server.url}/app.git/")
        assert LOGIN[1] not in heads.moved_to
        server.moved = {}
        with pytest.raises(SourceNotFound, match=r"old/name\.git") as caught:
            sources.fetch(source, "main", tmp_path / "ws", quiet)
        assert "renamed" in caught.value.hint


def test_two_credentials_never_share_a_mirror(repository: Repository, tmp_path: Path) -> None:
    source = Source(type="GIT", location="https://h/app.git")
    paths = {sources_with(tmp_path, login).mounts([source]) for login in (None, LOGIN, ("x-access-token", "other"))}
    assert len(paths) == 3


def test_nothing_new_costs_no_objects_and_a_new_commit_only_its_own(repository: Repository, tmp_path: Path) -> None:
    with git_http(repository.bare.parent) as server:
        source = Source(type="GIT", location=f"{server.url}/app.git")
        sources = sources_with(tmp_path, None)
        sources.fetch(source, repository.head, tmp_path / "ws", quiet)
        before = len(server.requests)
        sources.fetch(source, repository.head, tmp_path / "ws", quiet)
        assert len(server.requests) == before, "the commit was here: no question to the server"


def test_two_builds_of_one_repository_fetch_it_at_the_same_time(repository: Repository, tmp_path: Path) -> None:
    with git_http(repository.bare.parent) as server:
        source = Source(type="GIT", location=f"{server.url}/app.git")
        sources = sources_with(tmp_path, None)
        failures: list[BaseException] = []

        def build(number: int) -> None:
            try:
                sources.fetch(source, "main", tmp_path / f"ws{number}", quiet)
            except BuildspecdError as error:
                failures.append(error)

        threads = [threading.Thread(target=build, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert failures == []
        assert {git(tmp_path / f"ws{number}", "rev-parse", "HEAD") for number in range(4)} == {repository.head}


def test_a_look_is_broken_off_when_the_agent_stops(tmp_path: Path) -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as silent:
        stop = StopToken()
        threading.Timer(0.2, stop.set).start()
        source = Source(type="GIT", location=f"http://127.0.0.1:{silent.getsockname()[1]}/app.git")
        with pytest.raises(GitUnavailable, match="interrupted"):
            sources_with(tmp_path, None).heads(source, (), stop)
