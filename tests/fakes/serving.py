"""A service that runs on a thread of its own for the length of a test."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from agent.kit.service import Service, StopToken
from agent.web import unixsocket


@contextlib.contextmanager
def running(service: Service, ready: Callable[[], bool]) -> Iterator[StopToken]:
    """Run *service* until the block ends; the block starts when *ready* is true. What it raised is raised here."""
    stop = StopToken()
    raised: list[BaseException] = []

    def run() -> None:
        try:
            service.run(stop)
        except BaseException as error:  # noqa: BLE001  # raised again by the test
            raised.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        end = time.monotonic() + 20
        while not raised and not ready() and time.monotonic() < end:
            stop.wait(0.005)
        if not raised:
            yield stop
    finally:
        stop.set()
        thread.join(timeout=20)
    if raised:
        raise raised[0]
    assert not thread.is_alive(), "the service did not end"


def socket_answers(path: Path) -> bool:
    """Whether somebody listens on a Unix socket."""
    try:
        unixsocket.connect(path, 5).close()
    except OSError:
        return False
    return True


def free_listener() -> socket.socket:
    """Return a listening TCP socket on a free port of the loopback address."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen()
    return listener
