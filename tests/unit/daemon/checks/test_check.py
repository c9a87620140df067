"""Questions are asked all at once, each within its bound; whatever goes wrong in one is a check of its own."""

from __future__ import annotations

import threading
from collections.abc import Iterator

from agent.daemon.checks.check import Check, Progress, Question, examine
from agent.errors import UserError


def test_one_that_never_comes_back_holds_up_nobody_and_is_named() -> None:
    never, abandoned = threading.Event(), []

    def hang() -> Iterator[Check]:
        never.wait()
        yield Check("late", "ok", "")

    def quick() -> Iterator[Check]:
        yield Check("quick", "ok", "there")

    try:
        late, there, other = examine(
            [Question("late", hang, 0.2, "look at it"), Question("quick", quick), Question("other", hang, 0.3)]
        )
    finally:
        never.set()
    assert late == Check("late", "fail", "no answer within 0.2 s", "look at it")
    assert there == Check("quick", "ok", "there")
    assert "does not answer" in other.remedy
    assert not abandoned


def test_errors_and_bugs_are_checks_that_fail_and_no_tracebacks() -> None:
    def refused() -> Iterator[Check]:
        raise UserError("no such thing", hint="make one")

    def broken() -> Iterator[Check]:
        raise KeyError("x")

    def unreadable() -> Iterator[Check]:
        raise PermissionError(13, "Permission denied", "/etc/shadow")

    found = examine([Question("a", refused), Question("b", broken), Question("c", unreadable)])
    assert found[0] == Check("a", "fail", "no such thing", "make one")
    assert found[1].message == "this check broke: KeyError: 'x'"
    assert "report it" in found[1].remedy
    assert found[2].message == "/etc/shadow: Permission denied"


def test_more_questions_than_are_asked_at_once_are_all_answered_in_order_and_counted_down() -> None:
    open_ones: list[int] = []

    def ask(number: int) -> Question:
        return Question(f"q{number}", lambda: [Check(str(number), "ok", "")], 60)

    found = examine([ask(number) for number in range(150)], Progress(lambda names: open_ones.append(len(names))))
    assert [check.name for check in found] == [str(number) for number in range(150)]
    assert open_ones[-1] == 0
    assert max(open_ones) <= 64
