"""A smart-HTTP git server for tests: the real `git http-backend`, behind the standard library, with basic auth."""

from __future__ import annotations

import base64
import os
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any


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
        self._serve(self._body())

    def log_message(self, *_: Any) -> None:
        """Say nothing."""

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        body = b""
        while size := int(self.rfile.readline().split(b";")[0], 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

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
            self._cgi(body)

    def _cgi(self, body: bytes) -> None:
        path, _, query = self.path.partition("?")
        environment = {
            "PATH": os.environ["PATH"],
            "GIT_PROJECT_ROOT": str(self.server.root),
            "GIT_HTTP_EXPORT_ALL": "1",
            "GIT_CONFIG_COUNT": "1",
            "GIT_CONFIG_KEY_0": "safe.directory",
            "GIT_CONFIG_VALUE_0": "*",
            "REQUEST_METHOD": self.command,
            "PATH_INFO": path,
            "QUERY_STRING": query,
            "CONTENT_TYPE": self.headers.get("Content-Type", ""),
            "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
            "GIT_PROTOCOL": self.headers.get("Git-Protocol", "") if self.server.speaks_v2 else "",
            "REMOTE_ADDR": "127.0.0.1",
        }
        answer = subprocess.run(["git", "http-backend"], input=body, env=environment, capture_output=True, check=False)
        head, _, content = answer.stdout.partition(b"\r\n\r\n")
        headers = dict(line.split(": ", 1) for line in head.decode().splitlines() if ": " in line)
        self.send_response(int(headers.pop("Status", "200 OK").split()[0]))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)


def _basic(username: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{username}:{password}".encode()).decode()
