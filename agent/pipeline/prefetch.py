"""Prefetch: the primary source is fetched while the engine makes the container; two waits become one.

Only a head start: what goes wrong here is left to the step "check out", which fetches again and reports it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from agent.errors import BuildspecdError
from agent.kit.heed import heed, heeding
from agent.kit.service import StopToken
from agent.source.sources import Revision

LOOK_SECONDS = 0.1

Fetch = Callable[[Callable[[str], None], Callable[[], None]], Revision]
"""Is given a function that takes lines for the log, and one to call now and then, which raises to end the fetch."""


class _Abandoned(Exception):
    """Nobody waits for this fetch any more."""


@dataclass
class Prefetch:
    """One fetch on a thread of its own. `unwanted` says whether the build is not to go on."""

    fetch: Fetch
    unwanted: Callable[[], bool]
    _said: list[str] = field(default_factory=list)
    _over: StopToken = field(default_factory=StopToken)
    _revision: Revision | None = None
    _thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin."""
        self._thread = threading.Thread(target=self._run, name="prefetch", daemon=True)
        self._thread.start()

    def result(self, say: Callable[[str], None]) -> Revision | None:
        """Wait for the end; return what was fetched, after saying what it had to say, or None when it went wrong."""
        try:
            while self._thread is not None and self._thread.is_alive():
                self._thread.join(LOOK_SECONDS)
                heed()
        except BaseException:
            self.abandon()  # nobody else knows of it, and its directory goes
            raise
        if self._revision is not None:
            for line in self._said:
                say(line)
        return self._revision

    def abandon(self) -> None:
        """Have the fetch end soon, and wait for that."""
        self._over.set()
        if self._thread is not None:
            self._thread.join()

    def _check(self) -> None:
        if self._over.is_set or self.unwanted():
            raise _Abandoned

    def _run(self) -> None:
        try:
            with heeding(self._check):
                self._revision = self.fetch(self._said.append, self._check)
        except (_Abandoned, BuildspecdError, OSError):
            self._revision = None  # the step that needs it tries again, and says what is wrong
