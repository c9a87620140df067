"""What a build registers while it runs, read from a file that it may do anything with."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.buildlog.registrations import FILE_LIMIT, LONGEST, MOST_BYTES, MOST_LINES, Registrations


def record(value: str, process: int = 7) -> bytes:
    """Return *value* as `buildspecd-mask` writes it."""
    *lines, last = value.split("\n")
    kinds = [f"l{line}" for line in lines] + [f"p{last}"]
    return "".join(f"{process} {text}\n" for text in ("b", *kinds, "e")).encode()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "registered"


def append(file: Path, data: bytes) -> None:
    with file.open("ab") as out:
        out.write(data)


def test_values_come_once_and_as_soon_as_they_are_whole(file: Path) -> None:
    registrations = Registrations(file)
    assert registrations.fresh() == []
    data = record("first value") + record("two\nlines")
    append(file, data[:20])
    assert registrations.fresh() == []
    append(file, data[20:])
    assert registrations.fresh() == ["first value", "two\nlines"]
    append(file, record("first value"))
    assert registrations.fresh() == []
    assert not registrations.excessive


def test_a_successor_reads_them_all_again(file: Path) -> None:
    append(file, record("first value"))
    assert Registrations(file).fresh() == Registrations(file).fresh() == ["first value"]


def test_processes_that_write_at_once_are_kept_apart(file: Path) -> None:
    one, two = record("value one\nof two", 1).splitlines(True), record("value two\nof two", 2).splitlines(True)
    append(file, b"".join(line for pair in zip(one, two, strict=True) for line in pair))
    assert sorted(Registrations(file).fresh()) == ["value one\nof two", "value two\nof two"]


def test_a_process_that_was_killed_leaves_nothing_to_the_next_of_its_number(file: Path) -> None:
    append(file, b"7 b\n7 phalf a val\n" + record("whole value"))
    assert Registrations(file).fresh() == ["whole value"]


@given(data=st.binary(max_size=200), more=st.binary(max_size=200))
def test_any_rubbish_is_read_without_an_error(
    tmp_path_factory: pytest.TempPathFactory, data: bytes, more: bytes
) -> None:
    file = tmp_path_factory.mktemp("rubbish") / "registered"
    registrations = Registrations(file)
    append(file, data)
    registrations.fresh()
    append(file, more + b"\n" + record("still read"))
    assert "still read" in registrations.fresh()


def test_short_and_huge_and_blank_values_are_passed_over(file: Path) -> None:
    append(file, record("abc") + record("x" * (LONGEST + 1)) + record("    \n   ") + record("\nabcd\n"))
    registrations = Registrations(file)
    assert registrations.fresh() == ["abcd"]
    assert not registrations.excessive


def test_more_than_can_be_masked_is_told(file: Path) -> None:
    append(file, b"".join(record(f"value {index}") for index in range(MOST_LINES + 5)))
    registrations = Registrations(file)
    assert len(registrations.fresh()) == MOST_LINES
    assert registrations.excessive


def test_a_million_times_the_same_value_is_one_value(file: Path) -> None:
    append(file, record("same value") * 10_000)
    registrations = Registrations(file)
    assert registrations.fresh() == ["same value"]
    assert not registrations.excessive


def test_a_file_that_grows_without_end_is_not_read_on(file: Path) -> None:
    with file.open("wb") as out:
        out.truncate(FILE_LIMIT + 1)
    registrations = Registrations(file)
    assert registrations.fresh() == []
    assert registrations.excessive
    assert MOST_BYTES < FILE_LIMIT


def test_what_is_no_regular_file_is_not_read(file: Path) -> None:
    file.symlink_to("/etc/passwd")
    assert Registrations(file).fresh() == []
    file.unlink()
    registrations = Registrations(file)
    registrations.fresh()
    assert registrations.missing


def test_a_file_in_place_of_the_first_is_read_from_its_beginning(file: Path) -> None:
    append(file, record("first value"))
    registrations = Registrations(file)
    registrations.fresh()
    aside = file.with_name("aside")
    append(aside, record("other value"))
    aside.replace(file)
    assert registrations.fresh() == ["other value"]
