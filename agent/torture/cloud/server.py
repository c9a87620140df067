"""CloudServer: an AWS on loopback that does what it is told wrong; the HTTP side of it, with the faults of the wire."""

from __future__ import annotations

import contextlib
import gzip
import json
import select
import socket
import socketserver
import struct
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final
from urllib.parse import parse_qsl, urlsplit

from agent.errors import UsageError
from agent.kit.service import StopToken
from agent.torture.cloud.faults import Fault, Faults
from agent.torture.cloud.remote import Remote
from agent.torture.cloud.s3 import operation as s3_operation
from agent.torture.cloud.services import TARGETS, Services
from agent.torture.cloud.wire import Answer, Refusal, Request, as_json, refused

MOST_BODY: Final = 5 << 30
_GARBAGE: Final = Answer(
    200, b"<html><body>Please log in to the guest network.</body></html>", {"Content-Type": "text/html"}
)
_REFUSALS: Final = {
    "throttle": ("ThrottlingException", "Rate exceeded", 400),
    "error": ("InternalFailure", "We encountered an internal error. Please try again.", 500),
    "unavailable": ("ServiceUnavailable", "Service is unable to handle request.", 503),
    "expired": ("ExpiredTokenException", "The security token included in the request is expired", 400),
    "denied": ("AccessDeniedException", "You are not authorized to perform this operation.", 400),
}
_OF_S3: Final = {
    "throttle": ("SlowDown", "Please reduce your request rate.", 503),
    "error": ("InternalError", "We encountered an internal error. Please try again.", 500),
    "expired": ("ExpiredToken", "The provided token has expired.", 400),
    "denied": ("AccessDenied", "Access Denied", 403),
}
_LOOK_SECONDS: Final = 0.1


class CloudServer(Remote):
    """The server in this process, on a free port of loopback unless *port* says otherwise. A context manager.

    `services` has what it plays, `faults` the rules in force; what `Remote` offers works as well.
    """

    def __init__(
        self,
        *,
        seed: int = 0,
        port: int = 0,
        now: Callable[[], float] = time.time,
        most_event_bytes: int = 1_048_576,
    ) -> None:
        self.services = Services(now, most_event_bytes)
        self.faults = Faults(seed)
        self._server = _Server(("127.0.0.1", port), self.services, self.faults)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), name="cloud", daemon=True)
        super().__init__(f"http://127.0.0.1:{self._server.server_address[1]}")
        self.services.queues.url = f"{self.url}/{'0' * 12}"

    def __enter__(self) -> CloudServer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.stop.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(10)

    def serve(self, stop: StopToken) -> None:
        """Serve on this thread's behalf until *stop*."""
        with self:
            stop.wait()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], services: Services, faults: Faults) -> None:
        self.services = services
        self.faults = faults
        self.stop = StopToken()
        super().__init__(address, _Handler)

    def server_bind(self) -> None:
        """Bind without looking up a name for the address, which takes seconds where there is no DNS."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])

    def shutdown_request(self, request: Any) -> None:
        """Close a connection; one that is to be reset without saying good-bye first."""
        linger = request.getsockopt(socket.SOL_SOCKET, socket.SO_LINGER, 8) if request.fileno() >= 0 else b""
        if linger[:4] == struct.pack("i", 1):
            self.close_request(request)
        else:
            super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: clients that go away are what this server is for."""

    def later(self, seconds: float, request: Request) -> None:
        """Do *request* in *seconds*, when nobody waits for it any more."""

        def work() -> None:
            if not self.stop.wait(seconds):
                with contextlib.suppress(Refusal):
                    self.services.perform(request)

        threading.Thread(target=work, name="cloud-late", daemon=True).start()


