"""The forms in which a secret can show up in a log: as it is, line by line, quoted, escaped, in base64."""

from __future__ import annotations

import base64
import html
import json
import re
import shlex
from collections.abc import Iterator
from urllib.parse import quote, quote_plus

LINE_OVER = 3
"""A line of a multi-line secret, and an escaped form, is masked when it is longer than this (buildspec.md 6.7)."""
BASE64_FROM = 6
"""Bytes that a secret must have before its base64 is masked too: seven characters are the fewest that hit no innocent
text, and `hato` of the conformance cases stays as CodeBuild shows it (case 58)."""
BASE64_WRAPS = (76, 64)
"""Columns at which `base64` and `openssl base64` break their lines."""
WRAPPED_TO = 192
"""Bytes up to which the base64 of a secret is also looked for where line breaks cut a longer text anywhere in it."""

_SHELL_SAFE = re.compile(r"([^A-Za-z0-9_@%+=:,./\n-])")
_BASH_UNSAFE = re.compile(r"""[][\s!"$&'()*,;<>?\\^`{|}]|(?:^|(?<=[=:]))~|^\#""")
_DOUBLE_QUOTED = re.compile(r"([\\\"`$])")
_QUOTES = re.compile("'+")
_URL_SAFE = bytes.maketrans(b"+/", b"-_")
_PERCENT = re.compile("%[0-9A-F]{2}")
_ANSI = {"\n": r"\n", "\t": r"\t", "\r": r"\r", "\a": r"\a", "\b": r"\b", "\f": r"\f", "\v": r"\v", "\x1b": r"\E"}
_ANSI |= {"\\": r"\\", "'": r"\'"}
_GO = re.compile("[<>&\u2028\u2029]")
_DOTNET = re.compile("[<>&'\"`+\x7f]|[^\x00-\x7f]")


def forms(secret: str) -> frozenset[bytes]:
    """Return every byte string that gives *secret* away; nothing for one that is empty or blank.

    Newlines at its ends are set aside, so that the line structure of a log survives. The value itself is masked
    however short it is, as CodeBuild does; the derived forms only where they are long enough to be no accident.
    """
    return plain_forms(secret).union(*(broken for _, broken in wrapped_forms(secret)))


def plain_forms(secret: str) -> frozenset[bytes]:
    """Return the forms of *secret* but for those that `wrapped_forms` gives."""
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


def wrapped_forms(secret: str) -> Iterator[tuple[bytes, frozenset[bytes]]]:
    """Yield base64 of *secret* as a part of a longer text that is broken into lines: in one piece, and every form.

    A text that does not hold the first when its newlines are taken out holds none of the forms.
    """
    raw = _encode(secret.strip("\r\n"))
    if BASE64_FROM <= len(raw) <= WRAPPED_TO and raw.strip():
        for before in range(3):
            text = _certain(raw, before)
            yield text, frozenset((text, *_broken(text)))


def _encode(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _lines(value: str) -> Iterator[str]:
    for line in re.split(r"[\r\n]+", value):
        if len(line.strip()) > LINE_OVER:
            yield line.strip()


def _escaped(value: str) -> Iterator[str]:
    yield from _json(value)
    yield from _url(value)
    yield from _shell(value)
    yield html.escape(value)
    yield html.escape(value, quote=False)


def _json(value: str) -> Iterator[str]:
    """Yield the spellings of Python, jq and JavaScript, of PHP (`\\/`), of Go and of .NET."""
    text = json.dumps(value, ensure_ascii=False)[1:-1]
    yield text
    yield text.replace("\x7f", "\\u007f")
    yield text.replace("/", "\\/")
    yield _GO.sub(lambda found: f"\\u{ord(found[0]):04x}", text)
    escaped = json.dumps(value)[1:-1]
    yield escaped
    yield escaped.replace("/", "\\/")
    marked = text.replace('\\"', "\\u0022")
    yield _DOTNET.sub(
        lambda found: (
            json.dumps(found[0])[1:-1].upper().replace("\\U", "\\u")
            if ord(found[0]) > 0x7F
            else f"\\u{ord(found[0]):04X}"
        ),
        marked,
    )


def _url(value: str) -> Iterator[str]:
    """Yield the spellings of Python, curl, jq, Go, Java, JavaScript; with capital and small hexadecimal digits."""
    raw = _encode(value)
    for text in (
        quote(raw, safe=""),
        quote(raw),
        quote_plus(raw),
        quote(raw, safe="!'()*"),
        quote_plus(raw, safe="*").replace("~", "%7E"),
    ):
        yield text
        yield _PERCENT.sub(lambda found: found[0].lower(), text)


def _shell(value: str) -> Iterator[str]:
    """Yield what `set -x`, `export -p` and `printf %q` of dash, busybox ash and bash make of *value*."""
    if "'" in value:
        yield shlex.quote(value)[1:-1]
        yield value.replace("'", "'\\''")
        quoted = _QUOTES.sub(lambda found: f"'\"{found[0]}\"'", value)
        yield quoted[:-1] if value.endswith("'") else quoted
    yield _SHELL_SAFE.sub(r"\\\1", value)
    yield _BASH_UNSAFE.sub(r"\\\g<0>", value)
    yield _DOUBLE_QUOTED.sub(r"\\\1", value)
    if not (value.isprintable() and value.isascii()):
        yield "".join(_ANSI.get(sign) or (sign if sign.isprintable() else _octal(sign)) for sign in value)
        yield "".join(_ANSI.get(sign) or (sign if " " <= sign <= "~" else _octal(sign)) for sign in value)


def _octal(sign: str) -> str:
    return "".join(f"\\{byte:03o}" for byte in _encode(sign))


def _base64(raw: bytes) -> Iterator[bytes]:
    """Yield the characters that *raw* alone decides, for each of the three ways it can lie in a longer text."""
    for before in range(3):
        certain = _certain(raw, before)
        yield certain
        yield certain.translate(_URL_SAFE)
    whole = base64.b64encode(raw)[: len(raw) * 8 // 6]
    for width in BASE64_WRAPS:
        if len(whole) > width:
            yield b"\n".join(whole[at : at + width] for at in range(0, len(whole), width))


def _certain(raw: bytes, before: int) -> bytes:
    """Return the base64 characters that *raw* decides by itself behind *before* (0 to 2) other bytes."""
    text = base64.b64encode(bytes(before) + raw + bytes(2))
    return text[-(-before * 8 // 6) : (before + len(raw)) * 8 // 6]


def _broken(text: bytes) -> Iterator[bytes]:
    """Yield *text* with a line break at every place where the wrapping of a longer text can put it."""
    if len(text) <= min(BASE64_WRAPS):
        for at in range(1, len(text)):
            yield text[:at] + b"\n" + text[at:]
        return
    for width in BASE64_WRAPS:
        for first in range(1, min(width, len(text) - 1) + 1):
            rest = (text[at : at + width] for at in range(first, len(text), width))
            yield b"\n".join((text[:first], *rest))
