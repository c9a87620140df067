"""Patterns: whether a regular expression of `on-failure: RETRY-...` can be used (buildspec.md 4.5).

CodeBuild's agent is a Go program, so the syntax is RE2's. Here the image's `grep` does the matching, line by line: with
`-P` where it can, else with `-E`. One reading of the text finds what none of them takes (a mistake), and what RE2 does
not know though `grep -P` does (a doubt).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field

MOST_REPEATS = 1000
"""RE2's bound of a counted repetition."""


class PatternMistake(ValueError):
    """The pattern cannot be used; the text says why, and at which character (from 1)."""


_COUNT = re.compile(r"\{(\d+)(,(\d*))?\}", re.ASCII)
_PLAIN_GROUP = re.compile(r"\(\?(?:P?<([A-Za-z_]\w*)>|[imsU]*(?:-[imsU]+)?:)", re.ASCII)
_FLAGS = re.compile(r"\(\?(?:[imsU]+(?:-[imsU]+)?|-[imsU]+)\)")
_RANGE_ESCAPE = re.compile(r"\\(?:x[0-9A-Fa-f]{2}|x\{[0-9A-Fa-f]{1,6}\}|[0-7]{1,3}|[pP](?:[A-Z]|\{\^?\w+\})|[\s\S])")
_POSIX_CLASS = re.compile(r"\[:\^?([a-z]*):\]")
_POSIX_NAMES = frozenset(
    (
        *("alnum", "alpha", "ascii", "blank", "cntrl", "digit", "graph", "lower", "print", "punct"),
        *("space", "upper", "word", "xdigit"),
    )
)
_ESCAPES = frozenset("AbBCdDsSwWzafnrtvQE")
_CLASS_ESCAPES = frozenset("dDsSwWafnrtv")
_SETS = frozenset("dDsSwWpP")
_PCRE_ESCAPES = frozenset("ZGhHRKNXVegk")
_PCRE_GROUPS: tuple[tuple[str, str, bool], ...] = (
    ("(?=", "a look-ahead", True),
    ("(?!", "a look-ahead", True),
    ("(?<=", "a look-behind", True),
    ("(?<!", "a look-behind", True),
    ("(?>", "an atomic group", True),
    ("(?|", "a branch reset", True),
    ("(?#", "a comment", False),
    ("(?P=", "a back-reference", False),
)
"""What opens a group of PCRE's own, its name, and whether a group follows; else all up to the next ) belongs to it."""


