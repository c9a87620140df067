"""Asking: the operations of the daemon under torture, over its control socket."""

from __future__ import annotations

import http.client
import json
import socket
from pathlib import Path
from typing import Any
from urllib.parse import quote

from agent.errors import RequestInvalid, Unavailable
from agent.web import unixsocket

_PATIENCE_SECONDS = 8.0
_OURS = frozenset({"Drain", "Resume", "State", "ListBuildDetails", "GetProjects", "GetBuild"})


class Asking:
    """Asks whichever daemon listens now. Raises `Unavailable` when none does, `RequestInvalid` when it says no."""

    def __init__(self, state_dir: Path) -> None:
        self.path = state_dir / "agent.sock"

    def call(self, operation: str, **members: Any) -> dict[str, Any]:
        """Run an operation; members that are None are left out."""
        prefix = "Buildspecd" if operation in _OURS else "CodeBuild_20161006"
        headers = {"X-Amz-Target": f"{prefix}.{operation}", "Content-Type": "application/x-amz-json-1.1"}
        body = json.dumps({name: value for name, value in members.items() if value is not None}).encode()
        status, answer = self._request("POST", "/", body, headers)
        try:
            document = dict(json.loads(answer or b"{}"))
        except (ValueError, TypeError) as error:
            raise Unavailable(f"{operation}: the answer makes no sense") from error
        if status != http.client.OK:
            raise RequestInvalid(f"{operation}: {document.get('message', status)}")
        return document

    def log(self, build: str) -> bytes:
        """Return the log of a build as the daemon keeps it."""
        status, answer = self._request("GET", f"/builds/{quote(build, safe='')}/log", b"", {})
        if status != http.client.OK:
            raise RequestInvalid(f"log of {build}: {status}")
        return answer

    def _request(self, method: str, path: str, body: bytes, headers: dict[str, str]) -> tuple[int, bytes]:
        connection = _Connection(self.path)
        try:
            connection.request(method, path, body=body or None, headers={"Connection": "close", **headers})
            answer = connection.getresponse()
            return answer.status, answer.read()
        except (OSError, http.client.HTTPException) as error:
            raise Unavailable(f"{self.path}: {error}") from error
        finally:
            connection.close()


class _Connection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=_PATIENCE_SECONDS)
        self._path = path
        self.sock: socket.socket | Any

    def connect(self) -> None:
        self.sock = unixsocket.connect(self._path, self.timeout)
