"""Heeding: work that takes long ends soon after it is not wanted any more, also where it cannot ask."""

from __future__ import annotations

import threading

import pytest

from agent.kit.heed import followed, heed, heeding, patiently
from agent.kit.parallel import for_each


class Enough(Exception):
    """What a test ends work with."""


class Patience:
    """A check that is for ending from the moment it is told."""

    def __init__(self, ended: bool = False) -> None:
        self.ended = ended

    def __call__(self) -> None:
        if self.ended:
            raise Enough


def test_outside_of_any_block_nothing_is_heeded() -> None:
    heed()
    assert patiently(lambda: threading.current_thread()) is threading.current_thread()


def test_the_check_of_the_block_is_asked_and_that_of_the_outer_one_after_it() -> None:
    with heeding(Patience(ended=True)):
        with heeding(Patience()):
            heed()
        with pytest.raises(Enough):
            heed()


def test_work_done_aside_gives_its_result_or_its_error() -> None:
    with heeding(Patience()):
        assert patiently(lambda: 7) == 7
        with pytest.raises(ZeroDivisionError):
            patiently(lambda: 1 // 0)


def test_work_that_hangs_is_left_behind_and_told_so() -> None:
    patience, hangs, left, told = Patience(), threading.Event(), threading.Event(), []

    def hang() -> None:
        patience.ended = True
        hangs.wait(60)
        try:
            heed()
        finally:
            left.set()

    with heeding(patience), pytest.raises(Enough):
        patiently(hang, abandon=lambda: told.append("abandoned"))
    assert told == ["abandoned"]
    hangs.set()
    assert left.wait(60)


def test_threads_of_parallel_work_heed_what_their_maker_heeds() -> None:
    with heeding(Patience(ended=True)), pytest.raises(Enough):
        for_each([1, 2, 3], lambda _: heed(), threads=2, name="test")
    with heeding(Patience(ended=True)):
        work = followed(heed)
    with pytest.raises(Enough):
        work()
