"""A Docker registry with one image, on 127.0.0.1: it serves, refuses, limits or asks for a login, as it is told."""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import json
import tarfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"


class FakeRegistry:
    """Holds `app:1`. `status` 200 serves; any other is the answer to every request. `login` is `user:password`."""

    def __init__(self, address: str) -> None:
        self.reference = f"{address}/app:1"
        self.status = 200
        self.login = ""
        self._blobs: dict[str, bytes] = {}
        layer = _layer()
        config = {
            "architecture": "amd64",
            "os": "linux",
            "config": {},
            "rootfs": {"type": "layers", "diff_ids": [_digest(layer)]},
        }
        packed, described = gzip.compress(layer), json.dumps(config).encode()
        self.manifest = json.dumps(
            {
                "schemaVersion": 2,
                "mediaType": _MANIFEST,
                "config": self._add(described, "application/vnd.docker.container.image.v1+json"),
                "layers": [self._add(packed, "application/vnd.docker.image.rootfs.diff.tar.gzip")],
            }
        ).encode()

    def answer(self, path: str, authorization: str) -> tuple[int, str, bytes]:
        """Return status, content type and body."""
        if self.status != 200:
            return self.status, "application/json", b'{"errors":[{"code":"TOOMANYREQUESTS","message":"slow down"}]}'
        wanted = "Basic " + base64.b64encode(self.login.encode()).decode()
        if self.login and authorization != wanted:
            return 401, "application/json", b'{"errors":[{"code":"UNAUTHORIZED","message":"authentication required"}]}'
        if path == "/v2/":
            return 200, "application/json", b"{}"
        if path == "/v2/app/manifests/1" or path == f"/v2/app/manifests/{_digest(self.manifest)}":
            return 200, _MANIFEST, self.manifest
        blob = self._blobs.get(path.removeprefix("/v2/app/blobs/"))
        if blob is not None:
            return 200, "application/octet-stream", blob
        return 404, "application/json", b'{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"}]}'

    def _add(self, blob: bytes, kind: str) -> dict[str, object]:
        self._blobs[_digest(blob)] = blob
        return {"mediaType": kind, "size": len(blob), "digest": _digest(blob)}


@contextmanager
def serving() -> Iterator[FakeRegistry]:
    """Serve a registry on a free port until the block ends."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler)
    registry = FakeRegistry(f"127.0.0.1:{server.server_address[1]}")

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, kind, body = registry.answer(self.path, self.headers.get("Authorization", ""))
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Docker-Content-Digest", _digest(body))
            if status == 401:
                self.send_header("WWW-Authenticate", 'Basic realm="fake"')
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        def do_HEAD(self) -> None:
            self.do_GET()

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    server.RequestHandlerClass = Handler
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield registry
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _digest(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def _layer() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        member = tarfile.TarInfo("hello")
        member.size = 5
        tar.addfile(member, io.BytesIO(b"hello"))
    return buffer.getvalue()
