"""The ledger: what was begun, by whom, and what nobody is at any more."""

from __future__ import annotations

from pathlib import Path

from agent.store.ledger import FILE, UPLOAD, Ledger, is_alive, this_process
from tests.unit.store.samples import ManualClock, a_database


def test_what_a_living_process_is_at_is_nobody_elses(tmp_path: Path) -> None:
    ledger = Ledger(a_database(tmp_path), ManualClock())
    entry = ledger.begin(UPLOAD, "bucket", "key")
    assert list(ledger.abandoned()) == []
    ledger.give_up(entry)
    assert [(one.place, one.name, one.mark) for one in ledger.abandoned()] == [("bucket", "key", "")]


def test_what_a_dead_process_had_begun_is_found_until_it_is_struck_out(tmp_path: Path) -> None:
    database = a_database(tmp_path)
    dead = Ledger(database, ManualClock(), owner="another-boot:1:2")
    entry = dead.begin(UPLOAD, "bucket", "key")
    dead.mark(entry, "id")
    ledger = Ledger(database, ManualClock())
    assert [one.mark for one in ledger.abandoned()] == ["id"]
    ledger.strike(entry)
    assert list(ledger.abandoned()) == []


def test_a_directory_with_unfinished_files_stands_in_it_once(tmp_path: Path) -> None:
    ledger = Ledger(a_database(tmp_path), ManualClock(), owner="")
    assert ledger.begin(FILE, "/dir/mark") == ledger.begin(FILE, "/dir/mark")
    assert len(list(ledger.abandoned())) == 1


def test_a_process_with_the_number_of_a_dead_one_is_not_taken_for_it() -> None:
    name = this_process()
    boot, number, started = name.split(":")
    assert is_alive(name)
    assert not is_alive(f"{boot}:{number}:{int(started) + 1}")
    assert not is_alive(f"earlier-boot:{number}:{started}")
    assert not is_alive("")
