"""What AWS says of S3 sources that no server here can say, replayed as it was recorded, becomes advice."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from agent.aws import Aws
from agent.errors import BuildspecdError, SourceNotFound, SourceRefused
from agent.kit.service import StopToken
from agent.model.project import Source
from agent.objects.location import open_store
from agent.source.bucket import Buckets
from agent.source.errand import Errand, go_on

ROLE = "arn:aws:sts::123456789012:assumed-role/agent/i-0"
KEY = "arn:aws:kms:eu-west-1:999999999999:key/0a1b"
LISTED = {"x-amz-bucket-region": "eu-west-1"}


@contextmanager
def saying(status: int, code: str, text: str, **headers: str) -> Iterator[str]:
    """Run a server that answers everything with one error of S3's; yield its address."""
    body = f"<Error><Code>{code}</Code><Message>{text}</Message><RequestId>R1</RequestId></Error>".encode()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name.replace("_", "-"), value)
            self.send_header("Content-Type", "application/xml")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        def do_HEAD(self) -> None:
            self.do_GET()

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()


def buckets(url: str, monkeypatch: pytest.MonkeyPatch) -> Buckets:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    aws = Aws(region="us-east-1", endpoint_url=url)
    return Buckets(lambda location: open_store(location, aws))


@pytest.mark.parametrize(
    ("status", "code", "text", "error", "hint"),
    [
        (403, "RequestTimeTooSkewed", "The difference between the request time and the current time is too large.",
         SourceRefused, "set the clock of this host"),
        (403, "InvalidAccessKeyId", "The AWS Access Key Id you provided does not exist in our records.",
         SourceRefused, "the access key of this host is wrong"),
        (301, "PermanentRedirect", "The bucket must be addressed using the specified endpoint.",
         SourceRefused, "lies in another region: set aws.region"),
        (400, "AuthorizationHeaderMalformed", "the region 'us-east-1' is wrong; expecting 'eu-west-1'",
         SourceRefused, "lies in another region: set aws.region"),
        (403, "AccessDenied", f"User: {ROLE} is not authorized to perform: kms:Decrypt on resource: {KEY}",
         SourceRefused, "allow kms:Decrypt for this host's role"),
        (403, "AccessDenied", f"User: {ROLE} is not authorized to perform: s3:GetObject on resource: theirs",
         SourceRefused, "in another account it has to allow this role as well"),
        (400, "KMS.DisabledException", f"{KEY} is disabled.", SourceRefused, "enable the key"),
        (405, "MethodNotAllowed", "The specified method is not allowed against this resource.", SourceNotFound,
         "not of a delete marker"),
        (404, "NoSuchVersion", "The specified version does not exist.", SourceNotFound, "id of a version of this"),
        (400, "InvalidArgument", "Invalid version id specified", SourceNotFound, "list-object-versions"),
        (404, "NoSuchBucket", "The specified bucket does not exist", SourceNotFound, "check the location"),
        (403, "InvalidObjectState", "The operation is not valid for the object's storage class", SourceRefused,
         "archive tier: restore it"),
    ],
)  # fmt: skip
def test_each_refusal_of_s3_says_what_to_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, status: int, code: str, text: str,
    error: type[BuildspecdError], hint: str,
) -> None:  # fmt: skip
    source = Source(type="S3", location="theirs/k.zip")
    errand = Errand(lambda line: None, go_on, tmp_path)
    headers = LISTED if status in (301, 400) else {}
    with saying(status, code, text, **headers) as url, pytest.raises(error) as caught:
        buckets(url, monkeypatch).fetch(source, "v1", tmp_path / "ws", errand)
    assert hint in caught.value.hint
    assert "theirs/k.zip" in caught.value.message
    assert caught.value.message.startswith("NoSuchVersion" if code in ("MethodNotAllowed", "InvalidArgument") else code)


def test_a_look_that_is_refused_says_what_to_allow(monkeypatch: pytest.MonkeyPatch) -> None:
    with saying(403, "AccessDenied", "") as url, pytest.raises(SourceRefused, match="AccessDenied") as caught:
        buckets(url, monkeypatch).standing(Source(type="S3", location="theirs/k.zip"), StopToken())
    assert "s3:GetObject" in caught.value.hint