@dataclass
class _Reader:
    """Reads one pattern from its beginning to its end."""

    text: str
    at: int = 0
    operand: bool = False
    """Whether there is something that an operator of repetition could repeat."""
    open: list[int] = field(default_factory=list)
    groups: int = 0
    names: set[str] = field(default_factory=set)
    references: list[tuple[str, int]] = field(default_factory=list)
    doubts: list[str] = field(default_factory=list)

    def read(self) -> None:
        """Read all of it. Raises PatternMistake."""
        steps: dict[str, Callable[[], None]] = {
            "\\": self._escape,
            "[": self._class,
            "(": self._group,
            ")": self._close,
            "|": self._alternative,
            "*": self._repeat,
            "+": self._repeat,
            "?": self._repeat,
            "{": self._brace,
        }
        while self.at < len(self.text):
            step = steps.get(self.text[self.at])
            if step is not None:
                step()
            else:
                self._take(1, operand=self.text[self.at] not in "^$")
        if self.open:
            self._refuse("a ( is not closed", self.open[-1])
        for name, at in self.references:
            if name not in self.names and not (name.isdigit() and int(name) <= self.groups):
                self._refuse(f"there is no group {name}", at)

    def _take(self, count: int, *, operand: bool = True) -> None:
        self.at += count
        self.operand = operand

    def _refuse(self, reason: str, at: int | None = None) -> None:
        raise PatternMistake(f"{reason} (character {(self.at if at is None else at) + 1})")

    def _doubt(self, thing: str) -> None:
        self.doubts.append(f"{thing} (character {self.at + 1})")

    def _alternative(self) -> None:
        self._take(1, operand=False)

    def _close(self) -> None:
        if not self.open:
            self._refuse("a ) closes nothing")
        self.open.pop()
        self._take(1)

    def _group(self) -> None:
        if not self.text.startswith("(?", self.at):
            self.open.append(self.at)
            self.groups += 1
            self._take(1, operand=False)
        elif flags := _FLAGS.match(self.text, self.at):
            self._take(len(flags[0]), operand=False)
        elif plain := _PLAIN_GROUP.match(self.text, self.at):
            self.open.append(self.at)
            if plain[1]:
                self.groups += 1
                self.names.add(plain[1])
            self._take(len(plain[0]), operand=False)
        else:
            self._foreign_group()

    def _foreign_group(self) -> None:
        for sign, name, opens in _PCRE_GROUPS:
            if not self.text.startswith(sign, self.at):
                continue
            self._doubt(name)
            if opens:
                self.open.append(self.at)
                self._take(len(sign), operand=False)
                return
            end = self.text.find(")", self.at)
            if end < 0:
                self._refuse("a ( is not closed")
            if sign == "(?P=":
                self.references.append((self.text[self.at + len(sign) : end], self.at))
            self._take(end + 1 - self.at, operand=name == "a back-reference")
            return
        self._refuse("nothing is known that begins with " + self.text[self.at : self.at + 3])

    def _repeat(self) -> None:
        self._repeated(1)

    def _brace(self) -> None:
        count = _COUNT.match(self.text, self.at)
        if count is None:
            self._take(1)  # an ordinary character, to all of them
            return
        least, most = count[1], count[3] or count[1]
        if max(len(least), len(most)) > len(str(MOST_REPEATS)) or max(int(least), int(most)) > MOST_REPEATS:
            self._refuse(f"more than {MOST_REPEATS} repetitions")
        if int(most) < int(least):
            self._refuse("the second count is smaller than the first")
        self._repeated(len(count[0]))

    def _repeated(self, length: int) -> None:
        """Take an operator of repetition, with the `?` that makes it lazy."""
        if not self.operand:
            self._refuse(f"nothing stands before {self.text[self.at]} that could be repeated")
        self._take(length)
        if self.text.startswith("?", self.at):
            self._take(1)
        elif self.text.startswith("+", self.at):
            self._doubt("a possessive repetition")
            self._take(1)
        if self.text.startswith(("*", "+", "?"), self.at) or _COUNT.match(self.text, self.at):
            self._refuse("two operators of repetition follow each other")

    def _escape(self) -> None:
        if self.text.startswith("\\Q", self.at):
            end = self.text.find("\\E", self.at)
            self._take(len(self.text) - self.at if end < 0 else end + 2 - self.at)
            return
        sign = self.text[self.at + 1 : self.at + 2]
        if sign in "123456789" and sign:
            self.references.append((sign, self.at))
            self._doubt("a back-reference")
        elif sign in _PCRE_ESCAPES and sign:
            self._doubt(f"\\{sign}")
        else:
            self._known_escape(_ESCAPES)
            return
        self._take(2)

    def _known_escape(self, letters: frozenset[str]) -> str:
        """Take an escape; return the one character that it stands for, or empty for a set or a place."""
        found = _RANGE_ESCAPE.match(self.text, self.at)
        if found is None:
            self._refuse("a backslash with nothing behind it")
            return ""
        whole, sign = found[0], found[0][1]
        if sign.isascii() and sign.isalpha() and len(whole) == 2 and sign not in letters:
            self._refuse(f"\\{sign} is not known")
        self._take(len(whole))
        return "" if sign in _SETS or sign.isalnum() else sign

    def _class(self) -> None:
        """Take `[...]`; a ] right at its beginning is an ordinary character."""
        begin = self.at
        self.at += 2 if self.text.startswith("^", self.at + 1) else 1
        first = True
        while first or not self.text.startswith("]", self.at):
            if self.at >= len(self.text):
                self._refuse("a [ is not closed", begin)
            first = False
            self._member()
        self._take(1)

    def _member(self) -> None:
        """Take one character, range or set of a class."""
        begin = self.at
        low, low_is_set = self._one()
        following = self.text[self.at : self.at + 2]
        if len(following) == 2 and following[0] == "-" and following[1] != "]":
            self.at += 1
            high, high_is_set = self._one()
            if low_is_set or high_is_set:
                self._refuse("a range between sets of characters", begin)
            if low and high and high < low:
                self._refuse(f"the range {low}-{high} is the wrong way round", begin)

    def _one(self) -> tuple[str, bool]:
        """Take one member; return it where it is a plain character, else an empty text; and whether it is a set."""
        if self.text.startswith("\\", self.at):
            is_set = self.text[self.at + 1 : self.at + 2] in _SETS
            return self._known_escape(_CLASS_ESCAPES), is_set
        named = _POSIX_CLASS.match(self.text, self.at)
        if named is not None:
            if named[1] not in _POSIX_NAMES:
                self._refuse(f"there is no class of characters called {named[0]}")
            self.at += len(named[0])
            return "", True
        self.at += 1
        return self.text[self.at - 1], False


def doubts(pattern: str) -> tuple[str, ...]:
    """Return what in *pattern* CodeBuild would not take though an image's `grep -P` may; each with its character.

    Raises PatternMistake for what nobody takes.
    """
    reader = _Reader(pattern)
    reader.read()
    if "\n" in pattern:
        reader.doubts.append("a line break, though the output is compared line by line")
    return tuple(reader.doubts)
