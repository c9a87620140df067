"""Faults: a seeded plan of what goes wrong at the AWS-shaped server, changed while it runs; what it did is counted."""

from __future__ import annotations

import random
import threading
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from fnmatch import fnmatchcase
from typing import Any, Final

from agent.errors import UsageError
from agent.kit.clock import Clock, SystemClock

KINDS: Final[Mapping[str, str]] = {
    "throttle": "refused, too many requests (ThrottlingException 400; SlowDown 503 of S3)",
    "error": "refused, InternalFailure 500",
    "unavailable": "refused, ServiceUnavailable 503",
    "expired": "refused, the credentials have expired (ExpiredTokenException; ExpiredToken of S3)",
    "denied": "refused, AccessDenied",
    "reset": "connection reset before the request was read",
    "hang": "nothing is done and no answer comes for `seconds`; then the connection ends",
    "lost-answer": "done, and the connection reset before the answer",
    "hang-done": "done, and no answer comes for `seconds`; then the connection ends",
    "late": "done, and answered `seconds` later",
    "done-late": "connection reset, and done all the same `seconds` later, when nobody waits for it any more",
    "truncated": "done, and the answer ends in the middle",
    "garbage": "not done, and what comes back is the page of some proxy, with status 200",
    "garbage-done": "done, and what comes back is the page of some proxy, with status 200",
    "unseen": "PutLogEvents: stored, and shown to GetLogEvents only after `seconds` and `reads` of the stream",
    "empty-page": "GetLogEvents: a page without events, and tokens to go on with",
    "partial": "PutEvents: every second entry, beginning with the first, fails by itself",
}
"""Every kind of fault, and what a client sees of it."""
_ONLY: Final = {
    "unseen": ("logs", "PutLogEvents"),
    "empty-page": ("logs", "GetLogEvents"),
    "partial": ("events", "PutEvents"),
}


@dataclass(frozen=True)
class Fault:
    """A rule: what befalls requests of *service* (boto3's name) and *operation* (API's name), both with wildcards.

    `chance`: of each request that it fits; `times`: how often at most; `lasting`: for how many seconds from now on;
    `seconds` and `reads`: see `KINDS`; with any kind that stores a batch of a log, GetLogEvents hides it for so
    many `reads`. `label`: under which name it is counted, by default its kind.
    """

    kind: str
    service: str = "*"
    operation: str = "*"
    chance: float = 1.0
    times: int | None = None
    lasting: float | None = None
    seconds: float = 0.0
    reads: int = 0
    label: str = ""

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise UsageError(f"no such kind of fault: {self.kind!r}", hint=f"one of {', '.join(KINDS)}")

    def fits(self, service: str, operation: str) -> bool:
        """Whether the rule is for such a request."""
        if self.kind in _ONLY and _ONLY[self.kind] != (service, operation):
            return False
        return fnmatchcase(service, self.service) and fnmatchcase(operation, self.operation)

    @classmethod
    def read(cls, document: Mapping[str, Any]) -> Fault:
        """Return the rule that a JSON object holds. Raises `UsageError`."""
        try:
            return cls(**document)
        except TypeError as error:
            raise UsageError(f"not a fault: {error}", hint=f"members: {', '.join(asdict(cls('error')))}") from None


@dataclass
class _Rule:
    fault: Fault
    left: int | None
    until: float | None


class Faults:
    """The rules in force. The first that fits a request and whose chance comes up befalls it. For any thread."""

    def __init__(self, seed: int = 0, clock: Clock | None = None) -> None:
        self._chance = random.Random(seed)  # noqa: S311 (plays accidents, guards nothing)
        self._clock = clock or SystemClock()
        self._lock = threading.Lock()
        self._rules: dict[int, _Rule] = {}
        self._next = 1
        self._counts: Counter[str] = Counter()
        self._places: Counter[str] = Counter()

    def add(self, fault: Fault) -> int:
        """Put a rule in force, behind those that are; return its number."""
        with self._lock:
            number, self._next = self._next, self._next + 1
            until = None if fault.lasting is None else self._clock.monotonic() + fault.lasting
            self._rules[number] = _Rule(fault, fault.times, until)
            return number

    def outage(self, seconds: float, *, kind: str = "reset") -> int:
        """Let everything fail for *seconds*, ahead of all other rules; counted as `outage`."""
        number = self.add(Fault(kind, lasting=seconds, label="outage", seconds=seconds))
        with self._lock:
            self._rules = {number: self._rules.pop(number), **self._rules}
        return number

    def remove(self, number: int) -> None:
        """Take a rule away; one that is not there is no mistake."""
        with self._lock:
            self._rules.pop(number, None)

    def clear(self) -> None:
        """Take all rules away; the counts stay."""
        with self._lock:
            self._rules.clear()

    def draw(self, service: str, operation: str) -> Fault | None:
        """Return what befalls a request, if anything does, and count it."""
        with self._lock:
            now = self._clock.monotonic()
            self._rules = {number: rule for number, rule in self._rules.items() if _holds(rule, now)}
            for rule in self._rules.values():
                fault = rule.fault
                if not fault.fits(service, operation) or self._chance.random() >= fault.chance:
                    continue
                if rule.left is not None:
                    rule.left -= 1
                name = fault.label or fault.kind
                self._counts[name] += 1
                self._places[f"{name} {service}:{operation}"] += 1
                return replace(
                    fault, seconds=min(fault.seconds, (rule.until or 1e9) - now) if fault.label else fault.seconds
                )
            return None

    def report(self) -> dict[str, dict[str, int]]:
        """Return how often each fault was done: `kinds` by name, `places` by name and `service:Operation`."""
        with self._lock:
            return {"kinds": dict(self._counts), "places": dict(self._places)}

    @property
    def rules(self) -> dict[int, Fault]:
        """Return the rules in force by their numbers."""
        with self._lock:
            now = self._clock.monotonic()
            return {number: rule.fault for number, rule in self._rules.items() if _holds(rule, now)}


def _holds(rule: _Rule, now: float) -> bool:
    return rule.left != 0 and (rule.until is None or now < rule.until)
