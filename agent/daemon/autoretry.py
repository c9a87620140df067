"""Auto-retry: which builds that went wrong are started once more by themselves (service.md 1.2, `autoRetryLimit`)."""

from __future__ import annotations

from dataclasses import dataclass

from agent.daemon.intake import Intake
from agent.kit.logging import get_logger
from agent.model.build import Build
from agent.model.status import Status
from agent.store.builds import Builds
from agent.store.database import Database
from agent.store.queue import Queue

_log = get_logger("autoretry")
RETRIED = frozenset({Status.FAILED, Status.FAULT})
"""A build that ran out of time is FAILED, too. Not retried: one that was stopped, or waited too long in the queue."""


@dataclass(frozen=True)
class AutoRetry:
    """Stores the retry of a build that has just ended; the recorder calls it inside of the transaction of that end.

    So a daemon that is killed has stored both or neither: no retry is lost, and none is doubled.
    """

    database: Database
    intake: Intake

    def __call__(self, ended: Build) -> Build | None:
        """Return the build that was queued in place of *ended*, or None."""
        stop = Queue(self.database).stop_reason(ended.id)
        if not is_wanted(ended, stop=stop) or self._is_overtaken(ended):
            return None
        again = self.intake.once_more(ended, initiator_of(ended))
        _log.info("retrying a build", build=ended.id, retry=again.id, number=again.auto_retry.number)
        return again

    def _is_overtaken(self, ended: Build) -> bool:
        """Whether a newer build of its branch makes this one needless."""
        return ended.project.agent.supersede != "none" and Builds(self.database).has_newer_of_branch(ended)


def is_wanted(ended: Build, *, stop: str) -> bool:
    """Whether the project's limit allows one more retry of *ended*; *stop* is why it was asked to end, if it was. Pure.

    CodeBuild retries nothing that comes from CodePipeline, which has retries of its own.
    """
    return (
        ended.status in RETRIED
        and not stop
        and ended.auto_retry.number < ended.project.auto_retry_limit
        and ended.project.source.type != "CODEPIPELINE"
    )


def initiator_of(failed: Build) -> str:
    """Return who starts the retry: the project's role, in the session that a build gets (service.md 4.6). Pure."""
    role = (failed.project.service_role or "").rpartition("/")[2] or "buildspecd"
    return f"{role}/AWSCodeBuild-{failed.uuid}"
