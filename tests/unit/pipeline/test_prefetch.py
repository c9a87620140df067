"""The head start of the primary source: what it gives, and that it ends when nobody wants it."""

from __future__ import annotations

import threading
from collections.abc import Callable

from agent.errors import SourceNotFound
from agent.pipeline.prefetch import Prefetch
from agent.source.sources import Revision


def test_what_was_fetched_ahead_is_given_with_what_it_had_to_say() -> None:
    def fetch(say: Callable[[str], None], check: Callable[[], None]) -> Revision:
        check()
        say("a line")
        return Revision(version="v1")

    said: list[str] = []
    ahead = Prefetch(fetch, lambda: False)
    ahead.start()
    assert ahead.result(said.append) == Revision(version="v1")
    assert said == ["a line"]


def test_a_fetch_that_goes_wrong_or_is_unwanted_says_nothing() -> None:
    def fail(say: Callable[[str], None], check: Callable[[], None]) -> Revision:
        say("a line")
        raise SourceNotFound("no")

    def go_on(say: Callable[[str], None], check: Callable[[], None]) -> Revision:
        check()
        return Revision()

    said: list[str] = []
    for ahead in (Prefetch(fail, lambda: False), Prefetch(go_on, lambda: True)):
        ahead.start()
        assert ahead.result(said.append) is None
    assert said == []


def test_a_long_fetch_ends_when_it_is_abandoned() -> None:
    begun = threading.Event()

    def forever(say: Callable[[str], None], check: Callable[[], None]) -> Revision:
        begun.set()
        while True:
            check()

    ahead = Prefetch(forever, lambda: False)
    ahead.start()
    assert begun.wait(10)
    ahead.abandon()
    assert ahead.result(lambda line: None) is None
