"""Peers: which user of this host is at the other end of a Unix socket."""

from __future__ import annotations

import pwd
import socket
import struct
from typing import Any

_UNIX = "unix:"
_CREDENTIALS = struct.Struct("3i")  # struct ucred: pid, uid, gid


def user_of_peer(channel: Any) -> tuple[str, int] | None:
    """Return an ASGI `client` that names the peer's user id, None for a socket of another family."""
    if channel is None or channel.family != socket.AF_UNIX:
        return None
    pid, uid, _gid = _CREDENTIALS.unpack(channel.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size))
    return f"{_UNIX}{uid}", pid


def user_name(client: Any) -> str:
    """Return the name of the user behind an ASGI `client`, for `initiator` (service.md 4.6); `api` where unknown."""
    host = client[0] if client else ""
    if not host.startswith(_UNIX):
        return "api"
    uid = int(host.removeprefix(_UNIX))
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid-{uid}"
