"""An EC2 metadata service, as strict as IMDSv2: no answer without a token that it has given out."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler

from tests.fakes.loopback import listening


class MetadataService:
    """`says` maps what stands below `latest/meta-data/` to its text; `tokens` are those that are good now."""

    def __init__(self) -> None:
        self.says: dict[str, str] = {"instance-id": "i-0123456789abcdef0"}
        self.tokens: list[str] = []
        self.given = 0
        self.refuses = 0
        self.address = ""

    def answer(self, method: str, path: str, token: str | None, seconds: str | None) -> tuple[int, str]:
        """Return status and text for one question."""
        if self.refuses:
            return self.refuses, ""
        if (method, path) == ("PUT", "/latest/api/token"):
            if seconds is None or not 1 <= int(seconds) <= 21600:
                return 400, ""
            self.given += 1
            self.tokens.append(f"token-{self.given}")
            return 200, self.tokens[-1]
        if token not in self.tokens:
            return 401, ""
        found = self.says.get(path.removeprefix("/latest/meta-data/"))
        return (404, "") if found is None else (200, found)


@contextmanager
def metadata_service() -> Iterator[MetadataService]:
    """Run one on a free port of the loopback."""
    service = MetadataService()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _reply(self) -> None:
            token = self.headers.get("X-aws-ec2-metadata-token")
            seconds = self.headers.get("X-aws-ec2-metadata-token-ttl-seconds")
            status, text = service.answer(self.command, self.path, token, seconds)
            self.send_response(status)
            self.send_header("Content-Length", str(len(text.encode())))
            self.end_headers()
            self.wfile.write(text.encode())

        do_GET = do_PUT = _reply  # noqa: N815 - http.server's names

        def log_message(self, *_: object) -> None:
            pass

    with listening(Handler) as service.address:
        yield service
