"""An STS that knows roles which may be assumed, one which may not, and bad days."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler
from urllib.parse import parse_qsl

from tests.fakes.loopback import listening

CALLER = "arn:aws:sts::123456789012:assumed-role/buildspecd-host/i-0123456789abcdef0"
_NAMESPACE = "https://sts.amazonaws.com/doc/2011-06-15/"


@dataclass
class Sts:
    """`asked` has the parameters of every AssumeRole; `denies` says no to it, `down` to everything, with 503."""

    address: str = ""
    denies: bool = False
    down: bool = False
    lifetime: timedelta = timedelta(hours=1)
    asked: list[dict[str, str]] = field(default_factory=list)
    turned_away: int = 0

    @property
    def environment(self) -> dict[str, str]:
        """What makes SDKs ask here."""
        return {"AWS_ENDPOINT_URL_STS": self.address}

    def answer(self, said: dict[str, str]) -> tuple[int, str]:
        """Return status and document for one request."""
        action = said.get("Action", "")
        if self.down:
            self.turned_away += 1
            return 503, _error("ServiceUnavailable", "come again")
        if action == "GetCallerIdentity":
            who = f"<Arn>{CALLER}</Arn><UserId>AROA:i</UserId><Account>123456789012</Account>"
            return 200, _result(action, who)
        if action != "AssumeRole":
            return 400, _error("InvalidAction", action)
        self.asked.append(said)
        if self.denies:
            text = f"User: {CALLER} is not authorized to perform: sts:AssumeRole on resource: {said['RoleArn']}"
            return 403, _error("AccessDenied", text)
        number = len(self.asked)
        until = (datetime.now(UTC) + self.lifetime).strftime("%Y-%m-%dT%H:%M:%SZ")
        return 200, _result(
            action,
            f"<Credentials><AccessKeyId>ASIAFAKE{number:08}</AccessKeyId><SecretAccessKey>secret-{number}"
            f"</SecretAccessKey><SessionToken>session-{number}</SessionToken><Expiration>{until}</Expiration>"
            f"</Credentials><AssumedRoleUser><AssumedRoleId>AROA:{said['RoleSessionName']}</AssumedRoleId>"
            f"<Arn>{said['RoleArn']}</Arn></AssumedRoleUser>",
        )


def _result(action: str, inner: str) -> str:
    return (
        f'<{action}Response xmlns="{_NAMESPACE}"><{action}Result>{inner}</{action}Result>'
        f"<ResponseMetadata><RequestId>r</RequestId></ResponseMetadata></{action}Response>"
    )


def _error(code: str, message: str) -> str:
    return (
        f'<ErrorResponse xmlns="{_NAMESPACE}"><Error><Type>Sender</Type><Code>{code}</Code>'
        f"<Message>{message}</Message></Error><RequestId>r</RequestId></ErrorResponse>"
    )


@contextmanager
def sts_service() -> Iterator[Sts]:
    """Run one on a free port of the loopback."""
    service = Sts()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            status, text = service.answer(dict(parse_qsl(body.decode())))
            self.send_response(status)
            self.send_header("Content-Type", "text/xml")
            self.send_header("Content-Length", str(len(text.encode())))
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *_: object) -> None:
            pass

    with listening(Handler) as service.address:
        yield service
