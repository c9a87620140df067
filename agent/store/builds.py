"""Builds: saved whole as JSON, with the columns that questions are asked by."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from agent.errors import BuildUnreadable
from agent.kit.logging import get_logger
from agent.model.build import Build
from agent.model.status import Status
from agent.store.database import Database, Row

_log = get_logger("store")
_told: set[str] = set()
"""Builds whose records were found to be unreadable; each is told of once a process."""


@dataclass(frozen=True)
class Brief:
    """What is known of a build without reading its record. `owing`: a sink has still to get its log."""

    id: str
    created: float
    status: Status | None
    owing: bool


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
        """Return the build with exactly this id, or None. Raises `BuildUnreadable`."""
        row = self._database.row("SELECT document, id FROM builds WHERE id = ?", build_id)
        return None if row is None else _read(row)

    def matching(self, name: str) -> list[Build]:
        """Return the builds that *name* may mean: an id, ARN, uuid, the beginning of a uuid, or `project#number`."""
        wanted = name.rpartition(":build/")[2] or name
        exact = self.get(wanted)
        if exact:
            return [exact]
        project, hash_sign, number = wanted.partition("#")
        if hash_sign:
            return self._several("SELECT document, id FROM builds WHERE project = ? AND number = ?", project, number)
        project, _, start = wanted.rpartition(":")
        return self._beginning_with(start, project)

    def open(self) -> list[Build]:
        """Return every build that has not ended and can be read, oldest first."""
        return self._several(
            "SELECT document, id FROM builds WHERE status = ? ORDER BY created, number", Status.IN_PROGRESS.value
        )

    def open_ids(self) -> set[str]:
        """Return the ids of every build that has not ended, also of those whose records cannot be read."""
        query = "SELECT id FROM builds WHERE status = ?"
        return {str(row[0]) for row in self._database.rows(query, Status.IN_PROGRESS.value)}

    def unreadable(self) -> list[str]:
        """Return the ids of the builds that have not ended, or are new, and whose records cannot be read."""
        query = "SELECT document, id FROM builds ORDER BY status = 'IN_PROGRESS' DESC, created DESC LIMIT 1000"
        return [str(row[1]) for row in self._database.rows(query) if _is_unreadable(row)]

    def briefs(self) -> dict[str, Brief]:
        """Return what is known of every build without reading its record, by the part of its id after the colon."""
        return {
            str(row[0]).partition(":")[2]: Brief(str(row[0]), float(row[1]), _status(str(row[2])), bool(row[3]))
            for row in self._database.rows("SELECT id, created, status, owing FROM builds")
        }

    def surplus(
        self, *, before: float | None, count: int | None, least: int, spared: float, limit: int = 500
    ) -> list[str]:
        """Return ids of ended builds that need not be remembered: made before *before*, or beyond *count* of a project.

        Those made since *spared*, the *least* newest of each project and its last successful one are not among them.
        """
        rows = self._database.rows(
            "SELECT id FROM (SELECT id, created, status, number,"
            " row_number() OVER (PARTITION BY project ORDER BY number DESC) AS place,"
            " max(CASE status WHEN 'SUCCEEDED' THEN number END) OVER (PARTITION BY project) AS green FROM builds) "
            "WHERE status != ?1 AND created < ?2 AND place > ?3 AND number IS NOT green "
            "AND (created < ?4 OR place > ?5) ORDER BY created LIMIT ?6",
            Status.IN_PROGRESS.value,
            spared,
            least,
            before,
            count,
            limit,
        )
        return [str(row[0]) for row in rows]

    def forget(self, builds: Iterable[str]) -> None:
        """Remove the records of ended builds, and the requests that they answered. No number is given again."""
        with self._database.transaction():
            for build in builds:
                self._database.execute("DELETE FROM requests WHERE build = ?", build)
                self._database.execute(
                    "DELETE FROM builds WHERE id = ? AND status != ?", build, Status.IN_PROGRESS.value
                )

    def owing(self, since: float) -> list[Build]:
        """Return the ended builds made after *since* whose log some sink has not got whole, oldest first."""
        return self._several("SELECT document, id FROM builds WHERE owing = 1 AND created >= ? ORDER BY created", since)

    def log_lag(self) -> int:
        """Return the bytes of the logs of ended builds that sinks have still to get. Asks the records, reads none."""
        row = self._database.row(
            "SELECT sum(max(0, json_extract(document, '$.logs.bytes') - part.value)) FROM "
            "(SELECT iif(json_valid(document), document, '{}') AS document FROM builds WHERE owing = 1),"
            " json_each(document, '$.logs.delivered') AS part"
        )
        return int(row[0] or 0) if row else 0

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
            "SELECT document, id FROM builds WHERE substr(id, instr(id, ':') + 1) LIKE ?1 || '%' "
            "AND ?2 IN ('', project) ORDER BY created DESC LIMIT 20",
            start,
            project,
        )

    def _several(self, sql: str, *values: object) -> list[Build]:
        return list(_readable(self._database.rows(sql, *values)))

    # The last method: in a class body its name hides the type `list` from the annotations below it.
    def list(self, *, project: str | None = None, status: str | None = None, limit: int = 100) -> list[Build]:
        """Return builds, newest first."""
        return self._several(
            "SELECT document, id FROM builds WHERE (?1 IS NULL OR project = ?1) AND (?2 IS NULL OR status = ?2) "
            "ORDER BY created DESC, number DESC LIMIT ?3",
            project,
            status,
            limit,
        )


def _read(row: Row) -> Build:
    """Return the build of a row (document, id). Raises `BuildUnreadable`."""
    try:
        return Build.model_validate_json(row[0])
    except ValueError as error:
        raise BuildUnreadable(
            f"the record of build {row[1]} cannot be read: {' '.join(str(error).split())[:300]}",
            hint="was builds.db restored, edited, or written by another version? the build is left alone as it is",
        ) from error


def _readable(rows: Iterable[Row]) -> Iterator[Build]:
    """Yield the builds of rows; one that cannot be read is told of once, and takes nobody with it."""
    for row in rows:
        try:
            yield _read(row)
        except BuildUnreadable as error:
            if str(row[1]) not in _told:
                _told.add(str(row[1]))
                _log.error("a build is set aside", error=error.message, hint=error.hint)


def _is_unreadable(row: Row) -> bool:
    try:
        _read(row)
    except BuildUnreadable:
        return True
    return False


def _status(text: str) -> Status | None:
    return Status(text) if text in Status.__members__.values() else None
