"""Logins: with `git-credential-helper: yes` the build's git enters the servers of its sources (buildspec.md 6.6)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from agent.container.driver import SECRETS_TARGET, USER_TARGET
from agent.errors import BuildspecdError
from agent.kit.files import read_regular, write_atomic
from agent.kit.logging import get_logger
from agent.pipeline import masks
from agent.source.credentials import Remote
from agent.source.logins import helper_configuration, login_blocks, secrets_of, usable

if TYPE_CHECKING:
    from agent.pipeline.job import Job

_log = get_logger("pipeline")
REFRESH_SECONDS = 600.0
"""Pause between two renewals of what was handed out; a password of CodeCommit is good for 15 minutes.

Not shorter than need be: whatever was handed out is masked in the log until the build ends.
"""
HELPER = f"{USER_TARGET}/bin/git-credential-buildspecd"
_LOGINS = "git-logins"
_CONFIGURATION = "gitconfig"


def hand_out(job: Job) -> str:
    """Give the build the logins of its sources, if it asks for them; return the git configuration that leads to them.

    Both lie in memory, where any user of the container may read them. Returns "" for a build that does not ask.
    """
    if not job.plan.variables.git_credential_helper:
        return ""
    job.say("Git credential helper enabled")
    remotes = _remotes(job)
    for remote in remotes:
        if not usable(remote):
            reason = "there is no credential for it" if remote.credential is None else "it is not entered by HTTP"
            job.say(f"warning: git-credential-helper does nothing for {remote.url.text}: {reason}")
    handed = job.paths.handed
    handed.chmod(handed.stat().st_mode | 0o011)  # to be passed through; its files have their own modes
    write_atomic(handed / _CONFIGURATION, helper_configuration(remotes, HELPER).encode(), sync=False)
    _write(job, remotes)
    return f"{SECRETS_TARGET}/{_CONFIGURATION}"


def renew(job: Job) -> None:
    """Replace the logins that were handed out by those that are good now. What goes wrong is tried again later."""
    if not job.plan.variables.git_credential_helper:
        return
    try:
        _write(job, _remotes(job))
    except (BuildspecdError, OSError) as error:  # the build may have made a directory of the file
        _log.warning("the git logins of a build are not renewed", build=job.build.id, error=str(error))


def _remotes(job: Job) -> list[Remote]:
    project = job.build.project
    found = (job.tools.sources.remote(source) for source in (project.source, *project.secondary_sources))
    return [remote for remote in found if remote is not None]


def _write(job: Job, remotes: Sequence[Remote]) -> None:
    file, text = job.paths.handed / _LOGINS, login_blocks(remotes).encode()
    masks.add(job, secrets_of(remotes))
    if file.parent.is_dir() and read_regular(file) != text:  # it is gone after the host was started anew
        write_atomic(file, text, sync=False)
