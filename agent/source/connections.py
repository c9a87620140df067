"""Connections: HTTP to git hosts over connections that are kept, with proxies, CAs and time limits in one place.

The one door to urllib3 for git servers and for the REST interfaces of their hosts.
"""

from __future__ import annotations

import os
import re
import select
import ssl
import threading
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import urllib3

from agent.errors import GitUnavailable
from agent.kit.service import StopToken
from agent.source.failures import explain

CONNECT_SECONDS = 10.0
READ_SECONDS = 15.0
"""Longest silence of a server that has been asked; a big repository takes a second or two."""
LONGEST_REST = 3600.0
"""Seconds for which a server that asks for a rest gets it at most."""

_CONNECTIONS_PER_HOST = 8
_HOSTS = 64
_SLICE_SECONDS = 0.25

urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)  # whoever set insecureSsl knows, at every look
_OBJECT = re.compile(r"\A\w*Connection\w*\(host=[^)]*\): ")
_ONCE = urllib3.Retry(connect=0, read=0, redirect=0, status=0, other=0, respect_retry_after_header=False)

Response = urllib3.BaseHTTPResponse


@dataclass(frozen=True)
class Trust:
    """Whose certificates are believed: the system's, or those in the PEM file *ca_file*; *insecure*: anybody's."""

    insecure: bool = False
    ca_file: Path | None = None


class Connections:
    """Asks servers, over connections that it keeps. Safe to share between threads. Follows no redirect."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pools: dict[tuple[str, Trust], urllib3.PoolManager] = {}

    @contextmanager
    def asked(
        self,
        method: str,
        address: str,
        *,
        headers: Mapping[str, str],
        body: bytes | None = None,
        trust: Trust = Trust(),
        stop: StopToken | None = None,
        place: str = "",
    ) -> Iterator[Response]:
        """Yield the answer to one request, its body unread. *place* is what messages call the server.

        Raises `SourceRefused` for a certificate that is not believed, `GitUnavailable` for all else that breaks.
        """
        place = place or address
        _patience.stop = stop
        try:
            with self._pool(address, trust).request(
                method,
                address,
                body=body,
                headers=dict(headers),
                redirect=False,
                retries=_ONCE,
                preload_content=False,
            ) as response:
                yield response
        except urllib3.exceptions.SSLError as error:
            raise explain(f"SSL certificate problem: {error}", place) from None
        except (urllib3.exceptions.MaxRetryError, urllib3.exceptions.HTTPError) as error:
            if isinstance(getattr(error, "reason", None), urllib3.exceptions.SSLError):
                raise explain(f"SSL certificate problem: {error.reason}", place) from None  # type: ignore[attr-defined]
            raise GitUnavailable(
                f"{place}: {_cause(error)}", hint="check name, network and proxy between this host and the git server"
            ) from None

    def _pool(self, address: str, trust: Trust) -> urllib3.PoolManager:
        proxy = _proxy_for(address)
        with self._lock:
            if (proxy, trust) not in self._pools:
                self._pools[proxy, trust] = _pool(proxy, trust)
            return self._pools[proxy, trust]


def basic(username: str, password: str) -> dict[str, str]:
    """Return the header of a login by name and password."""
    return dict(urllib3.make_headers(basic_auth=f"{username}:{password}"))


def content_of(response: Response, longest: int) -> bytes | None:
    """Return the body, or None where it has more than *longest* bytes; no more than that is read."""
    received = bytearray()
    for piece in response.stream(1 << 16):
        received += piece
        if len(received) > longest:
            return None
    return bytes(received)


def rest_of(headers: Mapping[str, str]) -> float | None:
    """Return for how many seconds the server wants to be left alone, by Retry-After; None where it does not say."""
    text = headers.get("retry-after", "").strip()
    return min(float(text), LONGEST_REST) if text.isascii() and text.isdigit() and len(text) < 10 else None


def is_limited(headers: Mapping[str, str]) -> bool:
    """Whether a refusal is about how often we ask, and not about who we are."""
    return headers.get("x-ratelimit-remaining") == "0" or "retry-after" in headers


_patience = threading.local()
"""`stop`: the token that breaks off the request of this thread."""


class _Patient:
    """Waits for the first byte of an answer in slices, so that an agent that stops waits for no server."""

    sock: Any
    host: str

    def getresponse(self) -> Any:
        """Return the answer. Raises `GitUnavailable` when none comes, or when the agent stops."""
        poll, sock = select.poll(), self.sock
        poll.register(sock, select.POLLIN)
        end, stop = time.monotonic() + READ_SECONDS, getattr(_patience, "stop", None)
        while not poll.poll(_SLICE_SECONDS * 1000):
            if stop is not None and stop.is_set:
                raise GitUnavailable("the look at a git server was interrupted: the agent is stopping")
            if time.monotonic() >= end:
                raise GitUnavailable(
                    f"{self.host}: no answer within {READ_SECONDS:g} seconds",
                    hint="check the network between this host and the git server",
                )
        return super().getresponse()  # type: ignore[misc]


class _Connection(_Patient, urllib3.connection.HTTPConnection):
    pass


class _SecureConnection(_Patient, urllib3.connection.HTTPSConnection):
    pass


class _Pool(urllib3.HTTPConnectionPool):
    ConnectionCls = _Connection


class _SecurePool(urllib3.HTTPSConnectionPool):
    ConnectionCls = _SecureConnection


def _pool(proxy: str, trust: Trust) -> urllib3.PoolManager:
    context = ssl.create_default_context()
    ca_file = trust.ca_file or Path(os.environ.get("GIT_SSL_CAINFO") or "/nonexistent")  # as git sees it
    if ca_file.is_file():
        context.load_verify_locations(cafile=ca_file)
    if trust.insecure:
        urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)  # the project says so, once and for all
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    options = {
        "num_pools": _HOSTS,
        "maxsize": _CONNECTIONS_PER_HOST,
        "timeout": urllib3.Timeout(connect=CONNECT_SECONDS, read=READ_SECONDS),
        "ssl_context": context,
    }
    user, password = urlsplit(proxy).username, urlsplit(proxy).password
    login = urllib3.make_headers(proxy_basic_auth=f"{user}:{password or ''}") if user else None
    manager = (
        urllib3.ProxyManager(proxy, proxy_headers=login, **options)  # type: ignore[arg-type]
        if proxy
        else urllib3.PoolManager(**options)  # type: ignore[arg-type]
    )
    manager.pool_classes_by_scheme = {"http": _Pool, "https": _SecurePool}
    return manager


def _proxy_for(address: str) -> str:
    """Return the proxy that the environment names for this server, as git would see it; empty for none."""
    parts = urlsplit(address)
    host = parts.hostname or ""
    if urllib.request.proxy_bypass(f"{host}:{parts.port}" if parts.port else host):
        return ""
    return urllib.request.getproxies().get(parts.scheme, "")


def _cause(error: Exception) -> str:
    """Return urllib3's own reason without the object that it names ahead of it."""
    text = str(getattr(error, "reason", None) or error)
    return _OBJECT.sub("", text.rpartition(">: ")[2])[:300]
