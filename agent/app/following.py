"""Following: the configuration's own repository, wired."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from agent.app.workshop import Workshop
from agent.daemon.control import ConfigState
from agent.errors import SourceNotFound
from agent.kit.service import StopToken
from agent.model.commitstatus import CommitState, CommitStatus
from agent.model.location import without_login
from agent.model.project import Source
from agent.notify.githosts import GitHost, host_of
from agent.settings.configsource import directory_of
from agent.settings.follower import Follower
from agent.settings.live import LiveConfiguration
from agent.source.sources import Sources
from agent.store.statuses import Statuses

_CONTEXT = "buildspecd configuration"


def follower(workshop: Workshop, live: LiveConfiguration, reload: Callable[[], None]) -> Follower | None:
    """Return the service that follows `config_source`, None where there is none. *reload* reads all files again."""
    wanted = live.settings.config_source
    if wanted.url is None:
        return None
    source = Source(type="GIT", location=wanted.url)

    def tell(commit: str, problems: Sequence[str]) -> None:
        if host := host_of(source):
            Statuses(workshop.database).put([status_of(source, host, commit, problems, workshop.clock.now())])

    return Follower(
        repository=ConfigRepository(workshop.sources, source, wanted.branch),
        place=ConfigState(without_login(wanted.url), wanted.branch or "", wanted.path),
        directory=directory_of(live.settings),
        check=live.check_revision,
        apply=reload,
        tell=tell,
        every=lambda: live.settings.poll.every,
        clock=workshop.clock,
    )


def status_of(source: Source, host: GitHost, commit: str, problems: Sequence[str], at: float) -> CommitStatus:
    """Return what the git host is told of a commit of the configuration. Pure."""
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    return CommitStatus(
        key=f"configuration:{commit}",
        source=source,
        sha=commit,
        state=CommitState.FAILED if problems else CommitState.SUCCEEDED,
        host=host.name,
        context=_CONTEXT,
        description=f"Refused{more}: {problems[0]}" if problems else "Taken up",
        at=at,
    )


@dataclass(frozen=True)
class ConfigRepository:
    """The `Repository` of a Follower, through the mirrors and logins that all sources use. *branch* None: HEAD's."""

    sources: Sources
    source: Source
    branch: str | None

    def head(self, stop: StopToken) -> tuple[str, str]:
        """See `Repository.head`."""
        wanted = f"refs/heads/{self.branch}" if self.branch else None
        heads = self.sources.heads(self.source, (wanted,) if wanted else (), stop)
        ref = wanted or heads.default or "HEAD"
        commit = heads.refs.get(ref) if wanted else heads.head
        if not commit:
            raise SourceNotFound(
                f"{ref} of the configuration's repository does not exist", hint="correct config_source in agent.yml"
            )
        return ref, commit

    def check_out(self, ref: str, commit: str, directory: Path) -> None:
        """See `Repository.check_out`."""
        self.sources.fetch(self.source, commit, directory, lambda _: None, ref=ref)
