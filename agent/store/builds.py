"""Builds: saved whole as JSON, with the columns that questions are asked by."""

from __future__ import annotations

from agent.model.build import Build
from agent.model.status import Status
from agent.store.database import Database


class Builds:
    """The table of builds."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def next_number(self, project: str) -> int:
        """Count up and return the project's next build number. Call it inside the transaction that adds the build."""
        row = self._database.row(
            "INSERT INTO numbers (project, last) VALUES (?, 1) "
            "ON CONFLICT (project) DO UPDATE SET last = last + 1 RETURNING last",
            project,
        )
        assert row is not None
        return int(row[0])

    def add(self, build: Build) -> None:
        """Store a new build."""
        self._database.execute(
            "INSERT INTO builds (id, project, number, status, source_ref, created, document) VALUES (?,?,?,?,?,?,?)",
            build.id,
            build.project.name,
            build.number,
            build.status.value,
            build.source_ref,
            build.start_time,
            build.model_dump_json(),
        )

    def save(self, build: Build) -> None:
        """Store the new state of a build that is there."""
        self._database.execute(
            "UPDATE builds SET status = ?, owing = ?, document = ? WHERE id = ?",
            build.status.value,
            build.complete and build.logs.owing,
            build.model_dump_json(),
            build.id,
        )

    def get(self, build_id: str) -> Build | None:
        """Return the build with exactly this id, or None."""
        row = self._database.row("SELECT document FROM builds WHERE id = ?", build_id)
        return None if row is None else Build.model_validate_json(row[0])

    def matching(self, name: str) -> list[Build]:
        """Return the builds that *name* may mean: an id, ARN, uuid, the beginning of a uuid, or `project#number`."""
        wanted = name.rpartition(":build/")[2] or name
        exact = self.get(wanted)
        if exact:
            return [exact]
        project, hash_sign, number = wanted.partition("#")
        if hash_sign:
            return self._several("SELECT document FROM builds WHERE project = ? AND number = ?", project, number)
        project, _, start = wanted.rpartition(":")
        return self._beginning_with(start, project)

    def open(self) -> list[Build]:
        """Return every build that has not ended, oldest first."""
        return self._several(
            "SELECT document FROM builds WHERE status = ? ORDER BY created, number", Status.IN_PROGRESS.value
        )

    def owing(self, since: float) -> list[Build]:
        """Return the ended builds made after *since* whose log some sink has not got whole, oldest first."""
        return self._several("SELECT document FROM builds WHERE owing = 1 AND created >= ? ORDER BY created", since)

    def last_of(self, project: str) -> Build | None:
        """Return the newest build of a project."""
        found = self.list(project=project, limit=1)
        return found[0] if found else None

    def has_newer_of_branch(self, build: Build) -> bool:
        """Whether a later build of the same project and branch has been asked for."""
        row = self._database.row(
            "SELECT 1 FROM builds WHERE project = ? AND source_ref = ? AND number > ? LIMIT 1",
            build.project.name,
            build.source_ref,
            build.number,
        )
        return row is not None

    def _beginning_with(self, start: str, project: str) -> list[Build]:
        """Return builds whose uuid begins with *start*, of any project if *project* is empty."""
        if len(start) < 4 or not start.replace("-", "").isalnum():
            return []
        return self._several(
            "SELECT document FROM builds WHERE substr(id, instr(id, ':') + 1) LIKE ?1 || '%' "
            "AND ?2 IN ('', project) ORDER BY created DESC LIMIT 20",
            start,
            project,
        )

    def _several(self, sql: str, *values: object) -> list[Build]:
        return [Build.model_validate_json(row[0]) for row in self._database.rows(sql, *values)]

    # The last method: in a class body its name hides the type `list` from the annotations below it.
    def list(self, *, project: str | None = None, status: str | None = None, limit: int = 100) -> list[Build]:
        """Return builds, newest first."""
        return self._several(
            "SELECT document FROM builds WHERE (?1 IS NULL OR project = ?1) AND (?2 IS NULL OR status = ?2) "
            "ORDER BY created DESC, number DESC LIMIT ?3",
            project,
            status,
            limit,
        )
