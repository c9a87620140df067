"""ConsoleSink: the log on a stream, live; what `buildspecd run` prints."""

from __future__ import annotations

from typing import BinaryIO

from agent.buildlog.sink import Ledger, Pace, Stretch

PIECE_BYTES = 1 << 18


class ConsoleSink:
    """Writes to a binary stream such as `sys.stdout.buffer`. A reader that has gone away (`| head`) ends nothing."""

    name = "console"
    pace = Pace()

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._open = True

    def deliver(self, stretch: Stretch, ledger: Ledger) -> int:
        """Write the stretch piece by piece, and flush it."""
        piece = stretch.read(PIECE_BYTES)
        if self._open:
            try:
                self._stream.write(piece)
                self._stream.flush()
            except (BrokenPipeError, ValueError):  # ValueError: the stream was closed
                self._open = False
        return stretch.start + len(piece)