@dataclass(frozen=True)
class _Heard:
    """What the head of a request says."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]

    @property
    def service(self) -> str:
        target = self.headers.get("x-amz-target", "").partition(".")[0]
        if target in TARGETS:
            return TARGETS[target]
        scope = self.headers.get("authorization", "").partition("Credential=")[2].split(",")[0].split("/")
        return scope[3] if len(scope) == 5 else "s3"

    @property
    def operation(self) -> str:
        """The operation; "" where only the body tells."""
        if target := self.headers.get("x-amz-target"):
            return target.rpartition(".")[2]
        return s3_operation(self.method, self.path, self.query) if self.service == "s3" else ""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server
    server_version = "AwsShaped"
    timeout = 300

    def setup(self) -> None:
        super().setup()
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        """Answer any request."""
        address = urlsplit(self.path)
        query = dict(parse_qsl(address.query, keep_blank_values=True))
        headers = {name.lower(): value for name, value in self.headers.items()}
        heard = _Heard(self.command, address.path, query, headers)
        if heard.path.startswith(("/_audit", "/_faults", "/_stock")):
            self._control(heard)
        else:
            self._play(heard)

    do_POST = do_PUT = do_DELETE = do_HEAD = do_GET  # noqa: N815 (names of the base class)

    def _control(self, heard: _Heard) -> None:
        try:
            self._send(as_json(self._controlled(heard, self._body(heard))))
        except UsageError as error:
            self._send(refused("control", Refusal("UsageError", f"{error.message}; {error.hint}")))
        except Refusal as refusal:
            self._send(refused("control", refusal))

    def _controlled(self, heard: _Heard, body: bytes) -> dict[str, Any]:
        faults, parts = self.server.faults, heard.path.strip("/").split("/")
        if parts[0] == "_audit":
            return self.server.services.audited(parts[1:], heard.query)
        try:
            document = json.loads(body or b"{}")
        except ValueError:
            raise UsageError("not JSON") from None
        if parts[0] == "_stock":
            self.server.services.stock(document)
            return {}
        if heard.method == "DELETE":
            faults.remove(int(parts[1])) if len(parts) > 1 else faults.clear()
        elif heard.method == "POST" and "outage" in document:
            return {"number": faults.outage(float(document["outage"]), kind=document.get("kind", "reset"))}
        elif heard.method == "POST":
            return {"number": faults.add(Fault.read(document))}
        return faults.report()

    def _play(self, heard: _Heard) -> None:
        operation = heard.operation
        body = b"" if operation else self._body(heard)
        form = dict(parse_qsl(body.decode("utf-8", "replace")))
        operation = operation or form.get("Action", "")
        fault = self.server.faults.draw(heard.service, operation)
        if fault and fault.kind == "reset":
            self._reset()
            return
        if heard.operation:
            body = self._body(heard)
        answer, request = self._done(heard, operation, body, form, fault)
        self._finish(fault, answer, request)

    def _done(
        self, heard: _Heard, operation: str, body: bytes, form: Mapping[str, str], fault: Fault | None
    ) -> tuple[Answer, Request | None]:
        kind, head = fault.kind if fault else "", heard.method == "HEAD"
        try:
            if kind in _REFUSALS:
                code, text, status = (_OF_S3 if heard.service == "s3" else {}).get(kind, _REFUSALS[kind])
                return refused(heard.service, Refusal(code, text, status), head=head), None
            request = _request(heard, operation, body, form)
            if kind in ("hang", "done-late", "garbage"):
                return Answer(), request
            return self.server.services.perform(request, fault), request
        except Refusal as refusal:
            return refused(heard.service, refusal, head=head), None

    def _finish(self, fault: Fault | None, answer: Answer, request: Request | None) -> None:
        kind, seconds = (fault.kind, fault.seconds) if fault else ("", 0.0)
        if kind == "done-late" and request:
            self.server.later(seconds, request)
        if kind in ("lost-answer", "done-late"):
            self._reset()
        elif kind in ("hang", "hang-done"):
            self._hold(seconds or 3600.0)
            self._reset()
        elif kind == "truncated":
            self._send(answer, most=len(answer.body) // 2)
            self._reset()
        elif kind in ("garbage", "garbage-done"):
            self._send(_GARBAGE)
        else:
            if kind == "late":
                self._hold(seconds)
            self._send(answer)

    def _send(self, answer: Answer, *, most: int | None = None) -> None:
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        if answer.status != 204:
            length = len(answer.body) if answer.length is None else answer.length
            # An answer without a body cannot end in the middle unless it promises one.
            self.send_header("Content-Length", str(length if most is None else max(length, 1)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer.body[:most])
        self.wfile.flush()

    def _body(self, heard: _Heard) -> bytes:
        """Read the body, unpacked. Raises `ConnectionError` when the client goes away in the middle of it."""
        size = int(heard.headers.get("content-length", 0) or 0)
        if size > MOST_BODY:
            raise ConnectionError("too much")
        body = (
            _unchunked(self.rfile) if "chunked" in heard.headers.get("transfer-encoding", "") else self.rfile.read(size)
        )
        if len(body) < size:
            raise ConnectionError("the client went away")
        if heard.headers.get("content-encoding", "").lower() == "gzip" and heard.service != "s3":
            return gzip.decompress(body)
        return body

    def _hold(self, seconds: float) -> None:
        """Wait for *seconds*, until the client goes away or the server ends."""
        until = time.monotonic() + seconds
        heard = select.poll()  # select() knows no descriptor above 1023
        heard.register(self.connection, select.POLLIN)
        while (left := until - time.monotonic()) > 0 and not self.server.stop.is_set:
            if heard.poll(min(left, _LOOK_SECONDS) * 1000):
                return

    def _reset(self) -> None:
        self.close_connection = True
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def _request(heard: _Heard, operation: str, body: bytes, form: Mapping[str, str]) -> Request:
    """Return the request with its body understood. Raises `Refusal` where it makes no sense."""
    document: dict[str, Any] = dict(form)
    if heard.headers.get("x-amz-target"):
        try:
            document = json.loads(body or b"{}")
        except ValueError:
            raise Refusal("SerializationException", "Start of structure or map found where not expected.") from None
    return Request(heard.service, operation, heard.method, heard.path, heard.query, heard.headers, body, document)


def _unchunked(file: Any) -> bytes:
    """Return a body that comes in HTTP's chunks."""
    pieces = []
    while size := int(file.readline().partition(b";")[0] or b"0", 16):
        pieces.append(file.read(size))
        file.readline()
    while file.readline().strip():
        pass
    return b"".join(pieces)
