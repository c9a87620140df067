"""Looks: what a payload does not tell, found out in the repository and at the git host's API."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pydantic import ValidationError

from agent.kit.service import StopToken
from agent.model.project import Project
from agent.source.sources import Sources
from agent.store.hooks import Hooks
from agent.triggers.hooks.approval import RoleOf
from agent.triggers.hooks.asking import pull_ref
from agent.triggers.hooks.event import Event
from agent.triggers.hooks.judge import WHOLE
from agent.triggers.hooks.scope import subject


@dataclass(frozen=True)
class SourceLooks:
    """The `Looks` of a daemon. *stop* breaks off what asks a server for its refs. *role* see `RoleOf`."""

    sources: Sources
    hooks: Hooks
    role_of: RoleOf
    stop: Callable[[], StopToken] = StopToken

    def change(self, project: Project, event: Event) -> tuple[Sequence[str], str]:
        """Return the paths that an event touched, and the message of its head commit."""
        ref, sha = _place(event), self.whole(project, event)
        if event.is_pull_request:
            whole = event.base_sha is not None and len(event.base_sha) == WHOLE
            base = (event.base_sha if whole else event.base_ref) or ""
            found = self.sources.pull_change(project.source, ref, base, sha)
        else:
            found = self.sources.change(project.source, ref, event.previous, sha)
        return found.paths, found.message

    def whole(self, project: Project, event: Event) -> str:
        """Return the whole id of the head commit."""
        sha = event.head_sha or ""
        return sha if len(sha) == WHOLE else self.sources.whole_id(project.source, sha)

    def head(self, project: Project, event: Event) -> str | None:
        """Return what the ref of an event points to now."""
        ref = _place(event)
        return self.sources.heads(project.source, (ref,), self.stop()).refs.get(ref)

    def role(self, project: Project, event: Event) -> str | None:
        """Return the role that the event's actor has now."""
        return self.role_of(project, event)

    def waiting(self, project: Project, number: int) -> Event | None:
        """Return the event of a pull request that waits for approval."""
        document = self.hooks.waiting(subject(project), number)
        try:
            return Event.model_validate_json(document) if document else None
        except ValidationError:
            return None


def _place(event: Event) -> str:
    """Return the ref under which the server shows what an event is about."""
    return (pull_ref(event) if event.is_pull_request else None) or event.head_ref or ""
