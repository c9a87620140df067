"""Section 6.6 of buildspec.md: `git-credential-helper`, with a real git server that asks for a login."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.model.project import AgentOptions, Source
from agent.model.secret import Secret
from agent.source.credentials import GitCredential
from agent.source.sources import Sources
from tests import images
from tests.fakes.git_http import GitHttpServer, git_http
from tests.fakes.repository import Repository
from tests.images import docker
from tests.parity.site import Ended, Site, spec, until

pytestmark = pytest.mark.docker

USER, PASSWORD = "me", "correct-horse"
HELPED = {"git-credential-helper": "yes"}
HELD = "until [ -e released ]; do sleep 0.05; done"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[GitHttpServer]:
    for name in ("app", "other"):
        Repository(tmp_path / "git", name).commit(**{"buildspec.yml": "version: 0.2", "file": name})
    with git_http(tmp_path / "git", (USER, PASSWORD)) as running:
        yield running


@pytest.fixture
def stranger(tmp_path: Path) -> Iterator[GitHttpServer]:
    """A server on the same host that wants to know the login."""
    with git_http(tmp_path / "git", ("nobody", "knows")) as running:
        yield running


def build(site: Site, server: GitHttpServer, *commands: str, helper: str = "yes", **phase: str) -> Ended:
    location = f"http://{USER}:{PASSWORD}@127.0.0.1:{server.server_address[1]}/app.git"
    return site.build(
        source=Source(
            type="GIT",
            location=location,
            buildspec=spec(
                env={"git-credential-helper": helper, "variables": {"GIT_TERMINAL_PROMPT": "0"}},
                build={"commands": list(commands), **phase},
            ),
        ),
        image=images.debian_image(),
        agent=AgentOptions(network="host"),
    )


def test_git_enters_the_servers_of_the_sources_and_no_other_and_leaves_nothing(
    site: Site, server: GitHttpServer, stranger: GitHttpServer
) -> None:
    encoded = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
    ended = build(
        site,
        server,
        f"git clone -q {server.url}/other.git && cat other/file",
        "cd other && git -c user.name=x -c user.email=x commit -q --allow-empty -m x && git push -q origin HEAD:side",
        f"git ls-remote {stranger.url}/other.git || echo refused",
        f"git ls-remote {server.url.replace('127.0.0.1', 'localhost')}/other.git || echo refused again",
        f"env; cat /etc/gitconfig; echo {PASSWORD} {encoded}; cat /codebuild/agent-secrets/git-logins",
        **{"run-as": "nobody"},
    )
    assert ended.status == "SUCCEEDED", ended.log
    output = "\n".join(ended.output)
    assert "other\n" in output
    assert "refused\n" in output
    assert "refused again\n" in output
    assert all(login is None for _, login in stranger.requests)
    assert PASSWORD not in ended.log
    assert encoded not in ended.log
    assert "Git credential helper enabled" in ended.lines


def test_without_the_helper_git_gets_no_login(site: Site, server: GitHttpServer) -> None:
    ended = build(site, server, f"git clone -q {server.url}/other.git", helper="no")
    assert (ended.status, ended.bad_phases) == ("FAILED", {"BUILD": "FAILED"})
    assert "Git credential helper enabled" not in ended.lines


def test_a_login_that_changes_while_a_build_runs_is_handed_on_and_nothing_of_it_shows(
    site: Site, server: GitHttpServer
) -> None:
    def current(_: Source) -> GitCredential:
        handed_out = any(site.workshop.estate.secrets.rglob("git-logins"))
        return GitCredential(USER, Secret("second-password" if handed_out else "first-password"))

    site.workshop.sources = Sources(site.workshop.estate.mirrors, credential_for=current)
    server.login = None
    wait = "until grep -q second /codebuild/agent-secrets/git-logins; do sleep 0.02; done; echo first-password"
    running = site.start(
        source=Source(type="GIT", location=f"{server.url}/app.git", buildspec=spec(env=HELPED, build=[wait, HELD])),
        image=images.debian_image(),
    )
    until(lambda: running.saw("Running command until [ -e released"))
    container = running.job.container or ""
    assert "-password" not in docker("inspect", container) + docker("top", container, "-ef")
    handed = running.job.paths.handed / "git-logins"
    assert handed.exists()
    running.stop()
    ended = running.end()
    assert not handed.exists()
    assert "-password" not in ended.log


def test_a_source_without_a_login_is_told_of(site: Site, server: GitHttpServer) -> None:
    server.login = None
    ended = site.build(
        source=Source(type="GIT", location=f"{server.url}/app.git", buildspec=spec(env=HELPED, build=["echo on"]))
    )
    assert ended.output == ["on"]
    warning = f"warning: git-credential-helper does nothing for {server.url}/app.git: there is no credential for it"
    assert ended.said_after("Git credential helper enabled")[0] == warning
