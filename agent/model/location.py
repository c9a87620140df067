"""Location: where a source lies, in a form that may be shown to others. Pure."""

from __future__ import annotations

import re

HIDDEN = "***"


def without_login(location: str) -> str:
    """Return a URL with its user and password as stars; the user of an SSH address is no secret and stays."""
    match = re.match(r"([a-z][a-z0-9+.-]*)://([^/?#]*)@", location, flags=re.IGNORECASE)
    if not match or (match[1].lower() in ("ssh", "git+ssh") and ":" not in match[2]):
        return location
    return f"{match[1]}://{HIDDEN}@{location[match.end() :]}"
