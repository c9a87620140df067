"""The control socket in the file system: listening on it, and reaching it. Standard library only."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from agent.errors import BuildspecdError, StateDirBusy

_LONGEST = 100
"""Bytes of a path that surely fit `sockaddr_un` (108, of which our temporary name needs a few)."""
_MODE = 0o660


def listen(path: Path, backlog: int = 64) -> socket.socket:
    """Return a socket that listens on *path*, for its owner and group alone.

    The name appears when the socket is ready and has its mode; a stale one is replaced. Raises `StateDirBusy`
    where another process answers on it, `BuildspecdError` where the directory cannot be written.
    """
    if _answers(path):
        raise StateDirBusy(
            f"another buildspecd already answers on {path}", hint="stop it first: systemctl stop buildspecd"
        )
    aside = path.with_name(f".{os.getpid()}.sock")
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        aside.unlink(missing_ok=True)
        with _short(aside) as address:
            listener.bind(address)
            Path(address).chmod(_MODE)
        listener.listen(backlog)
        aside.replace(path)
    except OSError as error:
        listener.close()
        aside.unlink(missing_ok=True)
        raise BuildspecdError(
            f"cannot create the control socket {path}: {error.strerror}",
            hint=f"the user of the daemon needs to write in {path.parent}",
        ) from error
    return listener


def connect(path: Path, timeout: float | None = None) -> socket.socket:
    """Return a socket connected to *path*; *timeout* in seconds. Raises `OSError` where nobody listens."""
    channel = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    channel.settimeout(timeout)
    try:
        with _short(path) as address:
            channel.connect(address)
    except OSError:
        channel.close()
        raise
    return channel


def _answers(path: Path) -> bool:
    try:
        connect(path, timeout=2).close()
    except (ConnectionRefusedError, FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        # A full backlog, a time-out, no permission: somebody is there.
        return True
    return True


@contextmanager
def _short(path: Path) -> Iterator[str]:
    """Yield an address for *path* that fits a socket address, by way of its open directory if need be."""
    if len(os.fsencode(path)) <= _LONGEST:
        yield str(path)
        return
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{directory}/{path.name}"
    finally:
        os.close(directory)
