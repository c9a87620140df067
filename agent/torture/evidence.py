"""Evidence: all that a torture run has found when it is over, as values that the audit judges."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from agent.torture.forge import Head
from agent.torture.recipes import Recipe

Json = dict[str, Any]
SLACK_SECONDS = 45.0
"""For how long after its end a fault may still be why a build ends: what does not answer is tried for so long."""


@dataclass(frozen=True)
class Window:
    """A fault that any build may have met, from when to when (epoch seconds), and the causes that it explains.

    `tears`: the log of a build that met it may lack what its commands wrote (the disk was full, say).
    """

    kind: str
    start: float
    end: float
    causes: frozenset[str]
    tears: bool = False

    def meets(self, build: Json) -> bool:
        """Whether *build* ran while the fault was there, or was at work on it shortly after."""
        return self._overlaps(build, SLACK_SECONDS)

    def tore(self, build: Json) -> bool:
        """Whether *build* ran while the fault was there, and its log may lack something."""
        return self.tears and self._overlaps(build, 1.0)

    def _overlaps(self, build: Json, slack: float) -> bool:
        ended = build.get("endTime") or float("inf")
        return bool(build["startTime"] <= self.end + slack and ended >= self.start - 1)


@dataclass
class Excuses:
    """What was done to builds: to any of them for a while, and to single ones (build id -> cause -> by which fault)."""

    windows: list[Window] = field(default_factory=list)
    single: dict[str, dict[str, str]] = field(default_factory=dict)

    def target(self, build: str, kind: str, *causes: str) -> None:
        """Note that a fault befalls one build."""
        self.single.setdefault(build, {}).update(dict.fromkeys(causes, kind))

    def explain(self, build: Json, cause: str) -> str | None:
        """Return the fault that explains why *build* ended with *cause*; None: there is none."""
        if kind := self.single.get(build["id"], {}).get(cause):
            return kind
        return next((one.kind for one in self.windows if cause in one.causes and one.meets(build)), None)

    def torn(self, build: Json) -> bool:
        """Whether the log of *build* may lack something."""
        return any(one.tore(build) for one in self.windows)


@dataclass(frozen=True)
class Found:
    """One build, and what is known of it outside of the daemon.

    `spool`: its log on this host; `copy`: the object in S3, unpacked (None: there is none); `messages`: what CloudWatch
    has (None: nothing was asked); `artifacts`: objects of the build by key; `events`: what EventBridge took, in order.
    """

    build: Json
    recipe: Recipe | None
    spool: bytes
    copy: bytes | None
    messages: tuple[str, ...]
    artifacts: Mapping[str, bytes] = field(default_factory=dict)
    events: tuple[Json, ...] = ()

    @property
    def id(self) -> str:
        return str(self.build["id"])


@dataclass(frozen=True)
class Evidence:
    """All of it. What is not of a single build was looked for already: each entry is a sentence."""

    heads: Mapping[str, tuple[Head, ...]]
    builds: tuple[Found, ...]
    excuses: Excuses
    exposed: tuple[str, ...] = ()
    left: tuple[str, ...] = ()
    broken: tuple[str, ...] = ()
    """Of the daemons themselves: tracebacks, ends that nobody asked for, too much memory."""


@dataclass(frozen=True)
class Violation:
    """A promise that was not kept. `promise` is that of the house (P1, P2, P3, P7); `build` may be empty."""

    promise: str
    what: str
    build: str = ""


@dataclass
class Verdict:
    """What the audit says. `allowed`: what looks like a violation and is documented as one that cannot be avoided."""

    violations: list[Violation] = field(default_factory=list)
    allowed: list[str] = field(default_factory=list)
    sums: dict[str, int] = field(default_factory=dict)

    def blame(self, promise: str, whats: Iterable[str], build: str = "") -> None:
        """Add violations."""
        self.violations += [Violation(promise, what, build) for what in whats]

    def count(self, name: str, number: int = 1) -> None:
        """Add to a sum."""
        self.sums[name] = self.sums.get(name, 0) + number
