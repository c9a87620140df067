"""Database: the one door to sqlite3. One connection, one lock, numbered migrations."""

from __future__ import annotations

import os
import re
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from importlib import resources
from pathlib import Path
from typing import Any

from agent.errors import BuildspecdError, DiskFull, StoreTooNew, Unavailable
from agent.model.cause import Cause

Row = Sequence[Any]
_PRAGMAS = (
    "auto_vacuum = INCREMENTAL",  # of a file that is new; see `compact`
    "journal_mode = WAL",
    "synchronous = NORMAL",
    "foreign_keys = ON",
    "cache_size = -2000",
    "journal_size_limit = 16777216",
)
_SMALL = 64 << 20
"""Size in bytes up to which a file is rewritten while everybody waits: about a second."""
_BUSY = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
_MIGRATION = re.compile(r"^(\d{4})_\w+\.sql$")


class Database:
    """The SQLite file of the daemon. Any thread may use it; a transaction holds the lock until it ends.

    *patience* is how many seconds a statement waits for another process (a backup) that holds the file locked; then it
    raises `Unavailable`. With *read_only* the file is taken as it is: nothing is made, migrated or changed.
    """

    def __init__(self, path: Path, *, patience: float = 30.0, read_only: bool = False) -> None:
        self._path = path
        self._lock = threading.RLock()
        self._depth = 0
        self._lasting = False
        if not read_only and path.exists():
            self._refuse_newer()
        with self._translated():
            # isolation_level None: transactions are ours to begin and end
            place = "file::memory:" if path.name == ":memory:" else path.absolute().as_uri()
            where = f"{place}?mode={'memory' if path.name == ':memory:' else 'ro' if read_only else 'rwc'}"
            self._connection = sqlite3.connect(
                where, uri=True, check_same_thread=False, isolation_level=None, timeout=patience
            )
            for pragma in () if read_only else _PRAGMAS:
                self._connection.execute(f"PRAGMA {pragma}")
        if not read_only:
            self._migrate()

    @contextmanager
    def transaction(self, *, lasting: bool = False) -> Iterator[None]:
        """All or nothing when the block ends, whoever kills us then. A block inside a block joins the outer one.

        With *lasting* it outlives a power cut, too, once the outermost block has ended: for what somebody else forgets
        as soon as we have it (a queue's message, a git host's delivery).
        """
        synced = False
        with self._lock, self._translated():
            if self._depth == 0:
                self._connection.execute("BEGIN IMMEDIATE")
            self._depth += 1
            self._lasting = self._lasting or lasting
            try:
                yield
                if self._depth == 1:
                    self._connection.execute("COMMIT")
                    synced = self._lasting
            except BaseException:
                # A full disk may have ended the transaction already; a COMMIT that failed may have left it open.
                if self._depth == 1 and self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise
            finally:
                self._depth -= 1
                if self._depth == 0:
                    self._lasting = False
        if synced:
            self._sync()

    def _sync(self) -> None:
        """Have the write-ahead log on the disk; outside of the lock, so that those who come at once share one write."""
        try:
            log = os.open(f"{self._path}-wal", os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:  # folded in meanwhile, which syncs it; or in memory
            return
        try:
            os.fsync(log)
        except OSError as error:
            raise BuildspecdError(f"{self._path}: {error.strerror}", hint="check the disk") from error
        finally:
            os.close(log)

    def execute(self, sql: str, *values: object) -> int:
        """Run one statement; return how many rows it changed."""
        with self._lock, self._translated():
            return self._connection.execute(sql, values).rowcount

    def rows(self, sql: str, *values: object) -> list[Row]:
        """Return all rows of a query."""
        with self._lock, self._translated():
            return self._connection.execute(sql, values).fetchall()

    def row(self, sql: str, *values: object) -> Row | None:
        """Return the first row of a query, or None."""
        with self._lock, self._translated():
            found: Row | None = self._connection.execute(sql, values).fetchone()
            return found

    def compact(self, pages: int = 2000) -> None:
        """Give up to *pages* pages that hold nothing back to the disk, and fold the write-ahead log in.

        A small file that an older version made is rewritten once, so that it can shrink; in a large one free pages are
        used again, which bounds it, too.
        """
        with self._lock, self._translated():
            if self._depth:
                return
            shrinks, count, size = (
                int((self.row(f"PRAGMA {name}") or (0,))[0]) for name in ("auto_vacuum", "page_count", "page_size")
            )
            if shrinks:
                self._connection.executescript(f"PRAGMA incremental_vacuum({pages})")  # `execute` frees one page
            elif count * size <= _SMALL:
                self._connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
                self._connection.execute("VACUUM")
            self._connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()

    def close(self) -> None:
        """Close the file; the write-ahead log is folded in."""
        with self._lock:
            self._connection.close()

    def _refuse_newer(self) -> None:
        """Raise `StoreTooNew` for a file of a newer version, ahead of the first thing that would change it."""
        with (
            self._translated(),
            closing(sqlite3.connect(f"{self._path.absolute().as_uri()}?mode=ro", uri=True)) as file,
        ):
            have, known = int(file.execute("PRAGMA user_version").fetchone()[0]), len(migrations())
        if have > known:
            raise StoreTooNew(
                f"{self._path} was written by a newer buildspecd (format {have}, this one knows {known})",
                hint="install the newer version again; nothing was changed, and running builds go on",
            )

    def _migrate(self) -> None:
        have = int((self.row("PRAGMA user_version") or (0,))[0])
        scripts = migrations()
        for number, script in enumerate(scripts[have:], start=have + 1):
            with self.transaction():
                for statement in _statements(script):
                    self._connection.execute(statement)
                self._connection.execute(f"PRAGMA user_version = {number}")

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode == sqlite3.SQLITE_FULL:
                raise DiskFull(f"{self._path}: no space left", hint="free some disk space") from error
            if error.sqlite_errorcode in _BUSY:
                raise Unavailable(f"{self._path}: {error}", hint="does a backup hold the database locked?") from error
            hint = "check the disk and the file's permissions"
            raise BuildspecdError(f"{self._path}: {error}", hint=hint, cause=Cause.STATE_DAMAGED) from error
        except sqlite3.DatabaseError as error:
            if isinstance(error, sqlite3.IntegrityError | sqlite3.ProgrammingError):
                raise
            raise BuildspecdError(
                f"{self._path} is damaged: {error}",
                hint="stop the daemon and restore the file from a backup",
                cause=Cause.STATE_DAMAGED,
            ) from error


def migrations() -> list[str]:
    """Return the SQL of every migration, in order; refuses gaps."""
    folder = resources.files("agent.store") / "migrations"
    found = {int(match[1]): item for item in folder.iterdir() if (match := _MIGRATION.match(item.name))}
    if sorted(found) != list(range(1, len(found) + 1)):
        raise BuildspecdError(f"the migrations are not numbered 1 to {len(found)}")
    return [found[number].read_text() for number in sorted(found)]


def _statements(script: str) -> Iterator[str]:
    pending = ""
    for line in script.splitlines(keepends=True):
        pending += line
        if sqlite3.complete_statement(pending):
            yield pending
            pending = ""
