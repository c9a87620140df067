"""Keys: `a/b/c` and nothing that leads elsewhere. Pure."""

from __future__ import annotations

from agent.errors import UserError


def checked_key(key: str) -> str:
    """Return *key*, or raise `UserError` when it is empty, absolute, holds `.`, `..` or nothing between slashes, NUL,
    or is no valid Unicode."""
    parts = key.split("/")
    if any(part in ("", ".", "..") for part in parts) or "\0" in key or not _is_text(key):
        raise UserError(
            f"not a key of an object: {key!r}", hint="a key is made of names with / between them, without . and .."
        )
    return key


def _is_text(key: str) -> bool:
    try:
        key.encode()
    except UnicodeEncodeError:
        return False
    return True
