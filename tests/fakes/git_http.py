"""A smart-HTTP git server for tests: the real `git http-backend`, behind the standard library, with basic auth."""

from __future__ import annotations

import base64
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from agent.torture.forge import answer_with_git, body_of


class GitHttpServer(ThreadingHTTPServer):
    """Serves every repository below *root*. `status` set to a code answers everything with it.

    `requests` holds (path, Authorization header) of every request; `redirect` sends each to another server first.
    `moved` is old path -> new path of repositories that were renamed (301, as hosts of git answer then).
    `headers` go with every error, and `speaks_v2` turned off makes it a server of old that speaks no version 2.
    """

    daemon_threads = True

    def __init__(self, root: Path, login: tuple[str, str] | None) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.root = root
        self.login = login
        self.status = 0
        self.redirect = ""
        self.moved: dict[str, str] = {}
        self.headers: dict[str, str] = {}
        self.speaks_v2 = True
        self.requests: list[tuple[str, str | None]] = []

    @property
    def url(self) -> str:
        """Where it listens, without trailing slash."""
        return f"http://127.0.0.1:{self.server_address[1]}"


@contextmanager
def git_http(root: Path, login: tuple[str, str] | None = None) -> Iterator[GitHttpServer]:
    """Run a server for the time of the block."""
    with GitHttpServer(root, login) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


class _Handler(BaseHTTPRequestHandler):
    server: GitHttpServer
    protocol_version = "HTTP/1.0"

    def do_GET(self) -> None:
        self._serve(b"")

    def do_POST(self) -> None:
        self._serve(body_of(self))

    def log_message(self, *_: Any) -> None:
        """Say nothing."""

    def _serve(self, body: bytes) -> None:
        given = self.headers.get("Authorization")
        self.server.requests.append((self.path, given))
        if self.server.status:
            self.send_response(self.server.status)
            for name, value in self.server.headers.items():
                self.send_header(name, value)
            self.end_headers()
        elif self.server.redirect:
            self.send_response(302)
            self.send_header("Location", self.server.redirect + self.path)
            self.end_headers()
        elif old := next((name for name in self.server.moved if self.path.startswith(f"{name}/")), None):
            self.send_response(301)
            self.send_header("Location", self.server.url + self.server.moved[old] + self.path.removeprefix(old))
            self.end_headers()
        elif self.server.login and given != _basic(*self.server.login):
            self.send_response(401)
            self.send_header("WWW-Authenticate", 'Basic realm="git"')
            self.end_headers()
        else:
            answer_with_git(self, self.server.root, body, speaks_v2=self.server.speaks_v2)


def _basic(username: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{username}:{password}".encode()).decode()
