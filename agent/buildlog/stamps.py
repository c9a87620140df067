"""The time in front of an agent line: `[Container] YYYY/MM/DD HH:MM:SS.ffffff`, in UTC (buildspec.md 14.1)."""

from __future__ import annotations

import re
from datetime import UTC, datetime

PREFIX = "[Container] "

_START = PREFIX.encode()
_STAMPED = re.compile(rb"\[Container\] (\d{4})/(\d\d)/(\d\d) (\d\d):(\d\d):(\d\d)(?:\.(\d{1,6}))? ")


def stamp(epoch: float) -> str:
    """Return epoch seconds as CodeBuild prints them: `2024/08/03 05:12:48.197352`."""
    return datetime.fromtimestamp(epoch, UTC).strftime("%Y/%m/%d %H:%M:%S.%f")


def stamped_at(line: bytes) -> int | None:
    """Return the epoch milliseconds in front of *line*; None for output of a command, or where it is no date."""
    if not line.startswith(_START) or not (match := _STAMPED.match(line)):
        return None
    *whole, fraction = match.groups(default=b"0")
    try:
        moment = datetime(*map(int, whole), tzinfo=UTC)  # type: ignore[arg-type,misc]
    except ValueError:
        return None
    return int(moment.timestamp()) * 1000 + int(fraction.ljust(6, b"0")[:3])
