"""Pages: a long answer in pieces of a hundred, and the token that leads to the next one (service.md 5.2). Pure."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from collections.abc import Callable, Sequence

from agent.errors import RequestInvalid

SIZE = 100
"""Entries of one page, the API's default and maximum."""


def page(names: Sequence[str], query: str, token: str | None, *, size: int = SIZE) -> tuple[list[str], str | None]:
    """Return one page of *names*, *size* of them, and the token of the next, None at the end.

    A token names the last entry of its page, so that what is added in front meanwhile moves nothing.
    Raises `RequestInvalid` for a token of another query, or of an entry that is gone.
    """
    start = 0
    if token is not None:
        last = _opened(token, query)
        if last not in names:
            raise _invalid()
        start = names.index(last) + 1
    piece = list(names[start : start + size])
    more = start + size < len(names)
    return piece, _sealed(piece[-1], query) if more else None


def newest(
    listed: Callable[[int], list[str]], query: str, token: str | None, *, first: int = SIZE + 1
) -> tuple[list[str], str | None]:
    """Return one page of what *listed* (by limit) gives, reading as little of it as will do."""
    limit = first
    wanted = None if token is None else _opened(token, query)
    while True:
        names = listed(limit)
        found = 0 if wanted is None else names.index(wanted) + 1 if wanted in names else None
        enough = found is not None and len(names) > found + SIZE
        if enough or len(names) < limit:
            return page(names, query, token)
        limit *= 4


def _sealed(last: str, query: str) -> str:
    """Return a token. Its sum finds damage; it is no secret, since the caller may read the whole list anyway."""
    document = json.dumps([last, _sum(last, query)]).encode()
    return base64.urlsafe_b64encode(document).decode()


def _opened(token: str, query: str) -> str:
    try:
        last, found = json.loads(base64.b64decode(token.encode(), altchars=b"-_", validate=True))
    except (ValueError, TypeError, binascii.Error):
        raise _invalid() from None
    if not isinstance(last, str) or found != _sum(last, query):
        raise _invalid()
    return last


def _sum(last: str, query: str) -> str:
    return hashlib.sha256(f"{query}\0{last}".encode()).hexdigest()[:24]


def _invalid() -> RequestInvalid:
    return RequestInvalid("The provided pagination token is invalid", hint="ask for the first page again")
