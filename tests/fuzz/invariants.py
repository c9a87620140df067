"""Invariants: what holds for any bytes that somebody may call a buildspec; for the fuzzer and the random tests."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TypeVar

from agent.buildspec import grammar
from agent.buildspec.batch_builds import build_count, builds_of
from agent.buildspec.make import make_batch, make_plan, problems_of
from agent.buildspec.plan import BatchPlan, Plan
from agent.errors import BuildspecInvalid, Problem
from agent.kit.marked_yaml import MarkedYamlError, find, load, to_plain

NAME = "buildspec.yml"
MOST_SECONDS = 1.0
"""What an input of at most 64 KiB may cost, in processor time of this process."""
BOUNDED = 1 << 16

_LINE_END = re.compile("\r\n|[\r\n\x85\u2028\u2029]")
_UTF16 = (b"\xff\xfe", b"\xfe\xff")
_IDENTIFIER = re.compile(grammar.IDENTIFIER)
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_T = TypeVar("_T")


def check(data: bytes) -> Plan | BuildspecInvalid:
    """Check every invariant on *data*; return the plan, or the refusal."""
    found = in_time(data, lambda: problems_of(data, NAME))
    check_places(data, found)
    outcome = in_time(data, lambda: plan_or_refusal(data))
    if isinstance(outcome, BuildspecInvalid):
        check_refusal(outcome, found)
    else:
        check_plan(outcome, found)
        assert plan_or_refusal(data) == outcome, "the same text gives the same plan"
    in_time(data, lambda: check_batch(data, outcome))
    in_time(data, lambda: check_loader(data))
    return outcome


def plan_or_refusal(data: bytes) -> Plan | BuildspecInvalid:
    """Return the plan, or the one error that may be raised."""
    try:
        return make_plan(data, name=NAME, location="/src/buildspec.yml")
    except BuildspecInvalid as error:
        return error


def batch_or_refusal(data: bytes) -> BatchPlan | BuildspecInvalid:
    """Return the batch, or the one error that may be raised."""
    try:
        return make_batch(data, name=NAME)
    except BuildspecInvalid as error:
        return error


def in_time(data: bytes, work: Callable[[], _T]) -> _T:
    """Return what *work* returns; fail when it took too long for the size of *data*."""
    begun = time.thread_time()
    result = work()
    took = time.thread_time() - begun
    assert len(data) > BOUNDED or took < MOST_SECONDS, f"{len(data)} bytes took {took:.2f} s"
    return result


def check_places(data: bytes, problems: Sequence[Problem]) -> None:
    """Every problem stands on a line of the file, at a column of that line or just behind it."""
    lines = _LINE_END.split(text_of(data))
    for problem in problems:
        assert 1 <= problem.line <= len(lines), f"{problem}: the file has {len(lines)} lines"
        assert 1 <= problem.column <= len(lines[problem.line - 1]) + 1, str(problem)
        assert problem.message, str(problem)
        assert not _CONTROL.search(problem.message), repr(problem.message)
    places = [(problem.line, problem.column) for problem in problems]
    assert places == sorted(places), "problems come in the order of the file"


def text_of(data: bytes) -> str:
    """Return *data* as the reader sees it, without a byte order mark."""
    encoding = "utf-16" if data.startswith(_UTF16) else "utf-8"
    return data.decode(encoding, "replace").removeprefix("\ufeff")


def check_refusal(error: BuildspecInvalid, found: Sequence[Problem]) -> None:
    """A refusal has words, CodeBuild's code, and the problems that `validate` shows."""
    assert error.message
    assert error.code == "YAML_FILE_ERROR"
    assert list(error.problems) == list(found)
    assert any(problem.fatal for problem in found)


def check_plan(plan: Plan, found: Sequence[Problem]) -> None:
    """A plan has no fatal problem, can be written and read again, and puts no control character into the log."""
    assert not any(problem.fatal for problem in found)
    assert Plan.model_validate_json(plan.model_dump_json()) == plan
    assert not any(_CONTROL.search(line) for line in (*plan.notices, *plan.warnings.split("\n")))


def check_batch(data: bytes, outcome: Plan | BuildspecInvalid) -> None:
    """A batch is refused for the problems that `validate` shows, or has as many builds as counted, each with a name."""
    found = problems_of(data, NAME, batch=True)
    check_places(data, found)
    batch = batch_or_refusal(data)
    if isinstance(batch, BuildspecInvalid):
        assert batch.message
        assert batch.code in {"YAML_FILE_ERROR", "BATCH_SPEC_VALIDATION_ERROR"}
        assert any(problem.fatal for problem in batch.problems)
        assert isinstance(outcome, BuildspecInvalid) or outcome.batch is None
        return
    assert not any(problem.fatal for problem in found)
    assert isinstance(outcome, Plan)
    assert outcome.batch == batch
    names = [task.identifier for task in builds_of(batch)]
    assert 1 <= len(names) == build_count(batch) <= grammar.MOST_BUILDS
    assert len(set(names)) == len(names), "each build has a name of its own"
    assert all(_IDENTIFIER.fullmatch(name) for name in names)


def check_loader(data: bytes) -> None:
    """The loader returns a document or a refusal, and what it returns can be walked."""
    with suppress(MarkedYamlError):
        document = load(data)
        to_plain(document.root)
        find(document.root, ("phases", "build", "commands", 0))
