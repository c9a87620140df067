"""Hooks over HTTP: which paths there are, how much of a body is read at once, and what is refused unread. Pure."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

from agent.errors import RequestInvalid, Unavailable

HOSTS = ("github", "github_enterprise", "bitbucket", "gitlab", "sns")
"""The last part of `/hooks/...`."""
BODY_LIMIT = 25 << 20
"""Bytes of a delivery; GitHub sends none that is longer."""
_SMALL = 64 << 10
_LARGE_AT_ONCE = 4
_PATIENCE = 20.0
"""Seconds that a body may take to come; hosts give up after 10."""

Receive = Callable[[str, Mapping[str, str], bytes], tuple[int, dict[str, Any]]]
"""Takes the host, the headers by name in lower case, and the body; returns status and JSON of the answer."""


def refusal(headers: Mapping[str, str]) -> tuple[int, str] | None:
    """Return status and words for a delivery that is not read at all; None for one that is.

    A browser says where the page is from that sends something, a git host never does: so no page can reach a hook.
    """
    if headers.get("origin"):
        return 403, "a web page sent this; hooks are for git hosts\n"
    length = headers.get("content-length", "0")
    if length.isascii() and length.isdigit() and int(length[:12]) > BODY_LIMIT:
        return 413, f"a delivery may be {BODY_LIMIT} bytes long at most\n"
    return None


class BodyReader:
    """Reads bodies piece by piece. Many small ones at a time, of large ones four, so that memory stays bounded."""

    def __init__(self) -> None:
        self._large = asyncio.Semaphore(_LARGE_AT_ONCE)

    async def read(self, pieces: AsyncIterator[bytes]) -> bytes:
        """Return the whole body. Raises `RequestInvalid` for one over the limit, `Unavailable` for one that stalls."""
        try:
            async with asyncio.timeout(_PATIENCE):
                return await self._read(pieces)
        except TimeoutError as error:
            raise Unavailable("the delivery did not come in time; deliver it again") from error

    async def _read(self, pieces: AsyncIterator[bytes]) -> bytes:
        received = bytearray()
        async for piece in pieces:
            received += piece
            if len(received) > _SMALL:
                async with self._large:
                    return await self._rest(received, pieces)
        return bytes(received)

    async def _rest(self, received: bytearray, pieces: AsyncIterator[bytes]) -> bytes:
        async for piece in pieces:
            received += piece
            if len(received) > BODY_LIMIT:
                raise RequestInvalid(f"a delivery may be {BODY_LIMIT} bytes long at most")
        return bytes(received)
