"""Findings: what is wrong with a buildspec, collected while it is read, and how it is told to whom."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from agent.buildspec.grammar import Keys, suggestion
from agent.errors import BuildspecInvalid, Problem
from agent.kit.marked_yaml import Node, Scalar

WARNING_HEAD = "Found possible syntax errors in buildspec: "
"""First line of the warning block; it ends with a space (buildspec.md 1.4)."""

_MOST = 200  # of either kind; a hostile file could hold a hundred thousand mistakes


@dataclass(frozen=True)
class Fatal:
    """A problem that ends the build: the words CodeBuild has for it, and our advice."""

    problem: Problem
    words: str
    advice: str


@dataclass
class Findings:
    """Collects every problem of one file; reading goes on after each."""

    file: str
    _fatal: list[Fatal] = field(default_factory=list)
    _warnings: list[Problem] = field(default_factory=list)
    _notices: list[Problem] = field(default_factory=list)
    _unknown: dict[str, list[str]] = field(default_factory=dict)

    def fatal(self, line: int, column: int, words: str, advice: str = "") -> None:
        """File a problem that ends the build with *words* as its message."""
        if len(self._fatal) < _MOST:
            message = f"{words} ({advice})" if advice else words
            self._fatal.append(Fatal(Problem(self.file, line, column, message), words, advice))

    def warning(self, node: Node, message: str) -> None:
        """File a problem that the build survives; it is also a line of the build's log."""
        if self._warn(node, message):
            self._notices.append(self._warnings[-1])

    def unknown_key(self, key: Scalar, known: Keys, *, path: str, section: str) -> None:
        """File a key that the section at *path* does not know; the log names it *section*, in a block of its own."""
        guess = suggestion(key.text, known)
        where = f"in {path}" if path else "at the top level"
        message = f"unknown key `{shown(key.text)}` {where} is ignored" + (f"; {guess}" if guess else "")
        if self._warn(key, message):
            self._unknown.setdefault(section, []).append(shown(key.text))

    @property
    def problems(self) -> tuple[Problem, ...]:
        """Every problem, in the order of the file."""
        return _by_place([*(fatal.problem for fatal in self._fatal), *self._warnings])

    @property
    def notices(self) -> tuple[str, ...]:
        """What the build's log says about warnings other than unknown keys."""
        return tuple(f"{problem.message} (line {problem.line})" for problem in _by_place(self._notices))

    @property
    def warning_text(self) -> str:
        """The block about unknown keys, ready for the log (buildspec.md 1.4); empty without any."""
        if not self._unknown:
            return ""
        lines = [WARNING_HEAD]
        for section, keys in self._unknown.items():
            lines += [f"In the section {section}", "    The following keys cannot be identified:"]
            lines += [f"        {key}" for key in keys]
        return "\n".join(lines)

    def verdict(self) -> BuildspecInvalid | None:
        """Return the error that ends the build, with the words of the file's first fatal problem; None: it runs."""
        if not self._fatal:
            return None
        first = min(self._fatal, key=lambda fatal: (fatal.problem.line, fatal.problem.column))
        return BuildspecInvalid(first.words, self.problems, hint=first.advice)

    def _warn(self, node: Node, message: str) -> bool:
        if len(self._warnings) >= _MOST:
            return False
        self._warnings.append(Problem(self.file, node.line, node.column, message, fatal=False))
        return True


def _by_place(problems: Iterable[Problem]) -> tuple[Problem, ...]:
    return tuple(sorted(problems, key=lambda problem: (problem.line, problem.column)))


def shown(text: str, limit: int = 60) -> str:
    """Return *text* fit for a message: on one line, without control characters, at most *limit* long."""
    clean = "".join(char if char.isprintable() else "?" for char in text[:limit])
    return clean + "..." if len(text) > limit else clean
