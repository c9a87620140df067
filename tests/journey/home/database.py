"""Database: a server on a network that only this host reaches, which answers one question a connection."""

from __future__ import annotations

import ipaddress
import json
import socketserver
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tests.images import docker

ROWS = {"total": "42"}
_MOST = 8192


class Database(socketserver.ThreadingTCPServer):
    """Answers `select COLUMN` with the column's value, or with `ERROR: ...`; then it hangs up.

    A question may be preceded by a line with a login; *knows* says who that is. `asked` holds both of each question.
    """

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, address: str, knows: Callable[[str], str]) -> None:
        super().__init__((address, 0), _Handler)
        self.knows = knows
        self.asked: list[tuple[str, str]] = []

    @property
    def host(self) -> str:
        """Its address on the private network."""
        return str(self.server_address[0])

    @property
    def port(self) -> int:
        """Its port."""
        return int(self.server_address[1])


class _Handler(socketserver.StreamRequestHandler):
    server: Database

    def handle(self) -> None:
        lines = [line.decode(errors="replace").strip() for line in iter(lambda: self.rfile.readline(_MOST), b"")]
        if not lines:  # somebody looked whether there is a server
            return
        *login, question = lines
        self.server.asked.append((self.server.knows(login[0]) if login else "", question))
        column = question.removeprefix("select ")
        answer = ROWS.get(column, f'ERROR: column "{column}" does not exist')
        self.wfile.write(f"{answer}\n".encode())


@contextmanager
def database(knows: Callable[[str], str]) -> Iterator[Database]:
    """Run one, on a network of its own, for the time of the block."""
    name = f"buildspecd-test-{uuid.uuid4().hex[:12]}"
    docker("network", "create", name)
    try:
        (setting,) = json.loads(docker("network", "inspect", "--format", "{{json .IPAM.Config}}", name))
        assert ipaddress.ip_address(setting["Gateway"]).is_private
        with Database(setting["Gateway"], knows) as server:
            thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
            thread.start()
            yield server
            server.shutdown()
            thread.join()
    finally:
        docker("network", "rm", name)
