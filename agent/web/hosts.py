"""Hosts: which `Host` headers are meant for us. Refusing the others keeps web pages out (DNS rebinding). Pure."""

from __future__ import annotations

import ipaddress
import re

_HOST = re.compile(r"(?P<name>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9_.\-]+)(:\d{1,5})?")


def host_allowed(header: str | None, listen: str, reached: str) -> bool:
    """Whether a `Host` header names this host: a loopback name, what we listen on, or the address that was reached."""
    match = _HOST.fullmatch(header or "")
    if match is None:
        return False
    name = match["name"].strip("[]").lower().rstrip(".")
    if name == "localhost" or name == listen.lower():
        return True
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        return False
    return address.is_loopback or str(address) == reached
