"""A server that plays AWS CodeCommit for tests: git behind TLS that checks each login's SigV4 as AWS does.

Its repositories have their real addresses (`https://git-codecommit.REGION.amazonaws.com/v1/repos/NAME`), which a proxy
for HTTPS leads here. A second server hands out the credentials of a role, which end after some minutes.
"""

from __future__ import annotations

import base64
import calendar
import json
import re
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, HTTPServer, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import quote

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from tests.fakes.git_http import GitHttpServer, _Handler

REGION = "us-east-1"
HOST = f"git-codecommit.{REGION}.amazonaws.com"
SKEW_SECONDS = 900


class Role:
    """Credentials that a role gives out: each asking makes new ones, and `end` ends all that were given before.

    `life` is for how many seconds they say to be good: below ten minutes an SDK asks anew each time.
    """

    def __init__(self) -> None:
        self.life = 300.0
        self.given: list[Credentials] = []
        self._ended = 0
        self._lock = threading.Lock()

    def assume(self) -> dict[str, str]:
        """Return new credentials as the container endpoint writes them."""
        with self._lock:
            number = len(self.given)
            self.given.append(Credentials(f"ASIA{number:016d}", f"s3cr3t-{number}", f"session/token+{number}=="))
        ends = datetime.fromtimestamp(time.time() + self.life, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        new = self.given[number]
        return {
            "AccessKeyId": new.access_key, "SecretAccessKey": new.secret_key, "Token": new.token or "",
            "Expiration": ends,
        }  # fmt: skip

    def end(self) -> None:
        """Let nothing open any more that was given out so far."""
        with self._lock:
            self._ended = len(self.given)

    def good(self, key_id: str, token: str) -> Credentials | None:
        """Return the credentials of that name, unless they have ended."""
        with self._lock:
            held = self.given[self._ended :]
        return next((one for one in held if (one.access_key, one.token) == (key_id, token)), None)


class CodeCommit(GitHttpServer):
    """`allowed`: whether the role has codecommit:GitPull; `offset`: how far its clock is ahead of ours, in seconds.

    `entered` holds the access key id of each request that was let in, `refused` why each other one was not.
    """

    def __init__(self, root: Path, role: Role) -> None:
        super().__init__(root, None)
        self.role = role
        self.allowed = True
        self.offset = 0.0
        self.entered: list[str] = []
        self.refused: list[str] = []
        self.RequestHandlerClass = _Checking

    def shutdown_request(self, request: Any) -> None:
        """Say goodbye as TLS wants it."""
        with suppress(OSError):
            request.unwrap()
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing."""

    def judge(self, path: str, authorization: str | None) -> tuple[int, str]:
        """Return the status for a request and why: 200, 401 without login, 403 for one that does not open."""
        if authorization is None:
            return 401, "no login"
        user, _, password = base64.b64decode(authorization.removeprefix("Basic ")).decode().partition(":")
        key_id, _, token = user.partition("%")
        stamp, _, signature = password.partition("Z")
        if not re.fullmatch(r"\d{8}T\d{6}", stamp):
            return 403, "no timestamp"
        if abs(calendar.timegm(time.strptime(stamp, "%Y%m%dT%H%M%S")) - time.time() - self.offset) > SKEW_SECONDS:
            return 403, "signature expired"
        credentials = self.role.good(key_id, token)
        if credentials is None:
            return 403, "expired token"
        repository = re.match(r"/v1/repos/[^/]+", path)
        if repository is None or signature != _signature(credentials, repository[0], stamp):
            return 403, "wrong signature"
        return (200, key_id) if self.allowed else (403, "no codecommit:GitPull")


class _Checking(_Handler):
    server: CodeCommit

    def _serve(self, body: bytes) -> None:
        status, why = self.server.judge(self.path, self.headers.get("Authorization"))
        if status == 200:
            self.server.entered.append(why)
            super()._serve(body)
            return
        self.server.refused.append(why)
        self.send_response(status)
        if status == 401:
            self.send_header("WWW-Authenticate", 'Basic realm="CodeCommit"')
        self.end_headers()


def _signature(credentials: Credentials, path: str, stamp: str) -> str:
    """Return what botocore signs, which is not our own code."""
    request = AWSRequest(method="GIT", url=f"https://{HOST}{path}")
    request.context["timestamp"] = stamp
    signer = SigV4Auth(credentials, "codecommit", REGION)
    signed: str = signer.signature(signer.string_to_sign(request, f"GIT\n{path}\n\nhost:{HOST}\n\nhost\n"), request)
    return signed


class Region:
    """A region of one service: the server, the role, and what a process needs in its environment to find them."""

    def __init__(self, server: CodeCommit, role: Role, ca_file: Path, proxy: str, roles: str) -> None:
        self.server, self.role, self.ca_file = server, role, ca_file
        self.environment = {
            "HTTPS_PROXY": proxy,
            "https_proxy": proxy,
            "AWS_CONTAINER_CREDENTIALS_FULL_URI": roles,
            "AWS_DEFAULT_REGION": REGION,
        }

    def location(self, name: str) -> str:
        """Return the address of a repository."""
        return f"https://{HOST}/v1/repos/{quote(name)}"


@contextmanager
def codecommit(place: Path) -> Iterator[Region]:
    """Run it for the time of the block. The repository NAME is the bare one at `place/v1/repos/NAME`."""
    role = Role()
    with ExitStack() as stack:
        server = stack.enter_context(CodeCommit(place, role))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*_certificate(place))
        server.socket = context.wrap_socket(server.socket, server_side=True)
        roles = stack.enter_context(_server(_Roles))
        roles.role = role  # type: ignore[attr-defined]
        proxy = stack.enter_context(_server(_Proxy))
        proxy.port = server.server_port  # type: ignore[attr-defined]
        for one in (server, roles, proxy):
            threading.Thread(target=one.serve_forever, args=(0.01,), daemon=True).start()
            stack.callback(one.shutdown)
        yield Region(
            server, role, place / "cert.pem", f"http://127.0.0.1:{proxy.server_port}",
            f"http://127.0.0.1:{roles.server_port}/creds",
        )  # fmt: skip


def _server(handler: type[BaseHTTPRequestHandler]) -> ThreadingHTTPServer:
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    return server


def _certificate(place: Path) -> tuple[Path, Path]:
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=test",
         "-addext", f"subjectAltName=DNS:{HOST}", "-keyout", place / "key.pem", "-out", place / "cert.pem"],
        check=True, capture_output=True,
    )  # fmt: skip
    return place / "cert.pem", place / "key.pem"


class _Roles(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        said = json.dumps(self.server.role.assume()).encode()  # type: ignore[attr-defined]
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(said)))
        self.end_headers()
        self.wfile.write(said)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


class _Proxy(BaseHTTPRequestHandler):
    """Leads every CONNECT to the one server, whatever host was asked for."""

    server: HTTPServer

    def do_CONNECT(self) -> None:
        with socket.create_connection(("127.0.0.1", self.server.port)) as onward:  # type: ignore[attr-defined]
            self.send_response(200)
            self.end_headers()
            back = threading.Thread(target=_pour, args=(onward, self.connection), daemon=True)
            back.start()
            _pour(self.connection, onward)
            back.join()
        self.close_connection = True

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


def _pour(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(1 << 16):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
