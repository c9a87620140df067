"""Shell words made from data: quoting, and the texts of a buildspec that a shell expands (buildspec.md 2.4)."""

from __future__ import annotations

import re

_VARIABLE = re.compile(r"\$(?:[A-Za-z_][A-Za-z0-9_]*|\{[A-Za-z_][A-Za-z0-9_]*\})", re.ASCII)
_LIVE_IN_DOUBLE_QUOTES = re.compile(r"[\\\"`$]")
_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)


def quote(text: str) -> str:
    """Return *text* as one single-quoted shell word that means itself. NUL, which no shell can hold, is dropped."""
    return "'" + text.replace("\0", "").replace("'", "'\\''") + "'"


def is_identifier(name: str) -> bool:
    """Whether a POSIX shell can have a variable of that name."""
    return _IDENTIFIER.fullmatch(name) is not None


def variables_only(text: str) -> str:
    """Return *text* as one double-quoted shell word in which only `$NAME` and `${NAME}` are live.

    So `dist/$STAGE/**` expands its variable, while `$(rm -rf /)`, backticks, globs and blanks stay what they are.
    """
    words, end = [], 0
    for match in _VARIABLE.finditer(text):
        words += [_dead(text[end : match.start()]), match.group()]
        end = match.end()
    return '"' + "".join([*words, _dead(text[end:])]) + '"'


def shell_text(text: str) -> str:
    """Return *text* as a shell word in which the shell's whole language is live, command substitution included.

    For `artifacts.name` and `cache.key` (buildspec.md 10.3, 11.3). A text with an odd number of double quotes is no
    word: its evaluation fails.
    """
    return '"' + text.replace("\0", "").rstrip("\n") + '"'


def _dead(text: str) -> str:
    return _LIVE_IN_DOUBLE_QUOTES.sub(r"\\\g<0>", text.replace("\0", ""))
