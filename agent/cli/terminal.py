"""Terminal: the user's own, handed over to a session raw, and given back as it was whatever happens."""

from __future__ import annotations

import contextlib
import os
import signal
import termios
import tty
from collections.abc import Iterator
from types import FrameType

from agent.cli.signals import handled
from agent.container.session import Ends

_ENDING = (signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)


class Ended(Exception):
    """A signal told us to end."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.exit_code = 128 + number


@contextlib.contextmanager
def joined() -> Iterator[Ends]:
    """Yield this process's streams; a terminal as standard input and output is raw inside the block.

    A signal that ends the process raises `Ended` in the block. Call it on the main thread.
    """
    plain = Ends(0, 1, 2)
    if not (os.isatty(plain.stdin) and os.isatty(plain.stdout)):
        with _ending():
            yield plain
        return
    reader, writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    former = termios.tcgetattr(plain.stdin)
    former_handler = signal.signal(signal.SIGWINCH, lambda *_: _told(writer))
    try:
        with _ending():
            try:
                tty.setraw(plain.stdin, termios.TCSANOW)  # what was typed ahead is not lost
                yield Ends(plain.stdin, plain.stdout, plain.stderr, reader, lambda: _size(plain.stdout))
            finally:
                # TCSANOW: to drain would wait for ever for a terminal that nobody reads from.
                with contextlib.suppress(termios.error):
                    termios.tcsetattr(plain.stdin, termios.TCSANOW, former)
    finally:
        signal.signal(signal.SIGWINCH, former_handler)
        os.close(reader)
        os.close(writer)


@contextlib.contextmanager
def _ending() -> Iterator[None]:
    def handle(number: int, _frame: FrameType | None) -> None:
        for other in _ENDING:
            signal.signal(other, signal.SIG_IGN)  # once: what is being restored must not be interrupted
        raise Ended(number)

    with handled(_ENDING, handle):
        yield


def _told(writer: int) -> None:
    with contextlib.suppress(BlockingIOError):
        os.write(writer, b"w")


def _size(terminal: int) -> tuple[int, int]:
    """Return rows and columns; zeros where nobody knows."""
    try:
        size = os.get_terminal_size(terminal)
    except OSError:
        return 0, 0
    return size.lines, size.columns
