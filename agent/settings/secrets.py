"""Secrets: follows the references of settings and project files, into AWS too, and keeps those for five minutes."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from agent.errors import AwsUnavailable, VariableUnresolved
from agent.kit.clock import Clock
from agent.model.secret import Secret
from agent.settings.references import Reference, local_secret, reference

KEEP_SECONDS = 300.0
"""How long a value out of AWS is not asked for again."""
STALE_SECONDS = 3600.0
"""How long an old value does where AWS does not answer."""
ASK_AGAIN_SECONDS = 2.0
"""Least age of a value that `forget` drops: a thousand refused repositories with one token ask for it once."""

Read = Callable[[Sequence[str]], dict[str, str]]
"""Asks SSM or Secrets Manager (`agent.environment`)."""


@dataclass(frozen=True)
class _Kept:
    value: Secret
    at: float
    dropped: bool = False


class Secrets:
    """Follows references. Safe to share between threads; two that want the same wait for one answer."""

    def __init__(self, *, parameters: Read, secrets: Read, clock: Clock) -> None:
        self._reads: dict[str, Read] = {"ssm": parameters, "secretsmanager": secrets}
        self._clock = clock
        self._lock = threading.Lock()
        self._asking: dict[str, threading.Lock] = {}
        self._kept: dict[str, _Kept] = {}

    def __call__(self, text: str) -> Secret:
        """Return the secret that *text* refers to; a literal is its own. `env` and `file` are read each time.

        Raises `VariableUnresolved`, and `AwsUnavailable` where nothing is kept that may stand in.
        """
        try:
            found = reference(text)
        except ValueError as error:
            raise VariableUnresolved(f"a secret is not referred to rightly: {error}", hint="correct it") from None
        if found.kind not in self._reads:
            return local_secret(found)
        with self._lock:
            asking = self._asking.setdefault(text, threading.Lock())
        with asking:
            return self._current(text, found)

    def forget(self, text: str) -> None:
        """Have *text* asked for anew: what it led to was refused. One that was asked for just now is kept."""
        with self._lock:
            kept = self._kept.get(text)
            if kept is not None and self._clock.monotonic() >= kept.at + ASK_AGAIN_SECONDS:
                self._kept[text] = _Kept(kept.value, kept.at, dropped=True)

    def drop(self, text: str) -> None:
        """Keep nothing of what *text* led to, not even for when AWS does not answer."""
        with self._lock:
            self._kept.pop(text, None)

    def _current(self, text: str, found: Reference) -> Secret:
        with self._lock:
            kept = self._kept.get(text)
        now = self._clock.monotonic()
        if kept is not None and not kept.dropped and now < kept.at + KEEP_SECONDS:
            return kept.value
        try:
            value = Secret(self._reads[found.kind]([found.target])[found.target])
        except AwsUnavailable:
            if kept is None or now >= kept.at + STALE_SECONDS:
                raise
            return kept.value
        with self._lock:
            self._kept[text] = _Kept(value, now)
        return value
