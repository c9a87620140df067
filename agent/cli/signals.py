"""Signals: the first Ctrl-C (or TERM) asks to stop, the second one ends the process at once."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from types import FrameType

from agent.kit.service import StopToken

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextlib.contextmanager
def stopping_on_signals(
    stop: StopToken, notice: str = "", *, reload: Callable[[], None] | None = None
) -> Iterator[None]:
    """Inside the block a first INT, TERM or HUP sets *stop* and prints *notice*; a second exits with 128 + signal.

    With *reload*, HUP calls that instead, as often as it comes. Call it on the main thread. Signals that were ignored
    stay so (`nohup`).
    """
    reader, writer = os.pipe()
    seen: list[int] = []

    def handle(number: int, _frame: FrameType | None) -> None:
        if reload is not None and number == signal.SIGHUP:
            os.write(writer, b"r")
            return
        if seen:
            os._exit(128 + number)
        seen.append(number)
        os.write(writer, b"x")

    watcher = threading.Thread(target=_watch, args=(reader, stop, notice, reload), name="signals", daemon=True)
    watcher.start()
    try:
        with handled(_SIGNALS, handle):
            yield
    finally:
        os.close(writer)
        watcher.join(timeout=5)
        os.close(reader)


@contextlib.contextmanager
def handled(signals: Sequence[signal.Signals], handle: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    """Have *handle* called for *signals* inside the block; those that were ignored stay so. Main thread only."""
    former = {number: signal.getsignal(number) for number in signals}
    for number, handler in former.items():
        if handler is not signal.SIG_IGN:
            signal.signal(number, handle)
    try:
        yield
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)


def _watch(reader: int, stop: StopToken, notice: str, reload: Callable[[], None] | None) -> None:
    """Do what the handler heard, on a thread: a handler that took the token's lock could meet itself holding it."""
    while word := os.read(reader, 1):
        if word == b"x":
            if notice:
                os.write(2, f"{notice}\n".encode())
            stop.set()
            return
        if reload is not None:
            reload()
