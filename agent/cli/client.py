"""Client: the daemon's operations from the command line, JSON 1.1 over the control socket."""

from __future__ import annotations

import errno
import grp
import http.client
import json
import socket
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from agent.errors import BuildspecdError, DaemonNotRunning, RequestInvalid, Unavailable
from agent.web import unixsocket

SOCKET_NAME = "agent.sock"
_TIMEOUT = 60.0
"""Seconds for one call; each is answered from the daemon's own state, so this is ample."""
_CODEBUILD = frozenset(
    {"StartBuild", "StopBuild", "RetryBuild", "BatchGetBuilds", "BatchGetProjects", "InvalidateProjectCache"}
    | {"BatchGetReports", "DescribeTestCases", "DescribeCodeCoverages"}
)


class Client:
    """Asks one daemon. Every method raises `DaemonNotRunning` where nobody (or nobody for us) listens."""

    def __init__(self, state_dir: Path) -> None:
        self._path = state_dir / SOCKET_NAME

    def call(self, operation: str, **members: Any) -> dict[str, Any]:
        """Run an operation of the daemon; members that are None are left out.

        Raises `RequestInvalid` with the daemon's words for what it refuses.
        """
        prefix = "CodeBuild_20161006" if operation in _CODEBUILD else "Buildspecd"
        headers = {"X-Amz-Target": f"{prefix}.{operation}", "Content-Type": "application/x-amz-json-1.1"}
        body = json.dumps({name: value for name, value in members.items() if value is not None})
        answer = self._request("POST", "/", _TIMEOUT, body=body.encode(), headers=headers)
        with answer:
            return _output(answer)

    def build(self, name: str) -> dict[str, Any]:
        """Return the build that *name* means, in the shape of BatchGetBuilds."""
        found: dict[str, Any] = self.call("GetBuild", id=name)["build"]
        return found

    def reports(self, build: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Return the reports of a build, in the shape of BatchGetReports; those that have expired are not there."""
        arns = build.get("reportArns")
        return list(self.call("BatchGetReports", reportArns=arns)["reports"]) if arns else []

    def log(self, build: str, offset: int = 0, *, follow: bool = False) -> Iterator[bytes]:
        """Yield the bytes of a build's log from *offset* on, as they come.

        With *follow* it ends when the build has ended or the daemon goes; a cut connection ends it too.
        """
        query = urlencode({"offset": offset, "follow": int(follow)})
        answer = self._request("GET", f"/builds/{quote(build, safe='')}/log?{query}", None if follow else _TIMEOUT)
        with answer:
            if answer.status != http.client.OK:
                _output(answer)
            try:
                while piece := answer.read1(1 << 16):
                    yield piece
            except (http.client.HTTPException, OSError):
                return

    def _request(
        self, method: str, path: str, timeout: float | None, *, body: bytes = b"", headers: dict[str, str] | None = None
    ) -> http.client.HTTPResponse:
        connection = _Connection(self._path, timeout)
        try:
            connection.request(method, path, body=body or None, headers={"Connection": "close", **(headers or {})})
            return connection.getresponse()
        except TimeoutError as error:
            connection.close()
            raise Unavailable(f"the daemon at {self._path} does not answer", hint="look at its log") from error
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            raise self._nobody(error) from error

    def _nobody(self, error: Exception) -> DaemonNotRunning:
        if isinstance(error, PermissionError):
            return DaemonNotRunning(
                f"you are not allowed to talk to the daemon at {self._path}",
                hint=f"join its group and log in again: sudo usermod -aG {self._group()} $USER",
            )
        if isinstance(error, OSError) and error.errno not in (errno.ENOENT, errno.ECONNREFUSED, errno.ENOTDIR):
            return DaemonNotRunning(f"the daemon at {self._path} cannot be reached: {error}")
        return DaemonNotRunning(
            f"no daemon listens on {self._path}",
            hint="start it with `systemctl start buildspecd` (or `buildspecd serve`), or name its settings by --config",
        )

    def _group(self) -> str:
        """Return the group that may use the socket; the packaged one where it cannot be seen."""
        for path in (self._path, self._path.parent):
            try:
                return grp.getgrgid(path.stat().st_gid).gr_name
            except (OSError, KeyError):
                continue
        return "buildspecd"


class _Connection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: Path, timeout: float | None) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path
        self.sock: socket.socket | Any

    def connect(self) -> None:
        self.sock = unixsocket.connect(self._path, self.timeout)


def _output(answer: http.client.HTTPResponse) -> dict[str, Any]:
    """Return the JSON of an answer, or raise the error that it tells."""
    try:
        document: dict[str, Any] = dict(json.loads(answer.read() or b"{}"))
    except (ValueError, TypeError, http.client.HTTPException, OSError) as error:
        raise Unavailable(f"the daemon's answer (HTTP {answer.status}) makes no sense", hint="ask again") from error
    if answer.status == http.client.OK:
        return document
    message, hint = str(document.get("message", f"HTTP {answer.status}")), str(document.get("hint", ""))
    if answer.status < http.client.INTERNAL_SERVER_ERROR:
        raise RequestInvalid(message, hint=hint)
    raise BuildspecdError(message, hint=hint or "the daemon's log says more: journalctl -u buildspecd")
