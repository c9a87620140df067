"""Guarding: builds run where they cannot reach the credentials of this host, or it is said loudly that they can.

The rules are another program's (`buildspecd guard`), which may change the firewall; the daemon may not.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from agent.container.engine import Engine
from agent.container.imds import Verdict, lies_in_its_cgroup, parent_of
from agent.errors import GuardMissing

Wanted = Literal["auto", "require", "off"]
REMEDY = "sudo systemctl enable --now buildspecd-guard (or run, as root: buildspecd guard)"


@dataclass
class BuildGuard:
    """`pipeline.toolbox.Guarded`. *exposed*: this host has a metadata service. *verdict*: what the guard says now."""

    wanted: Wanted
    engine: Engine
    exposed: bool
    verdict: Callable[[], Verdict]
    root: Path | None
    _parent: str | None = None

    def parent(self) -> str | None:
        """See `Guarded.parent`. Nothing is changed on hosts that have nothing to guard and no guard."""
        if self.wanted == "off" or (self.wanted == "auto" and not self.exposed and not self.verdict().holds):
            return None
        if self._parent is None:
            self._parent = parent_of(self.engine.facts().cgroup_driver)
        return self._parent

    def check(self, privileged: bool) -> str:
        """See `Guarded.check`."""
        if self.wanted == "off":
            return ""
        verdict = self.verdict()
        if not verdict.holds:
            if self.wanted == "require":
                raise GuardMissing(f"builds could reach the credentials of this host: {verdict.problem}", hint=REMEDY)
            return (
                f"warning: this build can reach the credentials of its host: {verdict.problem}" if self.exposed else ""
            )
        if privileged:
            return "warning: a privileged build can undo what keeps it from the credentials of its host"
        return ""

    def see(self, container: str) -> None:
        """See `Guarded.see`."""
        if self.wanted == "require" and not lies_in_its_cgroup(container, self.root):
            raise GuardMissing(
                f"container {container[:12]} is not in the cgroup of builds, so the rules do not concern it",
                hint="the Docker engine must run on this host, with cgroups of version 2: docker info",
            )
