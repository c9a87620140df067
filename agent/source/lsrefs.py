"""LsRefs: asks a git server for its refs over HTTP without a process.

A process a look costs some ten milliseconds of a processor, a request over a connection that is open already about
one: with a thousand repositories that decides. It speaks git's protocol v2 (gitprotocol-v2, command `ls-refs`), and
leaves every server that does not, every redirect and all that is odd to `git ls-remote`.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from agent.errors import GitUnavailable
from agent.kit.clock import Clock, SystemClock
from agent.kit.service import StopToken
from agent.source.connections import Connections, Response, Trust, basic, content_of, is_limited, rest_of
from agent.source.credentials import Remote
from agent.source.failures import explain

LONGEST_ANSWER = 64 << 20
"""Bytes of an answer that are read; about a million refs."""
OLD_SERVER_SECONDS = 3600.0
"""How long a server that does not speak v2 is left to git before it is tried again."""

_FLUSH, _DELIMITER = b"0000", b"0001"
_REQUEST = {
    "Git-Protocol": "version=2",
    "Content-Type": "application/x-git-upload-pack-request",
    "Accept": "application/x-git-upload-pack-result",
    "User-Agent": "git/2.40 (buildspecd)",  # some hosts answer programs that are not git with a web page
}
_RESULT = "application/x-git-upload-pack-result"


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

    def __init__(self, clock: Clock | None = None, connections: Connections | None = None) -> None:
        self._clock = clock or SystemClock()
        self._connections = connections or Connections()
        self._lock = threading.Lock()
        self._left_to_git: dict[tuple[object, ...], float] = {}

    def ask(self, remote: Remote, names: Sequence[str], stop: StopToken | None = None) -> Refs:
        """Return HEAD and the refs whose names begin with one of *names* (full, or with `*` at the end).

        Raises `NotSpoken`, `SourceNotFound`, `SourceRefused` and `GitUnavailable`, the latter with `retry_after` where
        the server said how long it wants to be left alone.
        """
        if remote.url.scheme not in ("http", "https") or self._is_left_to_git(remote):
            raise NotSpoken
        answer = self._post(remote, _question(names), stop)
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

    def _post(self, remote: Remote, body: bytes, stop: StopToken | None) -> bytes:
        place = remote.url.text
        headers = dict(_REQUEST)
        if remote.credential is not None:
            headers |= basic(remote.credential.username, remote.credential.password.reveal())
        address = f"{place.rstrip('/')}/git-upload-pack"
        trust = Trust(remote.insecure_ssl, remote.ca_file)
        with self._connections.asked(
            "POST", address, headers=headers, body=body, trust=trust, stop=stop, place=place
        ) as response:
            _judge(place, response)
            content = content_of(response, LONGEST_ANSWER)
        if content is None:
            raise GitUnavailable(f"{place}: the list of refs is longer than {LONGEST_ANSWER >> 20} MB")
        return content


def _judge(place: str, response: Response) -> None:
    status = response.status
    if status == 200:
        if response.headers.get("content-type") != _RESULT:
            raise NotSpoken
        return
    if status in (401, 403, 404, 410) or status == 429 or status >= 500:
        error = explain(f"The requested URL returned error: {status}", place)
        if isinstance(error, GitUnavailable):
            error.retry_after = rest_of(response.headers)
        elif status == 403 and is_limited(response.headers):
            error = GitUnavailable(f"{place}: the server limits our rate", hint="it is left alone for a while")
            error.retry_after = rest_of(response.headers)
        raise error
    raise NotSpoken


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
