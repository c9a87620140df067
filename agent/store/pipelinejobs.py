"""PipelineJobs: the jobs that CodePipeline handed to this agent, so that a kill loses none and none is done twice."""

from __future__ import annotations

from agent.model.pipelinejob import StoredJob
from agent.store.database import Database


class PipelineJobs:
    """A small table; those that are done stay for a while, since a job may be handed out again."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def put(self, job: StoredJob) -> None:
        """Store *job* as it is now."""
        self._database.execute(
            "INSERT OR REPLACE INTO pipeline_jobs (job, state, build, changed, document) VALUES (?,?,?,?,?)",
            job.job.id,
            job.state,
            job.build,
            job.changed,
            job.model_dump_json(),
        )

    def get(self, job: str) -> StoredJob | None:
        """Return the job of that id, or None."""
        row = self._database.row("SELECT document FROM pipeline_jobs WHERE job = ?", job)
        return None if row is None else StoredJob.model_validate_json(row[0])

    def open(self) -> list[StoredJob]:
        """Return the jobs of which CodePipeline is still owed something, oldest change first."""
        rows = self._database.rows("SELECT document FROM pipeline_jobs WHERE state <> 'done' ORDER BY changed, rowid")
        return [StoredJob.model_validate_json(document) for (document,) in rows]

    def of_build(self, build: str) -> StoredJob | None:
        """Return the job under which a build runs now: the last one, where it went on in another."""
        row = self._database.row(
            "SELECT document FROM pipeline_jobs WHERE build = ? AND state IN ('building', 'continuing') "
            "ORDER BY state = 'building' DESC, changed DESC LIMIT 1",
            build,
        )
        return None if row is None else StoredJob.model_validate_json(row[0])

    def drop(self, job: str) -> None:
        """Forget a job that was never ours."""
        self._database.execute("DELETE FROM pipeline_jobs WHERE job = ?", job)

    def prune(self, before: float) -> int:
        """Forget what has not changed since *before*, and is owed nothing any more; return how many."""
        return self._database.execute(
            "DELETE FROM pipeline_jobs WHERE state IN ('done', 'continuing') AND changed < ?", before
        )
