"""Forge: bare repositories that are pushed to, and a smart-HTTP server for them that can be in a bad mood."""

from __future__ import annotations

import os
import socket
import struct
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from agent.errors import BuildspecdError
from agent.kit.service import StopToken
from agent.torture.recipes import Recipe

REF = "refs/heads/main"
_SAFE = {"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "safe.directory", "GIT_CONFIG_VALUE_0": "*"}
_HANG_SECONDS = 20.0


@dataclass(frozen=True)
class Head:
    """What a branch has pointed to: the commit, and what its build does."""

    sha: str
    recipe: Recipe


@dataclass
class Forge:
    """The repositories below *root*. `heads` holds what was pushed to each, in order."""

    root: Path
    heads: dict[str, list[Head]] = field(default_factory=dict)

    def make(self, name: str) -> None:
        """Make an empty repository."""
        path = self.root / f"{name}.git"
        _git(self.root, "init", "-q", "-b", "main", "--bare", str(path))
        _git(path, "config", "uploadpack.allowAnySHA1InWant", "true")
        self.heads[name] = []

    def push(self, name: str, recipe: Recipe, *, forced: bool = False) -> Head:
        """Add a commit with *recipe*'s buildspec; a *forced* one takes the place of the last."""
        line = self.heads[name]
        parent = line[-1].sha if line else ""
        if forced and parent:
            path = self.root / f"{name}.git"
            parent = _git(path, "rev-list", "--max-count=1", "--skip=1", parent).strip()
        stream = [f"commit {REF}\nmark :1\ncommitter T <t@example.com> 1700000000 +0000\n", _data(recipe.tag)]
        stream.append(f"from {parent}\n" if parent else "")
        for path_in, content in (("buildspec.yml", recipe.buildspec()), ("tag", recipe.tag)):
            stream.append(f"M 100644 inline {path_in}\n{_data(content)}")
        stream.append("get-mark :1\n")
        sha = _git(self.root / f"{name}.git", "fast-import", "--quiet", "--force", data="".join(stream)).strip()
        line.append(Head(sha, recipe))
        return line[-1]


def _data(text: str) -> str:
    return f"data {len(text.encode())}\n{text}\n"


def _git(where: Path, *words: str, data: str = "") -> str:
    clean = {"PATH": os.environ["PATH"], "HOME": str(where), "GIT_CONFIG_NOSYSTEM": "1", **_SAFE}
    done = subprocess.run(
        ["git", "-C", str(where), *words], input=data.encode(), capture_output=True, env=clean, check=False
    )
    if done.returncode:
        raise BuildspecdError(f"git {words[0]}: {done.stderr.decode(errors='replace').strip()}")
    return done.stdout.decode()


class GitServer(ThreadingHTTPServer):
    """`git http-backend` over what lies below *root*. `mood`: "", `down`, `slow`, `hang` or `reset`."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, root: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.root = root
        self.mood = ""
        self.stop = StopToken()
        self.served = 0
        self.spoilt = 0

    @property
    def url(self) -> str:
        """Where it listens, without trailing slash."""
        return f"http://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of clients that were killed."""


@contextmanager
def serving(root: Path) -> Iterator[GitServer]:
    """Serve what lies below *root* for the time of the block."""
    with GitServer(root) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), name="git-server", daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.stop.set()
            server.shutdown()
            thread.join(10)


class _Handler(BaseHTTPRequestHandler):
    server: GitServer
    protocol_version = "HTTP/1.0"

    def do_GET(self) -> None:
        self._serve(b"")

    def do_POST(self) -> None:
        self._serve(body_of(self))

    def log_message(self, *_: Any) -> None:
        """Say nothing."""

    def _serve(self, body: bytes) -> None:
        mood, self.server.served = self.server.mood, self.server.served + 1
        self.server.spoilt += bool(mood)
        if mood == "down":
            self.send_error(503)
            return
        if mood == "hang":
            self.server.stop.wait(_HANG_SECONDS)
        if mood in ("hang", "reset"):
            with suppress(OSError):
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.close_connection = True
            return
        if mood == "slow":
            self.server.stop.wait(2.0)
        answer_with_git(self, self.server.root, body)


def body_of(request: BaseHTTPRequestHandler) -> bytes:
    """Return what came with *request*; git sends long bodies in chunks."""
    if request.headers.get("Transfer-Encoding") != "chunked":
        return request.rfile.read(int(request.headers.get("Content-Length") or 0))
    body = b""
    while size := int(request.rfile.readline().split(b";")[0], 16):
        body += request.rfile.read(size)
        request.rfile.readline()
    request.rfile.readline()
    return body


def answer_with_git(request: BaseHTTPRequestHandler, root: Path, body: bytes, *, speaks_v2: bool = True) -> None:
    """Answer *request* as the real `git http-backend` does over the repositories below *root*."""
    path, _, query = request.path.partition("?")
    environment = {
        "PATH": os.environ["PATH"],
        "GIT_PROJECT_ROOT": str(root),
        "GIT_HTTP_EXPORT_ALL": "1",
        **_SAFE,
        "REQUEST_METHOD": request.command,
        "PATH_INFO": path,
        "QUERY_STRING": query,
        "CONTENT_TYPE": request.headers.get("Content-Type", ""),
        "HTTP_CONTENT_ENCODING": request.headers.get("Content-Encoding", ""),
        "GIT_PROTOCOL": request.headers.get("Git-Protocol", "") if speaks_v2 else "",
        "REMOTE_ADDR": "127.0.0.1",
    }
    answer = subprocess.run(["git", "http-backend"], input=body, env=environment, capture_output=True, check=False)
    head, _, content = answer.stdout.partition(b"\r\n\r\n")
    headers = dict(line.split(": ", 1) for line in head.decode().splitlines() if ": " in line)
    request.send_response(int(headers.pop("Status", "200 OK").split()[0]))
    for name, value in headers.items():
        request.send_header(name, value)
    request.end_headers()
    request.wfile.write(content)
