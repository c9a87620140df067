"""The forms in which a secret can show up in a log: as it is, line by line, quoted, escaped, in base64."""

from __future__ import annotations

import base64
import json
import re
import shlex
from collections.abc import Iterator
from urllib.parse import quote, quote_plus

LINE_OVER = 3
"""A line of a multi-line secret, and an escaped form, is masked when it is longer than this (buildspec.md 6.7)."""
BASE64_FROM = 8
"""Bytes that a secret must have before its base64 is masked too; shorter ones would hit innocent text."""
BASE64_WRAPS = (76, 64)
"""Columns at which `base64` and `openssl base64` break their lines."""

_SHELL_SAFE = re.compile(r"([^A-Za-z0-9_@%+=:,./\n-])")
_URL_SAFE = bytes.maketrans(b"+/", b"-_")


def forms(secret: str) -> frozenset[bytes]:
    """Return every byte string that gives *secret* away; nothing for one that is empty or blank.

    Newlines at its ends are set aside, so that the line structure of a log survives. The value itself is masked
    however short it is, as CodeBuild does; the derived forms only where they are long enough to be no accident.
    """
    value = secret.strip("\r\n")
    if not value.strip():
        return frozenset()
    texts = {value, *_lines(value)}
    if len(value) > LINE_OVER:
        texts.update(_escaped(value))
    found = {_encode(text) for text in texts}
    if len(_encode(value)) >= BASE64_FROM:
        found.update(_base64(_encode(value)))
    return frozenset(found)


def _encode(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _lines(value: str) -> Iterator[str]:
    for line in re.split(r"[\r\n]+", value):
        if len(line.strip()) > LINE_OVER:
            yield line.strip()


def _escaped(value: str) -> Iterator[str]:
    """Yield JSON, URL and shell spellings (also those of `set -x` and `printf %q`)."""
    yield json.dumps(value)[1:-1]
    yield json.dumps(value, ensure_ascii=False)[1:-1]
    raw = _encode(value)
    yield quote(raw, safe="")
    yield quote(raw)
    yield quote_plus(raw)
    if "'" in value:
        yield shlex.quote(value)[1:-1]
        yield value.replace("'", "'\\''")
    yield _SHELL_SAFE.sub(r"\\\1", value)


def _base64(raw: bytes) -> Iterator[bytes]:
    """Yield the characters that *raw* alone decides, for each of the three ways it can lie in a longer text."""
    for before in range(3):
        text = base64.b64encode(bytes(before) + raw + bytes(2))
        certain = text[-(-before * 8 // 6) : (before + len(raw)) * 8 // 6]
        yield certain
        yield certain.translate(_URL_SAFE)
    whole = base64.b64encode(raw)[: len(raw) * 8 // 6]
    for width in BASE64_WRAPS:
        if len(whole) > width:
            yield b"\n".join(whole[at : at + width] for at in range(0, len(whole), width))
