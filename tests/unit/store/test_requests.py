"""Requests: asking twice is one build, and keys are forgotten in time."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.store.requests import Requests
from tests.unit.store.samples import NOON, a_database


@pytest.fixture
def requests(tmp_path: Path) -> Requests:
    return Requests(a_database(tmp_path))


def test_a_key_that_was_never_seen_stands_for_nothing(requests: Requests) -> None:
    assert requests.find("k") is None


def test_a_key_stands_for_the_build_it_was_remembered_with(requests: Requests) -> None:
    requests.remember("k", "web:1", "print", NOON)
    assert requests.find("k") == ("web:1", "print")


def test_a_key_is_too_old_before_the_moment_that_is_asked_for(requests: Requests) -> None:
    requests.remember("k", "web:1", "", NOON)
    assert requests.find("k", since=NOON) is not None
    assert requests.find("k", since=NOON + 1) is None


def test_a_key_that_is_used_again_stands_for_the_newer_build(requests: Requests) -> None:
    requests.remember("k", "web:1", "a", NOON)
    requests.remember("k", "web:2", "b", NOON + 400)
    assert requests.find("k", since=NOON + 400) == ("web:2", "b")


def test_pruning_forgets_the_old_and_keeps_the_young(requests: Requests) -> None:
    requests.remember("old", "web:1", "", NOON)
    requests.remember("young", "web:2", "", NOON + 10)
    assert requests.prune(NOON + 10) == 1
    assert requests.find("old") is None
    assert requests.find("young") is not None
