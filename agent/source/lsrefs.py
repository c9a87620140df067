"""LsRefs: asks a git server for its refs over HTTP without a process; the one door to urllib3.

A process a look costs some ten milliseconds of a processor, a request over a connection that is open already about
one: with a thousand repositories that decides. It speaks git's protocol v2 (gitprotocol-v2, command `ls-refs`), and
leaves every server that does not, every redirect and all that is odd to `git ls-remote`.
"""

from __future__ import annotations

import select
import ssl
import threading
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import urllib3

from agent.errors import GitUnavailable
from agent.kit.clock import Clock, SystemClock
from agent.kit.service import StopToken
from agent.source.credentials import Remote
from agent.source.failures import explain

CONNECT_SECONDS = 10.0
READ_SECONDS = 15.0
"""Longest silence of a server that has been asked; a big repository takes a second or two."""
LONGEST_ANSWER = 64 << 20
"""Bytes of an answer that are read; about a million refs."""
OLD_SERVER_SECONDS = 3600.0
"""How long a server that does not speak v2 is left to git before it is tried again."""
LONGEST_REST = 3600.0
"""Seconds for which a server that asks for a rest gets it at most."""

_CONNECTIONS_PER_HOST = 8
_HOSTS = 64
_FLUSH, _DELIMITER = b"0000", b"0001"
_REQUEST = {
    "Git-Protocol": "version=2",
    "Content-Type": "application/x-git-upload-pack-request",
    "Accept": "application/x-git-upload-pack-result",
    "User-Agent": "git/2.40 (buildspecd)",  # some hosts answer programs that are not git with a web page
}
_RESULT = "application/x-git-upload-pack-result"


_SLICE_SECONDS = 0.25


class NotSpoken(Exception):
    """This server, or its answer, is nothing for us: ask git itself."""


@dataclass(frozen=True)
class Refs:
    """What a server told: full ref name -> object id, HEAD's object id and the branch that HEAD names."""

    refs: dict[str, str] = field(default_factory=dict)
    head: str | None = None
    default: str | None = None


class LsRefs:
    """Asks servers, over connections that it keeps. Safe to share between threads."""

    def __init__(self, clock: Clock | None = None, *, ca_file: str | None = None) -> None:
        self._clock = clock or SystemClock()
        self._ca_file = ca_file
        self._lock = threading.Lock()
        self._pools: dict[tuple[str, bool], urllib3.PoolManager] = {}
        self._left_to_git: dict[tuple[object, ...], float] = {}

    def ask(self, remote: Remote, names: Sequence[str], stop: StopToken | None = None) -> Refs:
        """Return HEAD and the refs whose names begin with one of *names* (full, or with `*` at the end).

        Raises `NotSpoken`, `SourceNotFound`, `SourceRefused` and `GitUnavailable`, the latter with `retry_after` where
        the server said how long it wants to be left alone.
        """
        if remote.url.scheme not in ("http", "https") or self._is_left_to_git(remote):
            raise NotSpoken
        _patience.stop = stop
        answer = self._post(remote, _question(names))
        try:
            return _read(answer)
        except NotSpoken:
            with self._lock:
                self._left_to_git[remote.url.origin] = self._clock.monotonic() + OLD_SERVER_SECONDS
            raise

    def _is_left_to_git(self, remote: Remote) -> bool:
        with self._lock:
            until = self._left_to_git.get(remote.url.origin)
        return until is not None and self._clock.monotonic() < until

    def _post(self, remote: Remote, body: bytes) -> bytes:
        place = remote.url.text
        headers = dict(_REQUEST)
        if remote.credential is not None:
            login = f"{remote.credential.username}:{remote.credential.password.reveal()}"
            headers |= urllib3.make_headers(basic_auth=login)
        try:
            with self._pool(remote).request(
                "POST",
                f"{place.rstrip('/')}/git-upload-pack",
                body=body,
                headers=headers,
                redirect=False,
                retries=urllib3.Retry(connect=0, read=0, redirect=0, status=0, other=0),
                preload_content=False,
            ) as response:
                self._judge(place, response)
                return _content(response, place)
        except urllib3.exceptions.SSLError as error:
            raise explain(f"SSL certificate problem: {error}", place) from None
        except (urllib3.exceptions.MaxRetryError, urllib3.exceptions.HTTPError) as error:
            if isinstance(getattr(error, "reason", None), urllib3.exceptions.SSLError):
                raise explain(f"SSL certificate problem: {error.reason}", place) from None  # type: ignore[attr-defined]
            raise GitUnavailable(
                f"{place}: {_cause(error)}", hint="check name, network and proxy between this host and the git server"
            ) from None

    def _judge(self, place: str, response: urllib3.BaseHTTPResponse) -> None:
        status = response.status
        if status == 200:
            if response.headers.get("content-type") != _RESULT:
                raise NotSpoken
            return
        if status in (401, 403, 404, 410) or status == 429 or status >= 500:
            error = explain(f"The requested URL returned error: {status}", place)
            if isinstance(error, GitUnavailable):
                error.retry_after = _rest(response.headers)
            elif status == 403 and _is_limited(response.headers):
                error = GitUnavailable(f"{place}: the server limits our rate", hint="it is left alone for a while")
                error.retry_after = _rest(response.headers)
            raise error
        raise NotSpoken

    def _pool(self, remote: Remote) -> urllib3.PoolManager:
        proxy = _proxy_for(remote)
        key = (proxy, remote.insecure_ssl)
        with self._lock:
            if key not in self._pools:
                self._pools[key] = _pool(proxy, insecure=remote.insecure_ssl, ca_file=self._ca_file)
            return self._pools[key]


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


