"""Heed: a thread that is busy for long looks now and then whether its work is still wanted.

Whoever starts long work says how that is asked (`heeding`); whatever takes long asks (`heed`), or has what cannot ask
done aside (`patiently`). So a stop reaches the last loop without a parameter through every room between.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar, copy_context
from typing import Generic, TypeVar

T = TypeVar("T")

LOOK_SECONDS = 0.1
"""Longest time between two questions while something is done aside."""

_check: ContextVar[Callable[[], None] | None] = ContextVar("heed", default=None)


class Abandoned(Exception):
    """Nobody waits for this work any more; raised on its own thread only."""


@contextmanager
def heeding(check: Callable[[], None]) -> Iterator[None]:
    """Have `heed` call *check*, which raises when the work is not wanted any more, on this thread inside the block."""
    token = _check.set(check)
    try:
        yield
    finally:
        _check.reset(token)


def go_on() -> None:
    """Be the question of work that nobody interrupts."""


def heed() -> None:
    """Raise what the work of this thread is to end with, if it is to end. Costs next to nothing."""
    if (check := _check.get()) is not None:
        check()


def followed(work: Callable[[], T]) -> Callable[[], T]:
    """Return *work*, to be done on another thread that heeds what this one heeds."""
    context = copy_context()
    return lambda: context.copy().run(work)


def patiently(work: Callable[[], T], abandon: Callable[[], None] = lambda: None) -> T:
    """Return what *work* returns, or raise what it raises; it may hang where nobody can ask.

    It is done on a thread of its own, unless nobody would interrupt it. When this thread is to end meanwhile, *abandon*
    is called, which may make *work* end sooner, and *work* is left behind: what it returns or raises later is dropped.
    """
    if (check := _check.get()) is None:
        return work()
    errand = begun(work, "errand")
    try:
        while not errand.over.wait(LOOK_SECONDS):
            check()
    except BaseException:
        errand.abandoned = True
        abandon()
        raise
    return errand.answer()


def begun(work: Callable[[], T], name: str) -> Errand[T]:
    """Begin *work* on a thread of its own, which holds up the end of this process not even where it hangs."""
    errand = Errand(work)
    threading.Thread(target=followed(errand.run), name=name, daemon=True).start()
    return errand


class Errand(Generic[T]):
    """One piece of work on a thread of its own, and what came of it. `abandoned`: it may end, nobody waits any more."""

    def __init__(self, work: Callable[[], T]) -> None:
        self._work = work
        self._results: list[T] = []
        self.error: BaseException | None = None
        """What it raised, once it is `over`."""
        self.over = threading.Event()
        self.abandoned = False

    def run(self) -> None:
        with self, heeding(self._see):
            self._results.append(self._work())

    def __enter__(self) -> None:
        pass

    def __exit__(self, _: object, error: BaseException | None, __: object) -> bool:
        """Keep whatever was raised: it is raised again where somebody waits for it."""
        self.error = error
        self.over.set()
        return True

    def _see(self) -> None:
        if self.abandoned:
            raise Abandoned

    def answer(self) -> T:
        """Return what the work has returned, or raise what it raised; it is `over`."""
        if self.error is not None:
            raise self.error
        return self._results[0]

    def result(self, seconds: float) -> T:
        """Wait for the answer. Raises `TimeoutError` where there is none in time; the work is abandoned then."""
        if not self.over.wait(seconds):
            self.abandoned = True
            raise TimeoutError
        return self.answer()
