"""A name server on the loopback: answers A and AAAA as it is told, or does not answer at all."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from ipaddress import ip_address

Zone = Mapping[str, Sequence[str] | int]
"""A name and its addresses, or the code with which a question for it is refused. Names that are not there: NXDOMAIN."""


def reply(question: bytes, zone: Zone) -> bytes:
    """Return the answer to one question; answers point back to the name with a compressed one, as real servers do."""
    labels, at = [], 12
    while question[at]:
        labels.append(question[at + 1 : at + 1 + question[at]].decode())
        at += 1 + question[at]
    kind = int.from_bytes(question[at + 1 : at + 3], "big")
    found = zone.get(".".join(labels).lower(), 3)
    code, addresses = (found, ()) if isinstance(found, int) else (0, found)
    version = {1: 4, 28: 6}[kind]
    wanted = [ip_address(one).packed for one in addresses if ip_address(one).version == version]
    head = question[:2] + bytes([0x81, 0x80 | code]) + b"\0\1" + len(wanted).to_bytes(2, "big") + b"\0\0\0\0"
    records = [
        b"\xc0\x0c" + kind.to_bytes(2, "big") + b"\0\1\0\0\0\x3c" + len(one).to_bytes(2, "big") + one for one in wanted
    ]
    return head + question[12 : at + 5] + b"".join(records)


@contextmanager
def name_server(zone: Zone | None, address: str) -> Iterator[None]:
    """Run one at port 53 of *address*, one of 127.0.0.0/8; with None it takes questions and says nothing."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as line:
        line.bind((address, 53))
        line.settimeout(0.1)
        over = threading.Event()

        def serve() -> None:
            while not over.is_set():
                try:
                    question, whom = line.recvfrom(4096)
                except TimeoutError:
                    continue
                if zone is not None:
                    line.sendto(b"\0" * 12, whom)  # something else that happens by
                    line.sendto(reply(question, zone), whom)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()
