"""Inside: which hosts are this machine's own or lie in networks that nobody outside sees.

A repository's `.gitmodules` is written by whoever may push to it. The agent's git, which fetches from this host, must
not ask the metadata service of the cloud, this host's own services or an internal server on its behalf.
"""

from __future__ import annotations

import ipaddress
import socket
from enum import IntEnum

from agent.errors import SourceRefused
from agent.source.url import GitUrl

_HINT = (
    "correct .gitmodules; or leave fetchSubmodules off and run `git submodule update` in the build, "
    "which asks with the network of the build"
)

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class Reach(IntEnum):
    """From where a host can be reached; the greater, the fewer."""

    EVERYWHERE = 0
    NETWORK = 1
    """A private network."""
    MACHINE = 2
    """This machine or its link: loopback, and the metadata service of a cloud."""


def refuse_inside(submodule: GitUrl, parent: GitUrl) -> None:
    """Raise `SourceRefused` for a submodule at a host that its parent's host cannot vouch for.

    That is one on this machine's own addresses, or in a private network while the parent's is not, as their names
    resolve here and now. The parent's own host is always taken.
    """
    if submodule.is_local or submodule.host == parent.host:
        return
    reach = reach_of(submodule.host)
    if reach is Reach.EVERYWHERE:
        return
    if reach is Reach.NETWORK and (parent.is_local or reach_of(parent.host) >= reach):
        return
    what = "this machine or its metadata service" if reach is Reach.MACHINE else "a private network"
    raise SourceRefused(
        f"submodule {submodule.text} lies on an internal host ({what}), its parent {parent.text} does not", hint=_HINT
    )


def reach_of(host: str) -> Reach:
    """Return the narrowest reach of the addresses of *host*; EVERYWHERE where its name says nothing here."""
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return Reach.EVERYWHERE  # a proxy may know it; git says what is wrong with it
    return max((_reach(str(place[0])) for *_, place in found), default=Reach.EVERYWHERE)


def _reach(text: str) -> Reach:
    address: _Address = ipaddress.ip_address(text.partition("%")[0])
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    if address.is_loopback or address.is_link_local or address.is_unspecified or address.is_multicast:
        return Reach.MACHINE
    if address == _METADATA_V6:
        return Reach.MACHINE
    return Reach.EVERYWHERE if address.is_global else Reach.NETWORK


_METADATA_V6 = ipaddress.IPv6Address("fd00:ec2::254")
