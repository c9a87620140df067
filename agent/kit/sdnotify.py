"""What systemd is told about this process: ready, reloading, stopping, alive (sd_notify(3), without libsystemd).

And what it holds for it: sockets stay open while one process ends and the next starts (FDSTORE of sd_notify(3)).
"""

from __future__ import annotations

import os
import socket
import time
from array import array
from collections.abc import Mapping, MutableMapping, Sequence
from contextlib import suppress


class Notifier:
    """Sends to `NOTIFY_SOCKET`; says nothing where there is none. Safe to call from any thread, never raises."""

    def __init__(self, environ: Mapping[str, str] | None = None) -> None:
        environ = os.environ if environ is None else environ
        address = environ.get("NOTIFY_SOCKET", "")
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self.watchdog_interval = _watchdog_seconds(environ)

    def ready(self, status: str = "") -> None:
        """Start-up, or a reload, is finished."""
        self._send("READY=1", *_status(status))

    def reloading(self) -> None:
        """The settings are being read again; `ready` ends it."""
        self._send("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self, status: str = "") -> None:
        """The end has begun."""
        self._send("STOPPING=1", *_status(status))

    def status(self, text: str) -> None:
        """Show *text* in `systemctl status`."""
        self._send(*_status(text))

    def alive(self) -> None:
        """Feed the watchdog; due at least every `watchdog_interval` seconds."""
        self._send("WATCHDOG=1")

    def keep(self, name: str, held: socket.socket) -> None:
        """Have systemd hold *held*, and hand it to the next process of this service under *name* (no colon in it)."""
        self._send("FDSTORE=1", f"FDNAME={name}", descriptors=(held.fileno(),))

    def _send(self, *lines: str, descriptors: Sequence[int] = ()) -> None:
        if not self._address or not lines:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
                rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array("i", descriptors))] if descriptors else []
                channel.sendmsg(["\n".join(lines).encode()], rights, socket.MSG_DONTWAIT, self._address)
        except OSError:
            return  # systemd is gone or slow: the daemon's work does not depend on being watched


_FIRST = 3
"""The number of the first descriptor that systemd hands over."""


def handed_over(environ: MutableMapping[str, str] | None = None) -> dict[str, socket.socket]:
    """Return the sockets that systemd held for this process, by name (sd_listen_fds(3)); call it once.

    Processes that this one starts get neither the sockets nor the word of them. What is no socket is closed.
    """
    environ = os.environ if environ is None else environ
    pid, count, names = (environ.pop(name, "") for name in ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"))
    if pid != str(os.getpid()) or not count.isdecimal():
        return {}
    found: dict[str, socket.socket] = {}
    for handle, name in zip(range(_FIRST, _FIRST + int(count)), names.split(":"), strict=False):
        try:
            os.set_inheritable(handle, False)
            one = socket.socket(fileno=handle)
        except OSError:
            with suppress(OSError):
                os.close(handle)
            continue
        if name in found:
            found[name].close()
        found[name] = one
    return found


def _status(text: str) -> tuple[str, ...]:
    return (f"STATUS={' '.join(text.split())}",) if text else ()


def _watchdog_seconds(environ: Mapping[str, str]) -> float | None:
    """Return half of systemd's time-out in seconds, or None where the watchdog is off or is not for this process."""
    usec, pid = environ.get("WATCHDOG_USEC", ""), environ.get("WATCHDOG_PID", "")
    if not usec.isdecimal() or int(usec) == 0 or (pid and pid != str(os.getpid())):
        return None
    return int(usec) / 2_000_000
