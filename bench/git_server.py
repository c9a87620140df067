"""A git server of smart HTTP/1.1 with connections that stay open: `git http-backend` behind the standard library.

python -m bench.git_server ROOT [USER:PASSWORD]     prints its port; a path that begins with /hang/ never gets an answer
"""

from __future__ import annotations

import base64
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import IO

_PIECE = 1 << 16


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.serve(b"")

    def do_POST(self) -> None:
        self.serve(self.rfile.read(int(self.headers.get("Content-Length") or 0)))

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def serve(self, body: bytes) -> None:
        if not self.is_known():
            return
        path, _, query = self.path.partition("?")
        if path.startswith("/hang/"):
            threading.Event().wait()
        environment = {
            "PATH": os.environ["PATH"],
            "GIT_PROJECT_ROOT": sys.argv[1],
            "GIT_HTTP_EXPORT_ALL": "1",
            "REQUEST_METHOD": self.command,
            "PATH_INFO": path,
            "QUERY_STRING": query,
            "CONTENT_TYPE": self.headers.get("Content-Type", ""),
            "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
            "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
        }
        command = ["git", "http-backend"]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment) as backend:
            assert backend.stdin
            assert backend.stdout
            backend.stdin.write(body)
            backend.stdin.close()
            self.pass_on(backend.stdout)

    def pass_on(self, answer: IO[bytes]) -> None:
        """Send an answer while it is made; a short one in one piece."""
        headers = dict(line.decode().strip().split(": ", 1) for line in iter(answer.readline, b"\r\n") if b": " in line)
        self.send_response(int(headers.pop("Status", "200 OK").split()[0]))
        for name, value in headers.items():
            self.send_header(name, value)
        content = answer.read(_PIECE)
        if len(content) < _PIECE:
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)
            return
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        while content:
            self.wfile.write(b"%x\r\n%b\r\n" % (len(content), content))
            content = answer.read(_PIECE)
        self.wfile.write(b"0\r\n\r\n")

    def is_known(self) -> bool:
        """Whether the request has the login that is asked for, if any; sends the refusal."""
        if len(sys.argv) < 3 or self.headers.get("Authorization") == f"Basic {_encoded(sys.argv[2])}":
            return True
        self.send_response(401)
        self.send_header("WWW-Authenticate", 'Basic realm="bench"')
        self.send_header("Content-Length", "0")
        self.end_headers()
        return False


def _encoded(login: str) -> str:
    return base64.b64encode(login.encode()).decode()


@contextmanager
def served(root: Path, login: str = "") -> Iterator[str]:
    """Serve what lies below *root* in a process of its own, to those with *login* (USER:PASSWORD); yield where."""
    command = [sys.executable, "-m", "bench.git_server", str(root), *filter(None, [login])]
    here = Path(__file__).resolve().parent.parent
    with subprocess.Popen(command, cwd=here, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout
            yield f"http://127.0.0.1:{process.stdout.readline().strip()}"
        finally:
            process.kill()


def main() -> None:
    """Serve until killed."""
    server = ThreadingHTTPServer(("0.0.0.0", 0), Handler)
    server.daemon_threads = True
    print(server.server_address[1], flush=True)
    server.serve_forever(poll_interval=60)


if __name__ == "__main__":
    main()
