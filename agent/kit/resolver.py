"""Resolver: addresses of a name, asked of the name servers of a resolv.conf that is not this process's own.

The library's resolver knows one resolv.conf, this process's, and does not say whom it asked. This one asks for A and
AAAA over UDP, as RFC 1035 has it, and no more than that.
"""

from __future__ import annotations

import re
import secrets
import select
import socket
import struct
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from ipaddress import ip_address

OpenSocket = Callable[[int, int], socket.socket]
"""Makes a socket of a family and a type; it belongs to the network that is looked from."""

_A, _AAAA, _IN = 1, 28, 1
_PORT = 53
_LONGEST = 4096
_MOST_SERVERS = 3
_MOST_ADDRESSES = 16
_PATIENCE_SECONDS = 2.0
_NO_NAME = 3
_CODES = {1: "FORMERR", 2: "SERVFAIL", 4: "NOTIMP", 5: "REFUSED"}
_HEAD = struct.Struct(">HHHHHH")
_ZONE = re.compile(r"[A-Za-z0-9_.-]*")
_RECORD = struct.Struct(">HHIH")


class Nameless(Exception):
    """No address was found; says who was asked, and what came of it."""


@dataclass(frozen=True)
class NameService:
    """What /etc/resolv.conf and /etc/hosts say."""

    servers: tuple[str, ...]
    search: tuple[str, ...] = ()
    ndots: int = 1
    hosts: tuple[tuple[str, str], ...] = ()
    """Pairs of a name and its address."""

    @property
    def asked(self) -> str:
        """Whom this asks, in words."""
        return " and ".join(self.servers) or "no name server"


def read(resolv_conf: str, hosts: str) -> NameService:
    """Return what the two files say; lines that make no sense are passed over. Pure."""
    servers: list[str] = []
    search: tuple[str, ...] = ()
    ndots = 1
    for words in _lines(resolv_conf):
        if words[0] == "nameserver" and len(words) > 1 and is_address(words[1]):
            servers.append(words[1])
        elif words[0] in ("search", "domain"):
            search = tuple(word.rstrip(".") for word in words[1:])
        elif words[0] == "options":
            given = [word[6:] for word in words if word.startswith("ndots:") and word[6:].isdecimal()]
            ndots = min(int(given[-1]), 15) if given else ndots
    pairs = [(name.lower(), words[0]) for words in _lines(hosts) if is_address(words[0]) for name in words[1:]]
    return NameService(tuple(servers[:_MOST_SERVERS]), search, ndots, tuple(pairs))


def resolve(name: str, service: NameService, open_socket: OpenSocket, until: float) -> list[str]:
    """Return the addresses of *name*, IPv4 first; *until* is a time of `time.monotonic`. Raises `Nameless`."""
    if is_address(name):
        return [name]
    lower = name.lower().rstrip(".")
    if known := [address for known, address in service.hosts if known == lower]:
        return list(dict.fromkeys(known))
    said = "no name server is set"
    for full in _candidates(name, service):
        question = _questions(full)
        for server in service.servers:
            found, said = _ask(server, question, open_socket, until)
            if found:
                return found[:_MOST_ADDRESSES]
            if time.monotonic() >= until:
                raise Nameless(said)
            if found is not None:
                break  # it knows that there is nothing: another one would say the same
    raise Nameless(said)


def _lines(text: str) -> Iterator[list[str]]:
    for line in text.splitlines():
        if words := line.partition("#")[0].partition(";")[0].split():
            yield words


def is_address(text: str) -> bool:
    """Whether *text* is an IP address; a zone may follow a `%`. Pure."""
    address, _, zone = text.partition("%")
    try:
        ip_address(address)
    except ValueError:
        return False
    return _ZONE.fullmatch(zone) is not None


def _candidates(name: str, service: NameService) -> list[str]:
    if name.endswith("."):
        return [name.rstrip(".")]
    longer = [f"{name}.{domain}" for domain in service.search if domain]
    return [name, *longer] if name.count(".") >= service.ndots else [*longer, name]


def _questions(name: str) -> dict[int, tuple[int, bytes]]:
    """Return by query id the type and the whole message of both questions. Raises `Nameless` for what is no name."""
    try:
        labels = [label.encode("ascii") if label.isascii() else label.encode("idna") for label in name.split(".")]
    except UnicodeError:
        labels = [b""]
    if any(not 0 < len(label) < 64 for label in labels) or len(name) > 253:
        raise Nameless(f"{name!r} is no name of a host")
    wire = b"".join(bytes([len(label)]) + label for label in labels) + b"\0"
    first = secrets.randbelow(0xFFFF)
    return {
        number: (kind, _HEAD.pack(number, 0x0100, 1, 0, 0, 0) + wire + struct.pack(">HH", kind, _IN))
        for number, kind in ((first, _A), (first + 1, _AAAA))
    }


def _ask(
    server: str, questions: dict[int, tuple[int, bytes]], open_socket: OpenSocket, until: float
) -> tuple[list[str] | None, str]:
    """Return the addresses that *server* tells, empty where it says that there are none, None where it says nothing of
    use; and in words what it said."""
    family = socket.AF_INET6 if ":" in server else socket.AF_INET
    waiting, said = dict(questions), f"{server} says that it has no address"
    told: dict[int, list[str]] = {_A: [], _AAAA: []}
    until = min(until, time.monotonic() + _PATIENCE_SECONDS)
    with open_socket(family, socket.SOCK_DGRAM) as line:
        try:
            line.connect((server, _PORT))
            watch = select.poll()
            watch.register(line, select.POLLIN)
            for _, message in questions.values():
                line.send(message)
            while waiting and (left := until - time.monotonic()) > 0:
                if not watch.poll(max(1.0, left * 1000)):
                    break
                answer = line.recv(_LONGEST)
                number = int.from_bytes(answer[:2], "big")
                if number not in waiting or answer[12 : len(waiting[number][1])] != waiting[number][1][12:]:
                    continue
                kind, _ = waiting.pop(number)
                code = answer[3] & 15
                if code == _NO_NAME:
                    return [], f"{server} says that there is no such name"
                if code:
                    return None, f"{server} cannot tell ({_CODES.get(code, f'code {code}')})"
                told[kind] = list(_addresses(answer, len(questions[number][1]), kind))
                if told[_A] and kind == _A and _AAAA in {one for one, _ in waiting.values()}:
                    until = min(until, time.monotonic() + 0.05)  # the other one is welcome, and not waited for
        except OSError as error:
            return None, f"{server} cannot be asked: {error.strerror or error}"
    found = [*told[_A], *told[_AAAA]]
    if not found and waiting:
        return None, f"{server} does not answer"
    return found, said


def _addresses(answer: bytes, start: int, kind: int) -> Iterator[str]:
    """Yield the addresses among the answers of a message; one that is damaged ends where it is."""
    at, size = start, 4 if kind == _A else 16
    for _ in range(int.from_bytes(answer[6:8], "big")):
        while at < len(answer) and 0 < answer[at] < 0xC0:
            at += 1 + answer[at]
        at += 2 if at < len(answer) and answer[at] >= 0xC0 else 1
        if at + _RECORD.size > len(answer):
            return
        found, kept, _, length = _RECORD.unpack_from(answer, at)
        data = answer[at + _RECORD.size : at + _RECORD.size + length]
        at += _RECORD.size + length
        if (found, kept, len(data)) == (kind, _IN, size):
            yield str(ip_address(data))
