"""An AWS that lets in or refuses as it is told: STS, IAM, KMS, Logs and S3, in the shapes of their own protocols."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit
from xml.sax.saxutils import escape

ACCOUNT = "123456789012"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/ci/buildspecd"
SESSION = f"arn:aws:sts::{ACCOUNT}:assumed-role/buildspecd/i-1"


@dataclass(frozen=True)
class Refusal:
    """What an operation is refused with."""

    code: str
    message: str = ""
    status: int = 400


@dataclass
class Door:
    """`answers` maps an operation to a Refusal or what it answers: JSON, the inside of a result in XML, headers (S3).

    `asked` are the operations that were asked, with their parameters; one that has no answer is refused as unknown.
    """

    address: str = ""
    answers: dict[str, Any] = field(default_factory=dict)
    asked: list[tuple[str, Mapping[str, Any]]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.answers |= {
            "GetCallerIdentity": f"<Arn>{SESSION}</Arn><UserId>A:i-1</UserId><Account>{ACCOUNT}</Account>",
            "GetRole": f"<Role><Path>/ci/</Path><RoleName>buildspecd</RoleName><RoleId>A</RoleId><Arn>{ROLE}</Arn>"
            "<CreateDate>2026-01-01T00:00:00Z</CreateDate></Role>",
            "SimulatePrincipalPolicy": "<IsTruncated>false</IsTruncated><EvaluationResults></EvaluationResults>",
            "UploadPart": Refusal("NoSuchUpload", "The specified upload does not exist.", 404),
            "HeadBucket": {"x-amz-bucket-region": "us-east-1"},
            "PutLogEvents": Refusal("ResourceNotFoundException", "The specified log stream does not exist."),
            "DescribeKey": {"KeyMetadata": {"KeyId": "k-1", "Enabled": True, "KeyState": "Enabled"}},
            "GenerateDataKey": Refusal("DryRunOperationException", "The request would have succeeded", 412),
        }

    def answer(self, operation: str, asked: Mapping[str, Any]) -> Any:
        self.asked.append((operation, asked))
        return self.answers.get(operation, Refusal("UnknownOperationException", operation))


def simulated(*results: tuple[str, str, str], more: str = "", marker: str = "") -> str:
    """Return the inside of a result of the simulator: action, resource and decision of each; *more* is said of all."""
    members = "".join(
        f"<member><EvalActionName>{action}</EvalActionName><EvalResourceName>{escape(resource)}</EvalResourceName>"
        f"<EvalDecision>{decision}</EvalDecision>{more}</member>"
        for action, resource, decision in results
    )
    end = f"<Marker>{marker}</Marker><IsTruncated>true</IsTruncated>" if marker else "<IsTruncated>false</IsTruncated>"
    return f"<EvaluationResults>{members}</EvaluationResults>{end}"


class _Handler(BaseHTTPRequestHandler):
    door: Door
    protocol_version = "HTTP/1.1"

    def _serve(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if target := self.headers.get("X-Amz-Target"):
            self._json(target.rpartition(".")[2], json.loads(body))
        elif self.command == "POST":
            form = {name: values[0] for name, values in parse_qs(body.decode()).items()}
            self._query(form)
        else:
            self._s3()

    do_GET = do_PUT = do_POST = do_HEAD = _serve  # noqa: N815 - http.server's names

    def _json(self, operation: str, asked: Mapping[str, Any]) -> None:
        found = self.door.answer(operation, asked)
        if isinstance(found, Refusal):
            self._send(found.status, json.dumps({"__type": found.code, "message": found.message}))
        else:
            self._send(200, json.dumps(found))

    def _query(self, form: Mapping[str, str]) -> None:
        operation = form["Action"]
        found = self.door.answer(operation, form)
        if callable(found):
            found = found(form)
        if isinstance(found, Refusal):
            inside = f"<Error><Type>Sender</Type><Code>{found.code}</Code><Message>{found.message}</Message></Error>"
            self._send(found.status, f"<ErrorResponse>{inside}<RequestId>r</RequestId></ErrorResponse>")
        else:
            text = f"<{operation}Response><{operation}Result>{found}</{operation}Result></{operation}Response>"
            self._send(200, text)

    def _s3(self) -> None:
        parts = urlsplit(self.path)
        operation = "UploadPart" if "uploadId" in parts.query else "HeadBucket"
        found = self.door.answer(operation, {"path": parts.path})
        if isinstance(found, Refusal):
            self._send(found.status, f"<Error><Code>{found.code}</Code><Message>{found.message}</Message></Error>")
        else:
            self._send(200, "", found)

    def _send(self, status: int, text: str, headers: Mapping[str, str] | None = None) -> None:
        data = b"" if self.command == "HEAD" else text.encode()
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def aws_door() -> Iterator[Door]:
    """Run one on a free port of the loopback."""
    door = Door()

    handler = type("Handler", (_Handler,), {"door": door})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    door.address = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield door
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
