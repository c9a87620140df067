"""Arrivals: AWS events meet the projects that they concern, and become the same requests that polling makes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from agent.errors import BuildspecdError, ProjectUnknown, RequestInvalid, SourceNotFound, SourceRefused, UserError
from agent.kit.logging import get_logger
from agent.kit.service import StopToken
from agent.model.project import Project
from agent.model.request import BuildRequest
from agent.model.webhook import WebhookFacts
from agent.objects.location import parse_object
from agent.source import url
from agent.triggers import changes, filters
from agent.triggers.changes import Change
from agent.triggers.events import GitPush, Happening, PullRequest, Upload
from agent.triggers.poll import ChangeOf
from agent.triggers.pushes import Pushes

_log = get_logger("sqs")

INITIATOR = "buildspecd/sqs"
_NO_COMMIT = "0" * 40
_POINTLESS = (SourceNotFound, ProjectUnknown, RequestInvalid)
"""What a second try cannot change: the object or the repository is gone, the project too, or its filter is wrong."""


@dataclass
class Arrivals:
    """Takes in what events say. What it is told twice, late or out of order is built once.

    A push goes through `Pushes`. A write to S3 makes the poller look at the sources that it concerns (*look*, which is
    `Poll.look_at_upload`): whatever the event says, what lies there now is built, if it has not been. A pull request is
    built where `filterGroups` let it through, once for each event and commit.
    """

    projects: Callable[[], Iterable[Project]]
    pushes: Pushes
    submit: Callable[[BuildRequest], object]
    look: Callable[[Project, StopToken, str], object]
    change: ChangeOf
    initiator: str = INITIATOR

    def take(self, happening: Happening, stop: StopToken) -> None:
        """Take in one happening for every project that it concerns; all is stored when this returns.

        What fails for one project holds up no other; then the first error is raised, and all may be told again.
        """
        failed: BuildspecdError | None = None
        for project in list(self.projects()):
            if stop.is_set or not concerns(happening, project):
                continue
            try:
                reason = self._take(happening, project, stop)
            except _POINTLESS as error:
                reason = error.message
            except BuildspecdError as error:
                failed = failed or error
                continue
            if reason:
                _log.info("an event starts no build", project=project.name, what=_shown(happening), reason=reason)
        if failed is not None:
            raise failed

    def _take(self, happening: Happening, project: Project, stop: StopToken) -> str:
        match happening:
            case GitPush():
                told = Change(happening.ref, happening.old, happening.new)
                return self.pushes.told(project, told, lambda change: self._push(project, change, happening), stop)
            case PullRequest():
                return self._pull_request(project, happening)
            case Upload():
                self.look(project, stop, self.initiator)
                return ""

    def _push(self, project: Project, change: Change, told: GitPush) -> BuildRequest | None:
        seen = filters.Push(
            head_ref=change.ref,
            actor=told.actor,
            repository=told.repository,
            change=lambda: self.change(project.source, change.ref, change.old, change.new),
        )
        if not filters.passes(project, seen):
            return None
        facts = WebhookFacts(
            event="PUSH",
            actor_account_id=told.actor,
            head_ref=change.ref,
            trigger=_trigger(change.ref),
            prev_commit=change.old or _NO_COMMIT,
        )
        return changes.request_for(project, change).evolve(initiator=self.initiator, webhook=facts)

    def _pull_request(self, project: Project, told: PullRequest) -> str:
        if project.webhook is None or not project.webhook.filter_groups:
            return "pull requests are built where filterGroups name their events"
        seen = filters.Push(
            event=told.event,
            head_ref=told.head_ref,
            base_ref=told.base_ref,
            actor=told.actor,
            repository=told.repository,
            change=lambda: self.change(project.source, told.head_ref, None, told.head_sha),
        )
        if not filters.passes(project, seen):
            return "no filter group lets it through"
        facts = WebhookFacts(
            event=told.event,
            actor_account_id=told.actor,
            base_ref=told.base_ref,
            head_ref=told.head_ref,
            trigger=f"pr/{told.number}",
        )
        self.submit(
            BuildRequest(
                project=project.name,
                source_version=told.head_sha,
                source_ref=told.head_ref,
                initiator=self.initiator,
                dedupe_key=f"pr:{project.name}:{told.number}:{told.event}:{told.head_sha}",
                webhook=facts,
            )
        )
        return ""


def concerns(happening: Happening, project: Project) -> bool:
    """Whether a project builds what something happened to: its primary source, as polling has it. Pure."""
    location, kind = project.source.location or "", project.source.type
    if isinstance(happening, Upload):
        return kind == "S3" and not project.source_version and _holds(location, happening)
    if kind not in ("CODECOMMIT", "GIT"):
        return False
    return (happening.region, happening.repository) in _repositories(location)


def _holds(location: str, upload: Upload) -> bool:
    """Whether a write is to the object, or below the folder, that a source in S3 names."""
    try:
        place = parse_object(location)
    except UserError:
        return False
    if place.store != upload.bucket:
        return False
    return upload.key.startswith(place.key) if place.is_prefix else upload.key == place.key


def _repositories(location: str) -> Iterator[tuple[str, str]]:
    """Yield region and name of the CodeCommit repository at *location*, over HTTPS or SSH, if it is one."""
    try:
        address, _ = url.parse(location)
    except SourceRefused:
        return
    region = address.codecommit_region
    if address.scheme == "ssh" and address.host.startswith("git-codecommit.") and ".amazonaws.com" in address.host:
        region = address.host.split(".")[1]
    head, _, name = address.path.rpartition("/")
    if region and head.strip("/") == "v1/repos":
        yield region, name


def _trigger(ref: str) -> str | None:
    for prefix, kind in (("refs/heads/", "branch"), ("refs/tags/", "tag")):
        if ref.startswith(prefix):
            return f"{kind}/{ref.removeprefix(prefix)}"
    return None


def _shown(happening: Happening) -> str:
    match happening:
        case GitPush():
            return f"{happening.repository} {happening.ref} {happening.new}"
        case PullRequest():
            return f"{happening.repository} pr/{happening.number} {happening.event}"
        case Upload():
            return f"{happening.bucket}/{happening.key}"
