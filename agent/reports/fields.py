"""Fields: numbers, durations and texts of result files, made safe to keep and to show."""

from __future__ import annotations

import math
import re

from agent.errors import ReportInvalid

MOST_NANOSECONDS = 2**63 - 1
MOST_WHOLE = 2**31 - 1
_SHORT = len("999999999") + 1

_ESCAPES = re.compile(r"\x1b(\[[0-9;:?]*[ -/]*[@-~]|[@-Z\\-_])")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
_GROUPED = re.compile(r"[1-9]\d{0,2}(,\d{3})+(\.\d*)?")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,4})?")
_WHOLE = re.compile(r"[+-]?\d{1,15}")
_CLOCK = re.compile(r"(?:(\d{1,7})\.)?(\d{1,4}):(\d{1,2}):(\d{1,2}(?:\.\d{1,12})?)")


def clean(raw: object, most: int) -> str:
    """Return at most *most* characters of *raw*, without colours, control characters and broken surrogates."""
    text = raw[: 2 * most + 100] if isinstance(raw, str) else ""
    text = _ESCAPES.sub("", text.replace("\r\n", "\n"))
    return _CONTROL.sub("\N{REPLACEMENT CHARACTER}", text)[:most]


def number(raw: object) -> float | None:
    """Return what *raw* says, or None where it is no finite number. `1,234.5` is twelve hundred; `0,5` is a half."""
    if isinstance(raw, bool) or raw is None:
        return None
    if isinstance(raw, int | float):
        value = float(raw) if abs(raw) < 1e300 else math.inf
    else:
        text = str(raw)[:100].strip()
        text = text.replace(",", "") if _GROUPED.fullmatch(text) else text.replace(",", ".", 1)
        if not _NUMBER.fullmatch(text):
            return None
        value = float(text)
    return value if math.isfinite(value) else None


def nanoseconds(raw: object, unit: float = 1e9) -> int:
    """Return a duration given in units of *unit* nanoseconds; 0 where *raw* says none, or less than nothing."""
    value = number(raw)
    if value is None or value <= 0:
        return 0
    return min(round(min(value * unit, 2.0**63)), MOST_NANOSECONDS)


def clock(raw: object) -> int:
    """Return the nanoseconds of .NET's `[d.]hh:mm:ss[.fffffff]`; 0 where *raw* is none."""
    found = _CLOCK.fullmatch(str(raw)[:100].strip())
    if not found:
        return 0
    days, hours, minutes, seconds = found.groups()
    whole_seconds = (int(days or 0) * 24 + int(hours)) * 3600 + int(minutes) * 60
    return nanoseconds(whole_seconds + float(seconds))


def whole(path: str, element: str, name: str, raw: str | None) -> int | None:
    """Return the whole number of an attribute, or None where it is absent or empty.

    Raises `ReportInvalid`, naming file, element and attribute, if it is no whole number up to 2,147,483,647.
    """
    if not raw:
        return None
    if raw.isdecimal() and raw.isascii() and len(raw) < _SHORT:  # nearly all of them, many a million times
        return int(raw)
    text = raw.strip()
    if not text:
        return None
    plain = text.replace(",", "") if _GROUPED.fullmatch(text[:40]) else text
    if not _WHOLE.fullmatch(plain) or abs(int(plain)) > MOST_WHOLE:
        raise ReportInvalid(f'{path}: {name}="{clean(text, 40)}" of <{element}> is no number of things')
    return int(plain)


def covered(path: str, element: str, name: str, raw: str | None) -> int:
    """Return how often something ran, 0 where the attribute is absent; what is too large counts as often enough."""
    if raw and raw.isdecimal() and raw.isascii() and len(raw) < _SHORT:
        return int(raw)
    text = (raw or "").strip()
    value = number(text)
    if text and value is None:
        raise ReportInvalid(f'{path}: {name}="{clean(text, 40)}" of <{element}> is no number of runs')
    return MOST_WHOLE if value and value > 0 else 0
