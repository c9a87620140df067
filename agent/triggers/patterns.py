"""Patterns: the one door to RE2, in whose language CodeBuild's filters are written. Linear time, whatever the text."""

from __future__ import annotations

from functools import lru_cache
from typing import Protocol

import re2

from agent.errors import RequestInvalid

_LONGEST_PATTERN = 2000
_LONGEST_TEXT = 8192


class Pattern(Protocol):
    """A compiled pattern."""

    @property
    def pattern(self) -> str: ...

    def search(self, text: str) -> object: ...

    def fullmatch(self, text: str) -> object: ...


@lru_cache(maxsize=1024)
def compile_pattern(pattern: str) -> Pattern:
    """Return *pattern* compiled; RE2 knows no look-around and no back-reference. Raises `RequestInvalid`."""
    if len(pattern) > _LONGEST_PATTERN:
        raise RequestInvalid(f"filter pattern is longer than {_LONGEST_PATTERN} signs", hint="shorten the pattern")
    try:
        compiled: Pattern = re2.compile(pattern, options=_options())
    except (re2.error, UnicodeError) as error:
        reason = error.args[0] if error.args else error
        words = reason.decode("utf-8", "replace") if isinstance(reason, bytes) else str(reason)
        raise RequestInvalid(
            f"filter pattern {pattern!r} is none that RE2 takes: {words}", hint="use RE2 syntax, as CodeBuild does"
        ) from None
    return compiled


def found(pattern: str, text: str) -> bool:
    """Whether *pattern* is somewhere in the beginning of *text*. Raises `RequestInvalid`."""
    return compile_pattern(pattern).search(_plain(text)) is not None


def fits(pattern: str, text: str) -> bool:
    """Whether *pattern* is all of *text*. Raises `RequestInvalid`."""
    return compile_pattern(pattern).fullmatch(_plain(text)) is not None


def _plain(text: str) -> str:
    return text[:_LONGEST_TEXT].encode("utf-8", "replace").decode()


def _options() -> object:
    options = re2.Options()
    options.log_errors = False
    return options
