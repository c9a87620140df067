"""Prefetch: the primary source is fetched while the engine makes the container; two waits become one.

Only a head start: what goes wrong here is left to the step "check out", which fetches again and reports it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from agent.errors import BuildspecdError
from agent.source.sources import Revision


@dataclass
class Prefetch:
    """One fetch on a thread of its own. `fetch` is given a function that takes lines for the log."""

    fetch: Callable[[Callable[[str], None]], Revision]
    _said: list[str] = field(default_factory=list)
    _revision: Revision | None = None
    _thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin."""
        self._thread = threading.Thread(target=self._run, name="prefetch", daemon=True)
        self._thread.start()

    def result(self, say: Callable[[str], None]) -> Revision | None:
        """Wait for the end; return what was fetched, after saying what it had to say, or None when it went wrong."""
        if self._thread is not None:
            self._thread.join()
        if self._revision is not None:
            for line in self._said:
                say(line)
        return self._revision

    def _run(self) -> None:
        try:
            self._revision = self.fetch(self._said.append)
        except (BuildspecdError, OSError):
            self._revision = None  # the step that needs it tries again, and says what is wrong
