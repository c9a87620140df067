"""Findings: what is wrong with a buildspec, collected while it is read, and how it is told to whom."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field, replace
from enum import Enum

from agent.buildspec.grammar import suggestion
from agent.errors import BuildspecInvalid, Problem
from agent.kit.marked_yaml import Node, Scalar

WARNING_HEAD = "Found possible syntax errors in buildspec: "
"""First line of the warning block; it ends with a space (buildspec.md 1.4)."""

_MOST_TOLD = 5
_INDEX = re.compile(r"\[\d+\]")
_MOST = 200  # of each kind; a hostile file could hold a hundred thousand mistakes


INVALID_BATCH = "BATCH_SPEC_VALIDATION_ERROR"
"""Status code of a batch build whose section cannot be used (buildspec.md 13.7)."""


class Weight(Enum):
    """What a wrong value does: it ends the build, it is ignored, or it would end a batch build alone."""

    FATAL = "fatal"
    WARNING = "warning"
    BATCH = "batch"


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
    _batch: list[Fatal] = field(default_factory=list)
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

    def remark(self, node: Node, message: str) -> None:
        """File what is worth a line in the log of a plain build, but is no mistake."""
        if len(self._notices) < _MOST:
            self._notices.append(Problem(self.file, node.line, node.column, message, fatal=False))

    def batch(self, node: Node, message: str, words: str = "") -> None:
        """File a problem that only a batch build has; it would end that one with *words*, else with *message*."""
        if len(self._batch) < _MOST:
            problem = Problem(self.file, node.line, node.column, message)
            self._batch.append(Fatal(problem, words or message, ""))

    def unknown_key(
        self, key: Scalar, known: Collection[str], there: Collection[str], *, path: str, section: str
    ) -> None:
        """File a key that the section at *path* does not know; the log names it *section*, in a block of its own.

        *known* are the keys that the section may hold, *there* those that it holds.
        """
        if self.full:
            return  # a guess costs time
        guess = suggestion(key.text, known, path=path, there=there)
        where = f"in {path}" if path else "at the top level"
        message = f"unknown key `{shown(key.text)}` {where} is ignored" + (f"; {guess}" if guess else "")
        if self._warn(key, message):
            keys = self._unknown.setdefault(_INDEX.sub("[]", section), [])
            if shown(key.text) not in keys:  # two hundred builds of a batch may hold the same mistake
                keys.append(shown(key.text))

    @property
    def full(self) -> bool:
        """Whether further warnings are dropped: whoever would need long to word them need not."""
        return len(self._warnings) >= _MOST

    @property
    def batch_count(self) -> int:
        """How many problems of the batch have been filed."""
        return len(self._batch)

    @property
    def problems(self) -> tuple[Problem, ...]:
        """Every problem as a plain build has it, in the order of the file; what is wrong with a batch is not fatal."""
        return _by_place([*(fatal.problem for fatal in self._fatal), *self._ignored, *self._warnings])

    @property
    def problems_of_a_batch(self) -> tuple[Problem, ...]:
        """Every problem as a batch build of the file has it, in the order of the file."""
        return _by_place([*(fatal.problem for fatal in (*self._fatal, *self._batch)), *self._warnings])

    @property
    def _ignored(self) -> list[Problem]:
        """What is wrong with the batch, in the words of a plain build."""
        return [
            replace(fatal.problem, message=f"{fatal.problem.message} (a plain build ignores it)", fatal=False)
            for fatal in self._batch
        ]

    @property
    def notices(self) -> tuple[str, ...]:
        """What the log of a plain build says about warnings other than unknown keys, and about an unusable batch."""
        told = _by_place([*self._notices, *_by_place(self._ignored)[:_MOST_TOLD]])
        lines = [f"{problem.message} (line {problem.line})" for problem in told]
        if len(self._batch) > _MOST_TOLD:
            lines.append(f"{len(self._batch) - _MOST_TOLD} more mistakes in the section `batch`: see `validate`")
        return tuple(lines)

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

    def verdict_on_the_batch(self) -> BuildspecInvalid | None:
        """Return the error that ends a batch build of the file, its section `batch` being wrong; None: it is not."""
        if not self._batch:
            return None
        first = min(self._batch, key=lambda fatal: (fatal.problem.line, fatal.problem.column))
        message = f"BatchSpec has invalid values.. {first.words}"
        return BuildspecInvalid(message, self.problems_of_a_batch, code=INVALID_BATCH)

    def _warn(self, node: Node, message: str) -> bool:
        if self.full:
            return False
        self._warnings.append(Problem(self.file, node.line, node.column, message, fatal=False))
        return True


def _by_place(problems: Iterable[Problem]) -> tuple[Problem, ...]:
    return tuple(sorted(problems, key=lambda problem: (problem.line, problem.column)))


def shown(text: str, limit: int = 60) -> str:
    """Return *text* fit for a message: on one line, without control characters, at most *limit* long."""
    clean = "".join(char if char.isprintable() else "?" for char in text[:limit])
    return clean + "..." if len(text) > limit else clean
