"""JSON: text of untrusted builds becomes plain values, within bounds of size and depth."""

from __future__ import annotations

import json

from agent.errors import ReportInvalid

MOST_CONTAINERS = 1_000_000
MOST_VALUES = 5_000_000
"""Brackets and commas in one file: what its values cost in memory, whatever their text is."""
_LONGEST_NUMBER = 30


def load(path: str, data: bytes, *, most: int = MOST_VALUES) -> object:
    """Return what *data* says; `NaN` and its like are None. Raises `ReportInvalid`, naming *path*."""
    if data.count(b"[") + data.count(b"{") > min(MOST_CONTAINERS, most) or data.count(b",") > most:
        raise ReportInvalid(f"{path}: more lists, objects or values than a report needs")
    try:
        return json.loads(data, parse_constant=lambda _name: None, parse_int=_whole)
    except UnicodeDecodeError:
        raise ReportInvalid(f"{path}: the text is not in UTF-8") from None
    except json.JSONDecodeError as error:
        raise ReportInvalid(f"{path}: {error}", hint="The file is no JSON.") from None
    except RecursionError:
        raise ReportInvalid(f"{path}: lists and objects are nested too deep") from None


def _whole(digits: str) -> int | float:
    return int(digits) if len(digits) < _LONGEST_NUMBER else float(digits[:300])
