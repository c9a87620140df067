"""A server that plays the part of GitHub's REST interface which apps use, in the shapes of its documentation."""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

DOCS = "https://docs.github.com/rest"


def private_key() -> tuple[str, Any]:
    """Return a new RSA key as GitHub hands it out, and its public half."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    )
    return pem.decode(), key.public_key()


class GitHub(ThreadingHTTPServer):
    """Knows one app. `installations` is repository -> installation id; `offset` puts its clock before or behind ours.

    `asked` holds (method, path, body) of every request, `tokens` what was handed out. `refusal`, where set, is the
    (status, message, headers) of every answer.
    """

    daemon_threads = True

    def __init__(self, app: int, public_key: Any) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.app = app
        self.public_key = public_key
        self.installations: dict[str, int] = {}
        self.suspended = False
        self.offset = 0.0
        self.life = 3600.0
        self.refusal: tuple[int, str, dict[str, str]] | None = None
        self.asked: list[tuple[str, str, Any]] = []
        self.tokens: list[str] = []

    @property
    def url(self) -> str:
        """Where it listens, without trailing slash."""
        return f"http://127.0.0.1:{self.server_address[1]}"

    @property
    def now(self) -> float:
        """Its own clock."""
        return time.time() + self.offset


@contextmanager
def github(app: int, public_key: Any) -> Iterator[GitHub]:
    """Run a server for the time of the block."""
    with GitHub(app, public_key) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


class _Handler(BaseHTTPRequestHandler):
    server: GitHub
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: Any) -> None:
        """Say nothing."""

    def date_time_string(self, timestamp: float | None = None) -> str:
        return formatdate(self.server.now, usegmt=True)

    def do_GET(self) -> None:
        self._serve(None)

    def do_POST(self) -> None:
        self._serve(json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0))))

    def _serve(self, body: Any) -> None:
        host = self.server
        host.asked.append((self.command, self.path, body))
        if host.refusal is not None:
            status, message, headers = host.refusal
            return self._answer(status, {"message": message, "documentation_url": DOCS}, headers)
        if reason := self._stranger():
            return self._answer(401, {"message": reason, "documentation_url": DOCS, "status": "401"})
        if found := re.fullmatch(r"/repos/([^/]+/[^/]+)/installation", self.path):
            installation = host.installations.get(found[1])
            if installation is None:
                return self._missing()
            return self._answer(200, {"id": installation, "app_id": host.app, "suspended_at": None})
        if found := re.fullmatch(r"/app/installations/(\d+)/access_tokens", self.path):
            return self._token(int(found[1]), body)
        return self._missing()

    def _stranger(self) -> str:
        """Return in GitHub's words why a request is not signed as it must be."""
        token = self.headers.get("Authorization", "").removeprefix("Bearer ")
        try:
            claims = jwt.decode(
                token, self.server.public_key, algorithms=["RS256"], options={"verify_exp": False, "verify_iat": False}
            )
        except jwt.PyJWTError:
            return "A JSON web token could not be decoded"
        if claims["iat"] > self.server.now:
            return "'Issued at' claim ('iat') must be an Integer representing the time that the assertion was issued"
        if not self.server.now < claims["exp"] <= self.server.now + 660:
            return (
                "'Expiration time' claim ('exp') must be a numeric value representing the future time at which the "
                "assertion expires"
            )
        return "" if claims["iss"] == str(self.server.app) else "Integration not found"

    def _token(self, installation: int, body: Any) -> None:
        host = self.server
        if installation not in host.installations.values():
            return self._missing()
        if host.suspended:
            return self._answer(403, {"message": "This installation has been suspended", "documentation_url": DOCS})
        reached = {name.partition("/")[2] for name, found in host.installations.items() if found == installation}
        if not set(body.get("repositories", [])) <= reached:
            message = (
                "There is at least one repository that does not exist or is not accessible to the parent installation."
            )
            return self._answer(422, {"message": message, "documentation_url": DOCS})
        token = f"ghs_{len(host.tokens):04d}made4u"
        host.tokens.append(token)
        ends = datetime.fromtimestamp(host.now + host.life, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        return self._answer(
            201,
            {
                "token": token,
                "expires_at": ends,
                "permissions": body.get("permissions", {}),
                "repository_selection": "selected",
            },
        )

    def _missing(self) -> None:
        self._answer(404, {"message": "Not Found", "documentation_url": DOCS, "status": "404"})

    def _answer(self, status: int, body: Any, headers: dict[str, str] | None = None) -> None:
        content = json.dumps(body).encode()
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Type", "application/json; charset=utf-8")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)
