"""Duration: `30s`, `5m`, `1h30m`, or a plain number of seconds."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import BeforeValidator

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")


def seconds(text: object) -> object:
    """Return the seconds that *text* means; what is not a duration is returned for the validator to refuse."""
    if not isinstance(text, str):
        return text
    word = text.strip()
    parts = _PART.findall(word)
    if parts and "".join(number + unit for number, unit in parts) == word:
        return sum(float(number) * _UNITS[unit] for number, unit in parts)
    try:
        return float(word)
    except ValueError:
        raise ValueError(f"expected a duration such as 30s, 5m or 1h, not {word!r}") from None


Duration = Annotated[float, BeforeValidator(seconds)]
"""A number of seconds; text with units is accepted."""
