"""Fate: a life that ends, as by `kill -9`, ahead of any chosen thing that it does to the world."""

from __future__ import annotations

import os
import random
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from agent.aws import Aws
from agent.store.database import Database

Place = TypeVar("Place")
EFFECTS = frozenset(
    {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.link", "os.symlink", "os.chmod", "os.truncate"}
    | {"subprocess.Popen", "shutil.rmtree"}
)
"""What Python says that it is about to do (audit events); files that are opened to be changed come on top."""
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT


class Killed(BaseException):
    """Stands for SIGKILL: no `except` has an opinion on it."""


def _killed() -> None:
    raise Killed


class Fate:
    """Counts effects, and ends the life ahead of the *point*th; 0: never.

    `end` is how: by itself `Killed` is raised, and raised again at whatever is done after that, so that no `finally`
    tidies up what a process that is dead would have left. `concerns` says whether an effect counts: those of the thread
    that was born with this fate do.
    """

    def __init__(
        self, point: int = 0, *, end: Callable[[], None] = _killed, concerns: Callable[[], bool] | None = None
    ) -> None:
        born = threading.get_ident()
        self.left = point
        self.met = 0
        self._dead = False
        self._end = end
        self._concerns = concerns or (lambda: threading.get_ident() == born)
        self._lock = threading.Lock()

    def meet(self) -> None:
        """Count one effect that is about to happen."""
        if not self._concerns():
            return
        with self._lock:
            self.met += 1
            self.left -= 1
            self._dead = dead = self._dead or self.left == 0
        if dead:
            self._end()

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Count what Python does to files and processes, as long as the block runs."""
        _listen()
        _WATCHING.append(self)
        try:
            yield
        finally:
            _WATCHING.remove(self)


_WATCHING: list[Fate] = []


@cache
def _listen() -> None:
    """Hear what Python does from now on; nobody can be made deaf again, so there is one for all."""
    sys.addaudithook(_hear)


def _hear(event: str, arguments: tuple[Any, ...]) -> None:
    if _WATCHING and (event in EFFECTS or (event == "open" and _writes(*arguments))):
        for fate in list(_WATCHING):
            fate.meet()


def _writes(path: object, _mode: object, flags: object) -> bool:
    """Whether a file is opened to be changed; how often the driver's FIFO is tried depends on chance."""
    return isinstance(flags, int) and bool(flags & _WRITING) and not str(path).endswith("/go")


class Mortal:
    """Whatever it stands for, but that each call, and each answer, may be the last thing."""

    def __init__(self, real: Any, fate: Fate) -> None:
        self._real, self._fate = real, fate

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def call(*arguments: Any, **members: Any) -> Any:
            self._fate.meet()
            answer = getattr(self._real, name)(*arguments, **members)
            self._fate.meet()
            return answer

        return call


class MortalAws(Aws):
    """A door to AWS, through which each call may be the last thing."""

    fate: Fate

    def client(self, service: str, **options: Any) -> Any:
        return Mortal(super().client(service, **options), self.fate)


class MortalDatabase(Database):
    """A database each of whose changes, and the end of each of whose transactions, may be the last thing."""

    def __init__(self, path: Path, fate: Fate) -> None:
        self._fate = fate
        super().__init__(path)

    def execute(self, sql: str, *values: object) -> int:
        self._fate.meet()
        return super().execute(sql, *values)

    @contextmanager
    def transaction(self, *, lasting: bool = False) -> Iterator[None]:
        with super().transaction(lasting=lasting):
            yield
            self._fate.meet()
        self._fate.meet()


def deaths(
    prepare: Callable[[int], Place],
    live: Callable[[Place, Fate], object],
    *,
    least: int = 1,
    every: int = 1,
    most: int = 500,
) -> Iterator[tuple[int, Place]]:
    """Have *live* be lived once for each effect that it has, dying ahead of that one; yield both after each death.

    Each time in a place that *prepare* makes, given the number of the effect, 1 first. The iteration ends with a life
    that came to its end; there have been *least* deaths then, or what was to be tried never was. Of the effects every
    so many-th is tried, beginning with one by chance.
    """
    for point in range(1 + random.SystemRandom().randrange(every), most, every):
        place, fate = prepare(point), Fate(point)
        try:
            with fate.watching():
                live(place, fate)
        except Killed:
            yield point, place
        else:
            assert point > least, f"after {point - 1} deaths it lived"
            return
    raise AssertionError("no life came to its end")
