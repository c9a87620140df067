"""CodeCommit on loopback: git over TLS that takes nothing but its signature, behind a proxy that leads there."""

from __future__ import annotations

import base64
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from tests.fakes.git_http import GitHttpServer
from tests.journey.cloud import CREDENTIALS, REGION


class CodeCommit(GitHttpServer):
    """Serves `/v1/repos/NAME` below *root*."""

    def __init__(self, root: Path, host: str, certificate: Path, key: Path) -> None:
        super().__init__(root, None)
        self.host = host
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(certificate, key)

    def opens(self, path: str, given: str | None) -> bool:
        """Whether *given* is the role's signature for the repository of *path* (service.md 2.3)."""
        user, _, password = base64.b64decode((given or "").removeprefix("Basic ")).decode().partition(":")
        stamp, _, signature = password.partition("Z")
        repository = "/".join(path.split("/")[:4])
        keys = Credentials(CREDENTIALS["AWS_ACCESS_KEY_ID"], CREDENTIALS["AWS_SECRET_ACCESS_KEY"])
        request = AWSRequest(method="GIT", url=f"https://{self.host}{repository}")
        request.context["timestamp"] = stamp
        signer = SigV4Auth(keys, "codecommit", REGION)
        canonical = f"GIT\n{repository}\n\nhost:{self.host}\n\nhost\n"
        return user == keys.access_key and signature == signer.signature(
            signer.string_to_sign(request, canonical), request
        )

    def get_request(self) -> tuple[Any, Any]:
        """Accept a connection; the thread that serves it shakes hands."""
        connection, address = super().get_request()
        secure = self._context.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
        return secure, address

    def shutdown_request(self, request: Any) -> None:
        """Say goodbye as TLS wants it."""
        with suppress(OSError, ValueError):
            request.unwrap()
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of a client that was killed."""


class _Tunnel(ThreadingHTTPServer):
    """A proxy all of whose tunnels lead to *port*."""

    daemon_threads = True

    def __init__(self, port: int) -> None:
        super().__init__(("127.0.0.1", 0), _Digger)
        self.port = port

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of a client that was killed."""


class _Digger(BaseHTTPRequestHandler):
    server: _Tunnel

    def do_CONNECT(self) -> None:
        with socket.create_connection(("127.0.0.1", self.server.port), 30) as far:
            self.send_response_only(200)
            self.end_headers()
            there = threading.Thread(target=_pump, args=(self.connection, far), daemon=True)
            there.start()
            _pump(far, self.connection)
            there.join(30)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def _pump(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):
        while piece := source.recv(1 << 16):
            sink.sendall(piece)
    with suppress(OSError):
        sink.shutdown(socket.SHUT_WR)


@contextmanager
def codecommit(root: Path, host: str, place: Path) -> Iterator[tuple[str, Path]]:
    """Serve the repositories below *root* as *host*; yield the proxy's URL and the authority to believe."""
    certificate, key = place / "codecommit.pem", place / "codecommit.key"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
         "-subj", f"/CN={host}", "-addext", f"subjectAltName=DNS:{host}", "-keyout", key, "-out", certificate],
        check=True, capture_output=True,
    )  # fmt: skip
    with CodeCommit(root, host, certificate, key) as server, _Tunnel(server.server_address[1]) as proxy:
        for one in (server, proxy):
            threading.Thread(target=one.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{proxy.server_address[1]}", certificate
        finally:
            proxy.shutdown()
            server.shutdown()
