"""Held: what a git host shows at a pull request that waits for approval (service.md 2.4 and 3.5)."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from agent.kit.clock import Clock
from agent.model.commitstatus import CommitState, CommitStatus
from agent.model.project import Project
from agent.model.webhook import WebhookFacts
from agent.notify.commit import context_of
from agent.notify.githosts import host_of
from agent.store.statuses import Statuses

WORDS = "Pull request approval required for starting a build"
"""CodeBuild's own."""
_LEFT = re.compile(r"\$\{?(CODEBUILD|AWS)_")


@dataclass(frozen=True)
class HeldStatuses:
    """Keeps the statuses of pull requests that wait; those of their builds have the same name, and take their places.

    *name* is that under which a project's pull requests are kept apart. `put` and `drop` join a transaction.
    """

    statuses: Statuses
    region: Callable[[], str]
    clock: Clock

    def of(self, project: Project, name: str, number: int, sha: str, facts: WebhookFacts) -> CommitStatus | None:
        """Return the status of a pull request whose head is *sha*.

        None where its host takes none, and where only a build has what its name is made of: nothing could ever take
        the place of such a status. Raises what finding out the region does.
        """
        host, region = host_of(project.source), self.region()
        known = {"AWS_REGION": region, "AWS_DEFAULT_REGION": region, **facts.variables()}
        context = context_of(project, region, known)
        if host is None or _LEFT.search(context):
            return None
        return CommitStatus(
            key=_key(name, number),
            source=project.source,
            sha=sha,
            state=CommitState.FAILED,
            host=host.name,
            context=context,
            description=WORDS,
            at=self.clock.now(),
        )

    def put(self, status: CommitStatus) -> None:
        """Have *status* told."""
        self.statuses.put([status])

    def drop(self, name: str, number: int) -> None:
        """Have what was not told yet never be told: the pull request is built now."""
        waiting = self.statuses.get(_key(name, number))
        if waiting is not None:
            self.statuses.drop(waiting)


def _key(name: str, number: int) -> str:
    return f"held:{name}:{number}"
