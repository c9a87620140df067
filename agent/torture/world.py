"""World: everything that a torture run holds in its hands, and the timers by which it mends what it broke."""

from __future__ import annotations

import heapq
import itertools
import json
import random
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from agent.torture.cloud import CloudProcess
from agent.torture.evidence import Excuses, Window
from agent.torture.forge import Forge, GitServer
from agent.torture.hands import Hands
from agent.torture.recipes import Recipe, draw
from agent.torture.subject import Ground, Json, Subject, settings, write_project

BUCKET = "torture"
HAND = "hand"
"""The project whose builds are asked for by API."""
OVER_HTTP = ("web", "app", "slow")
WEIGHTS: Mapping[str, int] = {"web": 4, "app": 4, "lib": 3, "slow": 1, "tight": 1}
"""Projects with a repository, and how often each is pushed to."""


@dataclass
class World:
    """What there is. `tally` counts faults by kind; `shown` holds places in which a secret was seen."""

    seed: int
    image: str
    ground: Ground
    subject: Subject
    forge: Forge
    server: GitServer
    cloud: CloudProcess
    hands: Hands
    chance: random.Random
    has_own_disk: bool = False
    excuses: Excuses = field(default_factory=Excuses)
    tally: Counter[str] = field(default_factory=Counter)
    secrets: tuple[str, ...] = ()
    shown: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    tokens: dict[str, str] = field(default_factory=dict)
    _timers: list[tuple[float, int, Callable[[], None]]] = field(default_factory=list)
    _numbers: itertools.count[int] = field(default_factory=itertools.count)

    def later(self, seconds: float, act: Callable[[], None]) -> None:
        """Do *act* in *seconds*, or when the faults end, whichever is first."""
        heapq.heappush(self._timers, (time.monotonic() + seconds, next(self._numbers), act))

    def do_due(self, *, everything: bool = False) -> None:
        """Do what is due; with *everything*, what is planned at all, in its order."""
        while self._timers and (everything or self._timers[0][0] <= time.monotonic()):
            heapq.heappop(self._timers)[2]()

    def window(self, kind: str, seconds: float, *causes: str, tears: bool = False) -> None:
        """Note that a fault may befall any build for *seconds* from now on."""
        now = time.time()
        self.excuses.windows.append(Window(kind, now, now + seconds, frozenset(causes), tears))

    def push(self, project: str, recipe: Recipe | None = None, *, forced: bool = False) -> None:
        """Push a commit with a recipe of its own to a project."""
        tag = f"{self.seed:x}-{project}-{len(self.forge.heads[project]) + 1}"
        self.forge.push(project, recipe or draw(self.chance, project, tag), forced=forced)

    def some_project(self) -> str:
        """Return a project to push to."""
        return self.chance.choices(list(WEIGHTS), list(WEIGHTS.values()))[0]

    def by_hand(self) -> Recipe:
        """Return what the builds of the project without a repository do."""
        return Recipe("by-hand", f"{self.seed:x}-{HAND}", 2)

    def write_settings(self) -> None:
        """Write agent.yml as it should be."""
        aside = self.ground.place / "agent.aside"
        aside.write_text(json.dumps(settings(self.ground)))
        aside.rename(self.ground.config)

    def write_projects(self) -> None:
        """Write every project's file as it should be."""
        for name in (*WEIGHTS, HAND):
            write_project(self.ground, self.project(name))

    def project(self, name: str) -> Json:
        """Return the document of a project."""
        source: dict[str, Any] = {"type": "NO_SOURCE", "buildspec": self.by_hand().buildspec()}
        if name != HAND:
            base = self.server.url if name in OVER_HTTP else f"file://{self.forge.root}"
            source = {"type": "GIT", "location": f"{base}/{name}.git"}
        artifacts: dict[str, Any] = {"type": "NO_ARTIFACTS"}
        if name in ("web", "app", "lib"):
            where = {"type": "S3", "location": BUCKET, "path": "artifacts", "namespaceType": "BUILD_ID"}
            artifacts = {**where, "name": "out.zip", "packaging": "ZIP"}
        document: Json = {
            "name": name,
            "source": source,
            "artifacts": artifacts,
            "environment": {"type": "LINUX_CONTAINER", "image": self.image, "computeType": "BUILD_GENERAL1_SMALL"},
            "logsConfig": {
                "cloudWatchLogs": {"status": "ENABLED"},
                "s3Logs": {"status": "ENABLED", "location": f"{BUCKET}/logs"},
            },
            "agent": {"poll": 0 if name == HAND else 1, **({"resources": {"memory": 64}} if name == "tight" else {})},
        }
        if name == "app":
            document["cache"] = {"type": "S3", "location": f"{BUCKET}/cache"}
        if name == "slow":
            document["timeoutInMinutes"] = 0.15
        return document

    def recipes(self) -> dict[str, Recipe]:
        """Return what each commit's build does, by the commit."""
        return {head.sha: head.recipe for heads in self.forge.heads.values() for head in heads}

    def builds(self, status: str | None = None) -> list[Json]:
        """Return all builds that the daemon knows; none when it does not answer."""
        found: list[Json] = []
        if self.subject.ask("State") is None:
            return found
        for name in (*WEIGHTS, HAND):
            found += self.subject.builds(name, status)
        return found
