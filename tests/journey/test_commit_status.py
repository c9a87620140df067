"""A daemon that tells a git host how its builds go, through an outage of the host and a kill of its own."""

from __future__ import annotations

import json
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.fakes import git_http
from tests.fakes.repository import Repository
from tests.journey.daemon import Daemon, Json, buildspec
from tests.journey.waiting import until

pytestmark = pytest.mark.docker

TOKEN = "ghp_s3cretT0ken"


class Enterprise(git_http.GitHttpServer):
    """A GitHub Enterprise: git over HTTP, and the statuses of its REST interface at the same address."""

    def __init__(self, root: Path) -> None:
        super().__init__(root, ("x-access-token", TOKEN))
        self.RequestHandlerClass = _Handler
        self.told: list[tuple[str, Json]] = []
        self.down = 0

    def states(self, commit: str) -> list[str]:
        return [body["state"] for sha, body in self.told if sha == commit]


class _Handler(git_http._Handler):
    server: Enterprise

    def _serve(self, body: bytes) -> None:
        if not self.path.startswith("/api/v3/repos/acme/app/statuses/"):
            super()._serve(body)
            return
        status = 201 if self.headers["Authorization"] == f"Bearer {TOKEN}" else 401
        if self.server.down:
            self.server.down, status = self.server.down - 1, 503
        if status == 201:
            self.server.told.append((self.path.rpartition("/")[2], json.loads(body)))
        self.send_response(status)
        self.end_headers()


@contextmanager
def enterprise(root: Path) -> Iterator[Enterprise]:
    with Enterprise(root) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def test_a_git_host_is_told_of_every_build_through_an_outage_and_a_kill(
    busybox: str, tmp_path: Path, new_daemon: Callable[..., Daemon]
) -> None:
    repository = Repository(tmp_path / "git" / "acme")
    good = repository.commit(**{"buildspec.yml": buildspec("sleep 2")})
    with enterprise(tmp_path / "git") as host:
        place = host.url.removeprefix("http://")
        entry = {"host": place, "token": "env:TOKEN", "allow_http": True}
        daemon = new_daemon(environment={"TOKEN": TOKEN}, settings={"credentials": [entry]}).start()
        source = {
            "type": "GITHUB_ENTERPRISE",
            "location": f"{host.url}/acme/app.git",
            "reportBuildStatus": True,
            "buildStatusConfig": {
                "context": "ci/$CODEBUILD_BUILD_NUMBER",
                "targetUrl": "https://ci/$CODEBUILD_BUILD_ID",
            },
        }
        project = daemon.project(busybox, source=source, agent={"poll": 1})
        until(lambda: host.states(good), "the first status")
        host.down = 1
        _kill(daemon)
        build = daemon.nth(project, 1)
        until(lambda: host.states(good)[-1:] == ["success"], "the last status")
        assert set(host.states(good)) == {"pending", "success"}
        expected: Any = {
            "state": "success",
            "context": "ci/1",
            "target_url": f"https://ci/{build['id']}",
            "description": f"Build succeeded for project {project}",
        }
        assert host.told[-1] == (good, expected)

        bad = repository.commit(**{"buildspec.yml": buildspec("false")})
        until(lambda: host.states(bad)[-1:] == ["failure"], "the failure")
        assert TOKEN not in daemon.said()


def _kill(daemon: Daemon) -> None:
    assert daemon.process is not None
    daemon.process.send_signal(signal.SIGKILL)
    daemon.process.wait(10)
    daemon.start()
