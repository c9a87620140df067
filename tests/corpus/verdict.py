"""Judges buildspec files one by one: accepted, warned or refused, why, and how long it took."""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from agent.buildspec.make import make_batch, make_plan, problems_of
from agent.errors import BuildspecInvalid, Problem

ACCEPTED, WARNED, REFUSED, BROKEN = "accepted", "warned", "refused", "broken"
"""BROKEN is a bug of ours: an exception that is no BuildspecInvalid, or two answers that contradict each other."""

_RUNS = 3
_NO_BATCH = "the buildspec has no section `batch`"
_QUOTED = re.compile(r"`[^`]*`|'[^']*'")
_PLACE = re.compile(r"\b(?:at|on) line \d+")
_KEY_PATH = re.compile(r"\b[A-Za-z_][\w-]*(?:\.[\w$*-]+|\[\d+\])+|\[\d+\]")
_ADVICE = re.compile(r" \([^()]*(?:\([^()]*\)[^()]*)*\)\Z|; .*\Z", re.DOTALL)


@dataclass(frozen=True)
class Judgement:
    """What became of one file. `seconds` is processor time, the least of a few runs; `fault` says what broke."""

    name: str
    verdict: str
    problems: tuple[Problem, ...]
    seconds: float
    fault: str = ""


def judge(file: Path, name: str) -> Judgement:
    """Return what `buildspecd validate` says to *file*, called *name* in its problems; raises nothing.

    A file with a batch is judged as a plain build and as a batch build.
    """
    try:
        text = file.read_bytes()
        problems, seconds = _timed(text, name)
        refused = any(problem.fatal for problem in problems)
        if refused != _is_refused(text, name):
            return Judgement(name, BROKEN, problems, seconds, "problems and plans do not agree")
    except Exception as error:  # noqa: BLE001 - that nothing breaks is what is tried here
        return Judgement(name, BROKEN, (), 0.0, f"{type(error).__name__}: {error}")
    if refused:
        return Judgement(name, REFUSED, problems, seconds)
    return Judgement(name, WARNED if problems else ACCEPTED, problems, seconds)


def classes(judgements: Iterable[Judgement]) -> list[tuple[int, int, str]]:
    """Return how many files and problems there are of each class of messages, with the class; most files first."""
    problems: Counter[str] = Counter()
    files: Counter[str] = Counter()
    for judgement in judgements:
        found = [_class_of(problem) for problem in judgement.problems]
        problems.update(found)
        files.update(set(found))
    return sorted(((files[kind], problems[kind], kind) for kind in files), key=lambda row: (-row[0], row[2]))


def _timed(text: bytes, name: str) -> tuple[tuple[Problem, ...], float]:
    times = []
    problems: tuple[Problem, ...] = ()
    for _ in range(_RUNS):
        begun = time.process_time()
        problems = tuple(problems_of(text, name, batch=True))
        times.append(time.process_time() - begun)
    return problems, min(times)


def _is_refused(text: bytes, name: str) -> bool:
    """Whether a plain build of the file fails, or a batch build of it for another reason than that it has no batch."""
    try:
        make_plan(text, name=name, location=f"/codebuild/output/src/{name}")
        make_batch(text, name=name)
    except BuildspecInvalid as error:
        return _NO_BATCH not in str(error)
    return False


def _class_of(problem: Problem) -> str:
    """Return the message without what is of one file only: names, numbers, values and advice."""
    kind = _ADVICE.sub("", _PLACE.sub("", problem.message))
    kind = _KEY_PATH.sub("*", _QUOTED.sub("*", kind))
    kind = re.sub(r"unknown key \* in \S+", "unknown key * in a section", kind)
    return ("" if problem.fatal else "warning: ") + " ".join(kind.split()).replace(" , ", ", ").strip(" ,")
