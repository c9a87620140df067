"""Cutting: a server's answers come through, until the connection is cut or bytes in it are changed."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from urllib.parse import urlsplit


@dataclass
class Cutting:
    """Cuts the first *times* connections that carry more than *after* bytes of answers; with *instead* it goes on
    behind that many changed bytes. `cut` counts them."""

    back: tuple[str, int]
    after: int
    times: int
    instead: bytes = b""
    cut: int = 0
    _listener: socket.socket = field(default_factory=socket.socket)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def url(self) -> str:
        """Where it listens."""
        host, port = self._listener.getsockname()
        return f"http://{host}:{port}"

    def open(self) -> None:
        """Begin to listen."""
        self._listener.bind(("127.0.0.1", 0))
        self._listener.listen(64)
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Listen no more."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                front, _ = self._listener.accept()
                back = socket.create_connection(self.back)
                threading.Thread(target=self._carry, args=(front, back), daemon=True).start()
                threading.Thread(target=self._bring, args=(back, front), daemon=True).start()

    def _carry(self, source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while piece := source.recv(1 << 16):
                target.sendall(piece)
        with contextlib.suppress(OSError):
            target.shutdown(socket.SHUT_WR)

    def _bring(self, source: socket.socket, target: socket.socket) -> None:
        carried = 0
        with contextlib.suppress(OSError):
            while piece := source.recv(1 << 16):
                before, carried = carried, carried + len(piece)
                if before <= self.after < carried and self._may_cut():
                    at = self.after - before
                    if not self.instead:
                        target.sendall(piece[:at])
                        break
                    piece = piece[:at] + self.instead + piece[at + len(self.instead) :]
                target.sendall(piece)
        for one in (source, target):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()

    def _may_cut(self) -> bool:
        with self._lock:
            if self.cut >= self.times:
                return False
            self.cut += 1
            return True


@contextlib.contextmanager
def cutting(url: str, *, after: int, times: int, instead: bytes = b"") -> Iterator[Cutting]:
    """Stand before the server at *url* for the time of the block."""
    parts = urlsplit(url)
    relay = Cutting((parts.hostname or "", parts.port or 80), after, times, instead)
    relay.open()
    try:
        yield relay
    finally:
        relay.close()
