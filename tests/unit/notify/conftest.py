"""An AWS-shaped server, and a server that says what a test wants."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import boto3
import pytest
from botocore.config import Config
from moto.server import ThreadedMotoServer

from agent.aws import Aws

REGION = "us-west-2"

Answer = tuple[int, str, Any] | None
"""Status, content type and body (JSON unless it is text); None hangs up."""


@pytest.fixture(autouse=True)
def _credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    monkeypatch.delenv("AWS_PROFILE", raising=False)


@pytest.fixture(scope="session")
def moto_url() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def aws(moto_url: str) -> Aws:
    return Aws(region=REGION, endpoint_url=moto_url)


class ScriptedAws:
    """A server that answers as `answer` (called with the request's JSON) says; keeps the requests.

    It is the `Clients` of a sink, too: its clients try once, so that a test does not wait for botocore's pauses.
    """

    def __init__(self) -> None:
        self.requests: list[Any] = []
        self.answer: Callable[[Any], Answer] = lambda _: (200, "application/x-amz-json-1.1", {})
        self._clients: dict[str, Any] = {}
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    def client(self, service: str) -> Any:
        if service not in self._clients:
            self._clients[service] = boto3.session.Session().client(
                service,  # type: ignore[call-overload]
                endpoint_url=f"http://127.0.0.1:{self._server.server_port}",
                region_name=REGION,
                config=Config(retries={"mode": "standard", "total_max_attempts": 1}),
            )
        return self._clients[service]

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def _handler(script: ScriptedAws) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            request = json.loads(body) if body.startswith(b"{") else body
            script.requests.append(request)
            answer = script.answer(request)
            if answer is None:
                self.close_connection = True
                return
            status, kind, content = answer
            data = content.encode() if isinstance(content, str) else json.dumps(content).encode()
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *args: object) -> None:
            return

    return Handler


@pytest.fixture
def scripted() -> Iterator[ScriptedAws]:
    script = ScriptedAws()
    yield script
    script.close()
