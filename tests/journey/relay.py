"""Relay: carries connections from one address to another, and can be started late, cut and started again."""

from __future__ import annotations

import contextlib
import socket
import threading
from pathlib import Path

Address = str | tuple[str, int]
"""Path of a Unix socket, or host and port."""


class Relay:
    """Listens on *front* while it is up, and carries what comes to *back*. Nobody listens before `up`."""

    def __init__(self, front: Address, back: Address) -> None:
        self.front = front
        self._back = back
        self._listener: socket.socket | None = None
        self._open: list[socket.socket] = []
        self._lock = threading.Lock()

    def __enter__(self) -> Relay:
        return self

    def __exit__(self, *_: object) -> None:
        self.down()

    def up(self) -> None:
        """Begin to listen."""
        listener = _socket(self.front)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if isinstance(self.front, str):
            Path(self.front).unlink(missing_ok=True)
        listener.bind(self.front)
        listener.listen(64)
        self._listener = listener
        threading.Thread(target=self._accept, args=(listener,), daemon=True).start()

    def down(self) -> None:
        """Cut every connection, and listen no more."""
        with self._lock:
            listener, self._listener = self._listener, None
            cut, self._open = self._open, []
        for one in (*cut, *([listener] if listener else [])):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()
        if isinstance(self.front, str):
            Path(self.front).unlink(missing_ok=True)

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                front, _ = listener.accept()
            except OSError:
                return
            back = _socket(self._back)
            try:
                back.connect(self._back)
            except OSError:
                front.close()
                back.close()
                continue
            with self._lock:
                self._open += [front, back]
            for pair in ((front, back), (back, front)):
                threading.Thread(target=_carry, args=pair, daemon=True).start()


def _socket(address: Address) -> socket.socket:
    return socket.socket(socket.AF_UNIX if isinstance(address, str) else socket.AF_INET)


def _carry(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while piece := source.recv(1 << 16):
            target.sendall(piece)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_WR)
