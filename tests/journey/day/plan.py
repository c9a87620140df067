"""Plan: which repositories there are, who pushes when, and what becomes of the news; all of it from one seed."""

from __future__ import annotations

import random
from dataclasses import dataclass

LATE = 1_000_000
"""The delay of news that comes when all else is over."""
NEVER: tuple[int, ...] = ()

MAIN, WORK = "refs/heads/main", "refs/heads/work"
OBJECT = "object"
"""What is pushed to where a source has no refs: an object in S3."""

KINDS = {
    "http": ("GITHUB_ENTERPRISE", "GITLAB_SELF_MANAGED", "GIT"),
    "codecommit": ("CODECOMMIT",),
    "s3": ("S3",),
    "file": ("GIT",),
}
HOSTS = {"GITHUB_ENTERPRISE": "github_enterprise", "GITLAB_SELF_MANAGED": "gitlab", "GIT": "bitbucket"}
"""The hook that a source of each type is told by."""
WAYS = ("sure", "half", "lost")
"""`sure`: news is doubled and reordered, and nobody polls; `half`: half of it is lost, too; `lost`: all of it."""


@dataclass(frozen=True)
class Plot:
    """One repository and its project. `refs` are those that are pushed to; more than one: the project follows all."""

    name: str
    kind: str
    type: str
    way: str
    refs: tuple[str, ...]
    supersede: str

    @property
    def is_polled(self) -> bool:
        """Whether the agent looks by itself."""
        return self.way != "sure"

    @property
    def hook(self) -> str:
        """The last part of the hook's path; empty: its news comes through a queue."""
        return HOSTS[self.type] if self.kind in ("http", "file") else ""


@dataclass(frozen=True)
class Push:
    """One push: `delays` says after how many more pushes each copy of its news arrives; `forced` rewrites history."""

    plot: Plot
    ref: str
    delays: tuple[int, ...]
    forced: bool = False


@dataclass(frozen=True)
class Plan:
    """The day: `dawn` comes before the agent, then `pushes`; before two (`kills`) it dies, for `away` pushes."""

    plots: tuple[Plot, ...]
    dawn: tuple[Push, ...]
    pushes: tuple[Push, ...]
    kills: tuple[int, ...]
    away: int


def make(seed: int, repositories: int = 50) -> Plan:
    """Return the day of *seed*."""
    chance = random.Random(seed)
    plots = tuple(_plot(number, chance) for number in range(repositories))
    dawn = [Push(plot, plot.refs[0] if plot.refs else OBJECT, _delays(plot, chance)) for plot in plots]
    bursts = [burst for plot in plots for burst in _bursts(plot, chance)]
    chance.shuffle(bursts)
    pushes = [push for burst in bursts for push in burst]
    third = len(pushes) // 3
    kills = (third + chance.randrange(-5, 6), 2 * third + chance.randrange(-5, 6))
    return Plan(plots, tuple(dawn), tuple(pushes), kills, away=len(pushes) // 8)


def _plot(number: int, chance: random.Random) -> Plot:
    kind = list(KINDS)[number % len(KINDS)]
    types = KINDS[kind]
    way = WAYS[number // len(KINDS) % len(WAYS)]
    refs = () if kind == "s3" else (MAIN, WORK) if chance.random() < 0.3 else (MAIN,)
    supersede = "queued" if chance.random() < 0.3 else "none"
    return Plot(f"r{number:02}-{kind}-{way}", kind, chance.choice(types), way, refs, supersede)


def _pushes(plot: Plot, chance: random.Random) -> list[Push]:
    found = []
    for _ in range(chance.choice((1, 1, 1, 2, 3))):
        ref = chance.choice(plot.refs) if plot.refs else OBJECT
        found.append(Push(plot, ref, _delays(plot, chance), forced=bool(plot.refs) and chance.random() < 0.15))
    return found


def _bursts(plot: Plot, chance: random.Random) -> list[list[Push]]:
    """Return the pushes of one repository: each on its own, or all of them so quick that nobody looks in between."""
    pushes = _pushes(plot, chance)
    return [pushes] if chance.random() < 0.5 else [[push] for push in pushes]


def _delays(plot: Plot, chance: random.Random) -> tuple[int, ...]:
    if plot.way == "lost" or (plot.way == "half" and chance.random() < 0.5):
        return NEVER
    first = chance.choice((0, 0, chance.randrange(1, 60)))
    copies = chance.choice((0, 0, 1, 2))
    return (first, *(chance.choice((0, chance.randrange(1, 60), LATE)) for _ in range(copies)))
