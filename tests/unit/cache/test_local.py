"""Local caches: who may use which directory, for how long, and what is said of what the container answers."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from agent.cache.local import KEEP_SECONDS, LocalCaches, Slot, directory_of, folder_of, tell


@pytest.fixture
def caches(tmp_path: Path) -> LocalCaches:
    return LocalCaches(tmp_path / "cache")


def take(caches: LocalCaches, build: str, project: str = "web") -> Slot:
    return caches.take(project, build, "image:1")


def number(slot: Slot) -> str:
    return slot.root.name


def age(slot: Slot, seconds: float) -> float:
    """Make *slot* look untouched for *seconds*; return the time now."""
    now = slot.root.stat().st_mtime
    os.utime(slot.root, (now - seconds, now - seconds))
    return now


def test_builds_at_once_have_slots_of_their_own_and_the_lowest_free_one_is_taken(caches: LocalCaches) -> None:
    slots = [take(caches, f"web:{number}") for number in range(3)]
    assert [number(slot) for slot in slots] == ["0-0", "0-1", "0-2"]
    caches.free(slots[1], "web:1")
    caches.free(slots[2], "web:2")
    assert number(take(caches, "web:3")) == "0-1"
    assert number(take(caches, "api:1", "api")) == "0-0"


def test_a_build_finds_its_slot_again_whoever_asks(caches: LocalCaches, tmp_path: Path) -> None:
    take(caches, "web:1")
    mine = take(caches, "web:2")
    caches.free(take(caches, "web:1"), "web:1")
    again = LocalCaches(tmp_path / "cache")
    assert again.take("web", "web:2", "image:2") == mine == again.held("web", "web:2")
    assert again.held("web", "web:1") is None
    assert again.owners() == {mine: "web:2"}


def test_a_slot_is_given_back_by_its_owner_alone_and_keeps_what_is_in_it(caches: LocalCaches) -> None:
    slot = take(caches, "web:1")
    (slot.custom / "jar").write_text("kept")
    caches.free(slot, "web:2")
    assert slot.owner == "web:1"
    for _ in range(2):
        caches.free(slot, "web:1")
    assert take(caches, "web:2").custom.joinpath("jar").read_text() == "kept"


def test_many_builds_that_start_at_once_never_share_a_slot(caches: LocalCaches) -> None:
    found: list[Slot] = []
    threads = [threading.Thread(target=lambda n=n: found.append(take(caches, f"web:{n}"))) for n in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({slot.root for slot in found}) == 12


def test_only_the_parts_for_builds_can_be_entered_by_others(caches: LocalCaches, tmp_path: Path) -> None:
    slot = take(caches, "web:1")
    modes = {path.name: path.stat().st_mode & 0o777 for path in (tmp_path / "cache", slot.root, slot.custom)}
    assert modes == {"cache": 0o700, "0-0": 0o700, "custom": 0o755}


def test_what_was_invalidated_is_seen_by_no_later_build_and_by_a_running_one_to_its_end(caches: LocalCaches) -> None:
    slot = take(caches, "web:1")
    assert (caches.invalidate("web"), caches.invalidate("web"), caches.generation("web")) == (1, 2, 2)
    assert take(caches, "web:1") == slot
    assert number(take(caches, "web:2")) == "2-0"
    assert caches.retire(0) == []
    caches.free(slot, "web:1")
    (gone,) = caches.retire(0)
    assert (slot.root.exists(), gone.image) == (False, "image:1")
    assert caches.retire(0) == [gone], "it is told until it is removed"


def test_a_project_without_caches_can_be_invalidated(caches: LocalCaches) -> None:
    assert caches.generation("web") == 0
    assert caches.invalidate("web") == 1
    assert number(take(caches, "web:1")) == "1-0"


def test_a_slot_goes_when_nobody_has_used_it_for_long(caches: LocalCaches, tmp_path: Path) -> None:
    used, unused = take(caches, "web:1"), take(caches, "web:2")
    now = age(used, 2 * KEEP_SECONDS)
    caches.free(unused, "web:2")
    age(unused, KEEP_SECONDS - 60)
    assert caches.retire(now) == []
    assert len(caches.retire(now + 3600)) == 1
    assert (used.root.exists(), unused.root.exists()) == (True, False)
    assert LocalCaches(tmp_path / "nothing").retire(now) == []


@pytest.mark.parametrize("path", ["deps", "deps/", "./deps", "deps/*", "deps/**", "deps/**/*", "a/../deps/**/*"])
def test_all_spellings_of_a_directory_are_one(path: str) -> None:
    assert directory_of(path) == "deps"
    assert folder_of(path) == folder_of("deps") != folder_of("/deps")


@pytest.mark.parametrize(
    ("path", "directory"),
    [
        ("**/*", "."),
        ("", "."),
        (".", "."),
        ("/", "/"),
        ("/**/*", "/"),
        ("/root/.m2/**/*", "/root/.m2"),
        ("../x", "../x"),
        ("$HOME/${A}/**/*", "$HOME/${A}"),
        ("**/node_modules/**/*", "**/node_modules"),
        ("deps/*.jar", "deps/*.jar"),
    ],
)
def test_a_cache_path_means_a_directory(path: str, directory: str) -> None:
    assert directory_of(path) == directory


def told(*answers: str | None) -> tuple[str, list[str]]:
    lines: list[str] = []
    return tell(answers, lines.append).restored, lines


def test_links_are_told_in_codebuilds_words() -> None:
    assert told("miss\n/src/deps\n/cache/1/deps\n", "hit\n/root/.m2\n/cache/2/root/.m2\n") == (
        "hit",
        [
            "MkdirAll: /cache/1/deps",
            "Symlinking: /src/deps => /cache/1/deps",
            "MkdirAll: /cache/2/root/.m2",
            "Symlinking: /root/.m2 => /cache/2/root/.m2",
        ],
    )
    assert told("miss\n/src/deps\n/cache/1/deps\n")[0] == "miss"


def test_whatever_the_build_answers_is_a_line_and_no_more() -> None:
    restored, lines = told("file\n/a\n\n", "refused\n/etc\n\n", "absent\n/b\n\n", "covered\n/c\n\n", "", None)
    assert restored == "off"
    assert lines[0] == "Unable to initialize cache download: only directories can be cached locally: /a"
    assert len(lines) == 6
    (line,) = told("forged\n/x\n" + "one\ntwo " * 1000)[1]
    assert (len(line) < 600, "\n" in line) == (True, False)
