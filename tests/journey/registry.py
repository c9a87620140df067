"""Servers on loopback that say no, or nothing: registries that refuse, and ports on which nobody listens."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

_WORDS = {401: "UNAUTHORIZED", 404: "MANIFEST_UNKNOWN", 429: "TOOMANYREQUESTS", 503: "UNAVAILABLE"}


def dead_port() -> int:
    """Return a TCP port of the loopback address that refuses connections."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@contextmanager
def refusing_registry(status: int) -> Iterator[str]:
    """Run an image registry that answers every question for an image with *status*; yield its `host:port`."""

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            code = 200 if self.path == "/v2/" and status != 401 else status
            error = {"code": _WORDS.get(code, ""), "message": _WORDS.get(code, "").lower().replace("_", " ")}
            body = json.dumps({} if code == 200 else {"errors": [error]}).encode()
            self.send_response(code)
            if code == 401:
                self.send_header("WWW-Authenticate", 'Basic realm="registry"')
            self.send_header("Docker-Distribution-Api-Version", "registry/2.0")
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(b"" if self.command == "HEAD" else body)

        do_HEAD = do_GET  # noqa: N815  # the name that http.server looks for

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        try:
            yield f"127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
