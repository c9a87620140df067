"""Plain text: what came from a build, a repository or a daemon cannot steer the reader's terminal."""

from __future__ import annotations

import re

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b\u200e\u200f\u2028-\u202e\u2066-\u2069]")


def plain(text: object) -> str:
    """Return *text* with control and direction characters written as escapes; tabs and line ends stay."""
    return _CONTROL.sub(lambda found: ascii(found[0])[1:-1], str(text))
