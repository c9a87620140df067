"""Dial: connects to all addresses of a host at once, and says which hop failed where none of them answers."""

from __future__ import annotations

import errno
import os
import select
import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum

from agent.kit.resolver import Nameless, OpenSocket


class Hop(Enum):
    """Where a connection fails."""

    NAME = "the name does not resolve"
    ROUTE = "no route leads there"
    REFUSED = "the connection is refused"
    SILENCE = "nobody answers"
    OTHER = "the connection fails"


@dataclass(frozen=True)
class Answer:
    """What came of one `host:port`: `address` is the one that answered, after `seconds`; else `hop` says what failed.

    `said` is in the words of who knows: a name server, the kernel. `seconds` None: nobody measured.
    """

    target: str
    address: str = ""
    seconds: float | None = None
    hop: Hop | None = None
    said: str = ""


Resolve = Callable[[str, float], Sequence[str]]
"""Returns the addresses of a name, until a time of `time.monotonic`. Raises `Nameless`."""

_ROUTELESS = frozenset({errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN, errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT})
_GRAVITY = (Hop.REFUSED, Hop.SILENCE, Hop.OTHER, Hop.ROUTE)
"""Of several addresses the one that came furthest says which hop it is: without IPv6 its addresses have no route."""


def hop_of(number: int) -> Hop:
    """Return which hop an error number of `connect` tells of. Pure."""
    if number in _ROUTELESS:
        return Hop.ROUTE
    if number == errno.ECONNREFUSED:
        return Hop.REFUSED
    return Hop.SILENCE if number == errno.ETIMEDOUT else Hop.OTHER


def split(target: str) -> tuple[str, int] | None:
    """Return host and port of `host:port` or `[address]:port`; None where it is neither. Pure."""
    host, _, port = target.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    return (host, int(port)) if host and port.isdecimal() and port.isascii() and 0 < int(port) < 65536 else None


def dial(target: str, resolve: Resolve, open_socket: OpenSocket, patience: float) -> Answer:
    """Connect to *target* for *patience* seconds at most, the name's own time included; nothing is sent."""
    place = split(target)
    if place is None:
        return Answer(target, hop=Hop.OTHER, said="it is not HOST:PORT")
    until = time.monotonic() + patience
    try:
        addresses = list(dict.fromkeys(resolve(place[0], until)))
    except Nameless as error:
        return Answer(target, hop=Hop.NAME, said=str(error))
    if not addresses:
        return Answer(target, hop=Hop.NAME, said="it has no address")
    return connect(target, [(address, place[1]) for address in addresses], open_socket, until, patience)


def connect(
    target: str, places: Sequence[tuple[str, int]], open_socket: OpenSocket, until: float, patience: float
) -> Answer:
    """Connect to all *places* at once; the first that answers ends it. *patience* is what a message says."""
    started = time.monotonic()
    lines: dict[int, tuple[socket.socket, str]] = {}
    failed: dict[str, tuple[Hop, str]] = {}
    watch = select.poll()
    try:
        for address, port in places:
            number = _begin(address, port, open_socket, lines, watch)
            if number == 0:
                return Answer(target, address, time.monotonic() - started)
            if number is not None:
                failed[address] = hop_of(number), os.strerror(number)
        while lines and (left := until - time.monotonic()) > 0:
            for descriptor, _ in watch.poll(max(1.0, left * 1000)):
                line, address = lines.pop(descriptor)
                watch.unregister(descriptor)
                with line:
                    number = line.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                if number == 0:
                    return Answer(target, address, time.monotonic() - started)
                failed[address] = hop_of(number), os.strerror(number)
        silent = {address: (Hop.SILENCE, f"nothing comes back within {patience:g} s") for _, address in lines.values()}
        return missed(target, {**failed, **silent})
    finally:
        for line, _ in lines.values():
            line.close()


def missed(target: str, failed: dict[str, tuple[Hop, str]]) -> Answer:
    """Return the answer of a target none of whose addresses answered. Pure."""
    hops = {hop for hop, _ in failed.values()}
    hop = next((one for one in _GRAVITY if one in hops), Hop.OTHER)
    several = [f"{address}: {words}" for address, (_, words) in failed.items()]
    said = "; ".join(several) if len(failed) > 1 else next((words for _, words in failed.values()), "")
    address = next((address for address, (one, _) in failed.items() if one is hop), "")
    return Answer(target, address, hop=hop, said=said)


def _begin(
    address: str, port: int, open_socket: OpenSocket, lines: dict[int, tuple[socket.socket, str]], watch: select.poll
) -> int | None:
    """Begin to connect; return 0 when it is done at once, an error number when it failed, None while it goes on."""
    try:
        line = open_socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM)
    except OSError as error:
        return error.errno or errno.EIO
    line.setblocking(False)
    try:
        number = line.connect_ex((address, port))
    except OSError as error:  # a scope that does not exist
        line.close()
        return error.errno or errno.EINVAL
    if number in (errno.EINPROGRESS, errno.EWOULDBLOCK):
        lines[line.fileno()] = (line, address)
        watch.register(line, select.POLLOUT)
        return None
    line.close()
    return number
