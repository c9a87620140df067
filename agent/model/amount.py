"""Amount: `20GiB`, `500MB` or a plain number of bytes; `10%` of a disk where that makes sense."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator

_UNITS = {"": 1, "B": 1}
_UNITS |= {f"{letter}{end}": 1000**power for power, letter in enumerate("KMGT", 1) for end in ("B",)}
_UNITS |= {f"{letter}{end}": 1024**power for power, letter in enumerate("KMGT", 1) for end in ("", "iB")}
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([KMGT]?(?:i?B)?)")
_PERCENT = re.compile(r"(\d+(?:\.\d+)?)\s*%")
MOST_OF_A_PERCENTAGE = 10 << 30
"""What a percentage of a disk means at most, in bytes: a large disk need not be kept empty."""


def size(text: object) -> object:
    """Return the bytes that *text* means; what is no text is returned for the validator to judge."""
    if not isinstance(text, str):
        return text
    match = _SIZE.fullmatch(text.strip())
    if match is None or match[2] not in _UNITS:
        raise ValueError(f"expected a size such as 500MB, 20GiB or a number of bytes, not {text!r}")
    return int(float(match[1]) * _UNITS[match[2]])


def as_text(value: object) -> object:
    """Return a number of bytes as text; anything else as it is."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _reserve(text: str) -> str:
    percent = _PERCENT.fullmatch(text.strip())
    if percent and float(percent[1]) <= 90:
        return text.strip()
    if percent is None:
        try:
            size(text)
        except ValueError:
            pass
        else:
            return text.strip()
    raise ValueError(f"expected a part of the disk such as 10% (at most 90%), or a size such as 5GiB, not {text!r}")


def reserve_of(text: str, total: int) -> int:
    """Return the bytes that a `Reserve` means on a disk of *total* bytes. Pure."""
    percent = _PERCENT.fullmatch(text)
    if percent:
        return min(int(total * float(percent[1]) / 100), MOST_OF_A_PERCENTAGE)
    found = size(text)
    assert isinstance(found, int)
    return found


def in_words(count: float) -> str:
    """Return a number of bytes as people say it: `1.5 GiB`. Pure."""
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if abs(count) < 1024:
            return f"{count:.0f} {unit}" if unit == "bytes" or count >= 100 else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} TiB"


Size = Annotated[int, BeforeValidator(size)]
"""A number of bytes; text with units is accepted."""
Reserve = Annotated[str, BeforeValidator(as_text), AfterValidator(_reserve)]
"""A part of a disk, or a size, as text: what it is in bytes depends on the disk."""
