"""The database: transactions, threads, migrations, and errors that say what to do."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from agent.errors import BuildspecdError, DiskFull, StoreTooNew
from agent.store.cursors import Cursors
from agent.store.database import Database, migrations
from agent.store.queue import Queue
from tests.unit.store.samples import a_database


@pytest.fixture
def database(tmp_path: Path) -> Database:
    return a_database(tmp_path)


def fail_after(database: Database, change: Callable[[], object]) -> None:
    """Make a change in a transaction that fails with a KeyError."""
    with database.transaction():
        change()
        raise KeyError


def test_a_new_file_has_the_newest_format(database: Database) -> None:
    assert database.row("PRAGMA user_version") == (len(migrations()),)


def test_a_file_that_is_there_is_opened_and_not_migrated_again(database: Database, tmp_path: Path) -> None:
    Cursors(database).set("a", "1")
    database.close()
    assert Cursors(a_database(tmp_path)).get("a") == "1"


def test_what_shall_outlive_a_power_cut_is_synced_once_when_the_outermost_block_ends(tmp_path: Path) -> None:
    class Watched(Database):
        synced = 0

        def _sync(self) -> None:
            assert self._depth == 0
            self.synced += 1
            super()._sync()

    database = Watched(tmp_path / "builds.db")
    with database.transaction():
        Cursors(database).set("a", "1")
    assert database.synced == 0
    with database.transaction():
        with database.transaction(lasting=True):
            Cursors(database).set("a", "2")
        assert database.synced == 0
    assert database.synced == 1
    with pytest.raises(KeyError), database.transaction(lasting=True):
        raise KeyError
    with database.transaction():
        Cursors(database).set("a", "3")
    assert database.synced == 1


def test_a_file_of_a_newer_version_is_refused_and_left_as_it_is(database: Database, tmp_path: Path) -> None:
    database.execute(f"PRAGMA user_version = {len(migrations()) + 1}")
    database.close()
    before = (tmp_path / "builds.db").read_bytes()
    with pytest.raises(StoreTooNew) as caught:
        a_database(tmp_path)
    assert str(tmp_path) in caught.value.message
    assert (tmp_path / "builds.db").read_bytes() == before


def test_a_file_that_is_no_database_is_explained(tmp_path: Path) -> None:
    (tmp_path / "builds.db").write_bytes(b"not a database, but long enough to be taken for one" * 100)
    with pytest.raises(BuildspecdError, match="damaged"):
        a_database(tmp_path)


def test_a_directory_that_is_not_there_is_explained(tmp_path: Path) -> None:
    with pytest.raises(BuildspecdError, match=r"builds\.db"):
        a_database(tmp_path / "nowhere")


def test_a_full_disk_is_told_from_other_trouble(database: Database) -> None:
    pages = database.row("PRAGMA page_count")
    assert pages is not None
    database.execute(f"PRAGMA max_page_count = {pages[0]}")
    with pytest.raises(DiskFull):
        Cursors(database).set("a", "x" * 1_000_000)


def test_a_transaction_is_all_or_nothing(database: Database) -> None:
    cursors = Cursors(database)
    with pytest.raises(KeyError):
        fail_after(database, lambda: cursors.set("a", "1"))
    assert cursors.get("a") is None


def test_a_transaction_inside_another_ends_with_the_outer_one(database: Database) -> None:
    cursors = Cursors(database)

    def change() -> None:
        with database.transaction():
            cursors.set("a", "1")

    with pytest.raises(KeyError):
        fail_after(database, change)
    assert cursors.get("a") is None


def test_after_a_transaction_that_failed_the_next_one_works(database: Database) -> None:
    cursors = Cursors(database)
    with pytest.raises(KeyError), database.transaction():
        fail_after(database, lambda: None)
    with database.transaction():
        cursors.set("a", "1")
    assert cursors.get("a") == "1"


def test_after_a_commit_that_failed_the_next_transaction_works(database: Database) -> None:
    cursors = Cursors(database)

    def change() -> None:
        with database.transaction():
            database.execute("PRAGMA defer_foreign_keys = ON")  # so that the COMMIT is what fails
            Queue(database).add("web:nobody", "web", None, 0)

    with pytest.raises(sqlite3.IntegrityError):
        change()
    with database.transaction():
        cursors.set("a", "1")
    assert cursors.get("a") == "1"
    assert Queue(database).places() == []


def test_a_disk_that_fills_inside_a_transaction_undoes_it_and_is_told(database: Database) -> None:
    cursors = Cursors(database)
    pages = database.row("PRAGMA page_count")
    assert pages is not None
    database.execute(f"PRAGMA max_page_count = {pages[0]}")

    def change() -> None:
        cursors.set("a", "small")
        cursors.set("b", "x" * 1_000_000)

    with pytest.raises(DiskFull):
        fail_after(database, change)
    assert cursors.get("a") is None
    database.execute(f"PRAGMA max_page_count = {pages[0] + 1000}")
    with database.transaction():
        change()
    assert cursors.get("a") == "small"


def test_another_process_sees_nothing_of_a_transaction_before_its_end(database: Database, tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "builds.db") as other, database.transaction():
        Cursors(database).set("a", "1")
        assert other.execute("SELECT count(*) FROM cursors").fetchone() == (0,)


def test_many_threads_lose_no_update(database: Database) -> None:
    cursors = Cursors(database)
    cursors.set("n", "0")

    def count() -> None:
        for _ in range(50):
            with database.transaction():
                cursors.set("n", str(int(cursors.get("n") or 0) + 1))

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert cursors.get("n") == "200"


def test_what_was_committed_is_there_after_a_process_died(tmp_path: Path) -> None:
    """A second connection stands for the next process; the first is never closed."""
    dead = a_database(tmp_path)
    Cursors(dead).set("a", "1")
    assert Cursors(a_database(tmp_path)).get("a") == "1"


def test_a_cursor_that_was_never_set_is_none(database: Database) -> None:
    assert Cursors(database).get("a") is None


def test_a_cursor_holds_what_was_set_last(database: Database) -> None:
    cursors = Cursors(database)
    cursors.set("a", "1")
    cursors.set("a", "2")
    cursors.set("b", "3")
    assert (cursors.get("a"), cursors.get("b")) == ("2", "3")