def _pool(proxy: str, *, insecure: bool, ca_file: str | None) -> urllib3.PoolManager:
    context = ssl.create_default_context(cafile=ca_file)
    if insecure:
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


def _proxy_for(remote: Remote) -> str:
    """Return the proxy that the environment names for this server, as git would see it; empty for none."""
    if urllib.request.proxy_bypass(f"{remote.url.host}:{remote.url.port}" if remote.url.port else remote.url.host):
        return ""
    return urllib.request.getproxies().get(remote.url.scheme, "")


def _content(response: urllib3.BaseHTTPResponse, place: str) -> bytes:
    received = bytearray()
    for piece in response.stream(1 << 16):
        received += piece
        if len(received) > LONGEST_ANSWER:
            raise GitUnavailable(f"{place}: the list of refs is longer than {LONGEST_ANSWER >> 20} MB")
    return bytes(received)


def _cause(error: Exception) -> str:
    """Return urllib3's own reason without the addresses of objects that it wraps it in."""
    reason = getattr(error, "reason", None) or error
    text = str(reason)
    return (text.rpartition(">: ")[2] or text)[:300]


def _rest(headers: Mapping[str, str]) -> float | None:
    """Return for how many seconds the server wants to be left alone, by Retry-After; None where it does not say."""
    text = headers.get("retry-after", "").strip()
    return min(float(text), LONGEST_REST) if text.isascii() and text.isdigit() and len(text) < 10 else None


def _is_limited(headers: Mapping[str, str]) -> bool:
    return headers.get("x-ratelimit-remaining") == "0" or "retry-after" in headers


# --------------------------------------------------------------------------------------------------- the protocol


def _question(names: Sequence[str]) -> bytes:
    arguments = [b"symrefs", b"ref-prefix HEAD"]
    arguments += [b"ref-prefix " + name.removesuffix("*").encode("utf-8", "surrogateescape") for name in names]
    return b"".join(
        (
            _line(b"command=ls-refs"),
            _line(b"object-format=sha1"),
            _DELIMITER,
            *(_line(argument) for argument in arguments),
            _FLUSH,
        )
    )


def _line(content: bytes) -> bytes:
    return f"{len(content) + 5:04x}".encode() + content + b"\n"


def _read(answer: bytes) -> Refs:
    """Take an answer apart. Raises `NotSpoken` for one that is not of protocol v2."""
    refs: dict[str, str] = {}
    head = default = None
    for line in _lines(answer):
        oid, _, rest = line.partition(b" ")
        name, *attributes = rest.split(b" ")
        if len(oid) != 40 or not name:
            raise NotSpoken
        if name == b"HEAD":
            head = oid.decode("ascii", "replace")
            default = _target(attributes)
        else:
            refs[name.decode("utf-8", "surrogateescape")] = oid.decode("ascii", "replace")
    return Refs(refs, head, default)


def _target(attributes: Sequence[bytes]) -> str | None:
    for attribute in attributes:
        if attribute.startswith(b"symref-target:"):
            return attribute.removeprefix(b"symref-target:").decode("utf-8", "surrogateescape")
    return None


def _lines(answer: bytes) -> Iterator[bytes]:
    """Return the lines of an answer that ends with a flush packet. Raises `NotSpoken`."""
    at = 0
    while True:
        try:
            length = int(answer[at : at + 4], 16)
        except ValueError:
            raise NotSpoken from None
        if length == 0 and len(answer) == at + 4:
            return
        if length < 5 or at + length > len(answer):
            raise NotSpoken
        yield answer[at + 4 : at + length].rstrip(b"\n")
        at += length
