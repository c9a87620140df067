"""HostApi: asks the REST interfaces of git hosts, JSON in and out, with limits on time and size."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urljoin, urlsplit

from agent import __version__
from agent.errors import GitUnavailable, SourceRefused
from agent.kit.clock import Clock, SystemClock
from agent.kit.service import StopToken
from agent.model.secret import Secret
from agent.source.connections import (
    LONGEST_REST,
    Connections,
    Response,
    Trust,
    basic,
    content_of,
    is_limited,
    rest_of,
)

LONGEST_ANSWER = 4 << 20
"""Bytes of an answer that are read."""
_REDIRECTS = 3
_SHOWN = 300


@dataclass(frozen=True)
class Answer:
    """What a host said. `body` is its JSON, None where that is empty or none; header names are in lower case."""

    status: int
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        """Whether the host did what was asked."""
        return 200 <= self.status < 300

    @property
    def said(self) -> str:
        """The host's own words about a refusal, in one line; its status where it has none."""
        words = [self.body.get(name) for name in ("message", "error_description", "error")] if self.is_object else []
        text = next((word for word in words if isinstance(word, str) and word.strip()), "")
        shown = " ".join("".join(sign if sign.isprintable() else " " for sign in text).split())
        return f"HTTP {self.status}: {shown[:_SHOWN]}" if shown else f"HTTP {self.status}"

    @property
    def is_object(self) -> bool:
        """Whether `body` is a mapping."""
        return isinstance(self.body, dict)

    @property
    def time(self) -> float | None:
        """The host's own clock (epoch seconds), where it tells it."""
        try:
            return parsedate_to_datetime(self.headers.get("date", "")).timestamp()
        except ValueError:
            return None


def bearer(token: Secret) -> dict[str, str]:
    """Return the header that carries a token."""
    if any(sign in token.reveal() for sign in "\r\n\0"):
        raise SourceRefused("a token holds a line break", hint="remove it from the stored token")
    return {"Authorization": f"Bearer {token.reveal()}"}


def login(username: str, password: Secret) -> dict[str, str]:
    """Return the header that carries user name and password."""
    found = basic(username, password.reveal())
    return {"Authorization": found["authorization"]}


class HostApi:
    """Asks git hosts. Safe to share between threads; proxies are those of this process's environment.

    Every method returns the `Answer` whatever its status says of us (4xx). Raises `GitUnavailable` where nobody
    answers, for 5xx and for limits of rate, with `retry_after` where the host says it; `SourceRefused` for a
    certificate that nobody vouches for.
    """

    def __init__(self, connections: Connections | None = None, clock: Clock | None = None) -> None:
        self._connections = connections or Connections()
        self._clock = clock or SystemClock()

    def get(
        self, address: str, headers: Mapping[str, str], *, trust: Trust = Trust(), stop: StopToken | None = None
    ) -> Answer:
        """Return what lies at *address*; a redirect within the same origin is followed."""
        for _ in range(_REDIRECTS):
            answer = self._ask("GET", address, headers, None, trust, stop)
            target = urljoin(address, answer.headers.get("location", ""))
            moved = answer.status in (301, 302, 307, 308) and target != address
            if not moved or _origin(target) != _origin(address):
                break
            address = target
        return answer

    def post(
        self,
        address: str,
        headers: Mapping[str, str],
        body: Any,
        *,
        trust: Trust = Trust(),
        stop: StopToken | None = None,
    ) -> Answer:
        """Send *body* as JSON. It is sent once: whether it arrived is unknown after `GitUnavailable`."""
        content = json.dumps(body).encode()
        return self._ask("POST", address, {**headers, "Content-Type": "application/json"}, content, trust, stop)

    def _ask(
        self,
        method: str,
        address: str,
        headers: Mapping[str, str],
        content: bytes | None,
        trust: Trust,
        stop: StopToken | None,
    ) -> Answer:
        place = address.partition("?")[0]
        full = {"User-Agent": f"buildspecd/{__version__}", "Accept": "application/json", **headers}
        with self._connections.asked(
            method, address, headers=full, body=content, trust=trust, stop=stop, place=place
        ) as response:
            self._judge(response, place)
            text = content_of(response, LONGEST_ANSWER)
            told = {name.lower(): value for name, value in response.headers.items()}
            status = response.status
        if text is None:
            raise GitUnavailable(f"{place}: the answer is longer than {LONGEST_ANSWER >> 20} MB")
        return Answer(status, _json(text), told)

    def _judge(self, response: Response, place: str) -> None:
        status, headers = response.status, response.headers
        limited = status == 429 or (status == 403 and is_limited(headers))
        if not limited and status < 500:
            return
        words = "the server limits our rate" if limited else f"HTTP {status}"
        error = GitUnavailable(f"{place}: {words}", hint="it is asked again later")
        error.retry_after = rest_of(headers) or (self._until_reset(headers) if limited else None)
        raise error

    def _until_reset(self, headers: Mapping[str, str]) -> float | None:
        """Return the seconds until the limit is lifted, by X-RateLimit-Reset (epoch seconds)."""
        text = headers.get("x-ratelimit-reset", "").strip()
        if not (text.isascii() and text.isdigit() and len(text) < 12):
            return None
        return min(max(float(text) - self._clock.now(), 1.0), LONGEST_REST)


def _origin(address: str) -> tuple[str, str]:
    parts = urlsplit(address)
    return parts.scheme, parts.netloc


def _json(text: bytes) -> Any:
    try:
        return json.loads(text) if text else None
    except (ValueError, RecursionError):
        return None
