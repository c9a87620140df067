"""Check: one thing that was looked at, how it stands and what mends it; and the questions that lead to checks."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal

from agent.errors import BuildspecdError
from agent.kit.heed import Errand, begun

PATIENCE_SECONDS = 5.0
"""How long one question may take; all are asked at once."""
_MOST_AT_ONCE = 64

Standing = Literal["ok", "warn", "fail", "skipped"]


@dataclass(frozen=True)
class Check:
    """One thing that was looked at. `remedy` is the command or change that mends it, `statement` one of an IAM policy
    (of a role, or of a key where it has a Principal) that does."""

    name: str
    status: Standing
    message: str
    remedy: str = ""
    statement: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Question:
    """Leads to checks. It may raise `BuildspecdError`, which becomes one; where it does not come back in *patience*
    seconds, that is one, and *remedy* what to do about it."""

    name: str
    ask: Callable[[], Iterable[Check]]
    patience: float = PATIENCE_SECONDS
    remedy: str = "look at the network, at proxies and at the other side: it accepts connections and does not answer"


@dataclass
class Progress:
    """Who wants to know how far it is: `told` gets the names that are still asked."""

    told: Callable[[Sequence[str]], object] = lambda _: None
    _open: list[str] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def begin(self, name: str) -> None:
        """Take note of a question."""
        self._change(lambda: self._open.append(name))

    def end(self, name: str) -> None:
        """Take note of its answer."""
        self._change(lambda: self._open.remove(name))

    def _change(self, change: Callable[[], object]) -> None:
        with self._lock:
            change()
            self.told(tuple(self._open))


def examine(questions: Sequence[Question], progress: Progress | None = None) -> list[Check]:
    """Ask all *questions* at once, 64 at most, and return the checks in their order; raises nothing."""
    progress = progress or Progress()
    room = threading.Semaphore(_MOST_AT_ONCE)
    found: list[list[Check]] = [[] for _ in questions]

    def answer(index: int, question: Question) -> None:
        try:
            found[index] = _answer(question)
        finally:
            progress.end(question.name)
            room.release()

    asked: list[Errand[None]] = []
    for index, question in enumerate(questions):
        room.acquire()
        progress.begin(question.name)
        asked.append(begun(partial(answer, index, question), "check"))
    for errand in asked:
        errand.over.wait()
    return [check for checks in found for check in checks]


def _answer(question: Question) -> list[Check]:
    errand = begun(lambda: list(question.ask()), "check")
    if not errand.over.wait(question.patience):
        errand.abandoned = True  # what it runs ends as soon as it looks
        return [Check(question.name, "fail", f"no answer within {question.patience:g} s", question.remedy)]
    error = errand.error
    if error is None:
        return errand.answer()
    if isinstance(error, BuildspecdError):
        return [Check(question.name, "fail", error.message, error.hint)]
    if isinstance(error, OSError):
        where = f"{os.fsdecode(error.filename)}: " if isinstance(error.filename, str | bytes) else ""
        return [Check(question.name, "fail", f"{where}{error.strerror or error}")]
    text = f"this check broke: {type(error).__name__}: {error}"
    return [Check(question.name, "fail", text, "that is a bug in buildspecd: please report it")]
