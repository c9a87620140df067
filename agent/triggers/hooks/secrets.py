"""Secrets of hooks: what projects' references mean, kept for minutes, so that no delivery waits for AWS."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from agent.errors import BuildspecdError, Unavailable
from agent.kit.clock import Clock
from agent.model.secret import Secret

KEPT_SECONDS = 300.0
"""How old a secret may grow before it is read again, in the background."""
DOUBTED_SECONDS = 30.0
"""How old one is at least that is read again because a signature did not fit: it may have been changed."""
_FAILED_SECONDS = 10.0


@dataclass(frozen=True)
class _Known:
    """What one reference meant when it was read: a secret, or why there is none."""

    at: float
    secret: Secret | None = None
    trouble: BuildspecdError | None = None


class SecretBook:
    """Knows the secrets behind references. *follow* reads one, and may take seconds. Any thread may call any method.

    What cannot be read again keeps its last value.
    """

    def __init__(self, follow: Callable[[str], Secret], clock: Clock) -> None:
        self._follow = follow
        self._clock = clock
        self._lock = threading.Lock()
        self._known: dict[str, _Known] = {}

    def get(self, reference: str) -> Secret:
        """Return the secret behind *reference*; it is read where nobody knows it. Raises what reading it raises."""
        with self._lock:
            known = self._known.get(reference)
        now = self._clock.monotonic()
        if known is None or (known.secret is None and now - known.at >= _FAILED_SECONDS):
            known = self._read(reference)
        if known.secret is None:
            raise known.trouble or Unavailable("the secret of a webhook cannot be read")
        return known.secret

    def renew(self, references: Iterable[str], older_than: float) -> bool:
        """Read those again that are older; return whether any has another value now."""
        changed = False
        for reference in set(references):
            with self._lock:
                before = self._known.get(reference)
            if before is None or self._clock.monotonic() - before.at >= older_than:
                after = self._read(reference)
                changed = changed or before is None or after.secret != before.secret
        return changed

    def keep_only(self, references: Iterable[str]) -> None:
        """Forget all others."""
        wanted = set(references)
        with self._lock:
            self._known = {text: known for text, known in self._known.items() if text in wanted}

    def _read(self, reference: str) -> _Known:
        now = self._clock.monotonic()
        try:
            found = _Known(now, self._follow(reference))
        except BuildspecdError as error:
            with self._lock:
                before = self._known.get(reference)
            found = _Known(now, before.secret if before else None, error)
        with self._lock:
            self._known[reference] = found
        return found
