"""Policy: limits are never passed, nobody is overtaken without need, a newer commit makes older builds needless."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.daemon.policy import Limits, ready, superseded
from agent.store.queue import Place

MAIN = "refs/heads/main"


def place(build: str, project: str = "web", ref: str | None = MAIN, owner: str = "") -> Place:
    return Place(build, project, ref, enqueued=0.0, owner=owner, stop="")


def limits(total: int, **projects: int) -> Limits:
    return Limits(total, projects.get)


def started(waiting: list[Place], running: list[Place], most: Limits) -> list[str]:
    return [item.build for item in ready(waiting, running, most)]


def test_the_oldest_builds_start_first() -> None:
    assert started([place("a"), place("b"), place("c")], [], limits(2)) == ["a", "b"]


def test_running_builds_take_places() -> None:
    assert started([place("a"), place("b")], [place("r", owner="me")], limits(2)) == ["a"]


def test_a_full_host_starts_nothing() -> None:
    running = [place("r", owner="me"), place("s", owner="me")]
    assert started([place("a")], running, limits(2)) == []


def test_a_host_whose_limit_was_lowered_starts_nothing_until_enough_have_ended() -> None:
    running = [place(name, owner="me") for name in "rst"]
    assert started([place("a")], running, limits(1)) == []


def test_a_project_at_its_limit_does_not_hold_up_the_others() -> None:
    waiting = [place("a"), place("b"), place("c", "api")]
    assert started(waiting, [], limits(5, web=1)) == ["a", "c"]


def test_running_builds_count_for_their_projects_limit() -> None:
    waiting = [place("a"), place("b", "api")]
    assert started(waiting, [place("r", owner="me")], limits(5, web=1)) == ["b"]


def test_a_project_without_a_limit_may_fill_the_host() -> None:
    assert started([place("a"), place("b"), place("c")], [], limits(3, api=1)) == ["a", "b", "c"]


def test_nothing_waits_nothing_starts() -> None:
    assert started([], [], limits(5)) == []


PROJECTS = st.sampled_from(["web", "api", "docs"])


@given(
    waiting=st.lists(PROJECTS, max_size=12),
    running=st.lists(PROJECTS, max_size=6),
    total=st.integers(1, 8),
    most=st.dictionaries(PROJECTS, st.integers(1, 4)),
)
def test_no_limit_is_ever_passed_and_no_place_is_left_free_without_reason(
    waiting: list[str], running: list[str], total: int, most: dict[str, int]
) -> None:
    places = [place(str(number), project) for number, project in enumerate(waiting)]
    busy = [place(f"r{number}", project, owner="me") for number, project in enumerate(running)]
    chosen = list(ready(places, busy, Limits(total, most.get)))
    now = [*busy, *chosen]
    assert len(chosen) <= max(0, total - len(busy))
    for item in chosen:
        assert sum(other.project == item.project for other in now) <= most.get(item.project, total)
    if len(now) < total:
        for left in [item for item in places if item not in chosen]:
            assert sum(other.project == left.project for other in now) >= most[left.project]


NEWER = place("new")


@pytest.mark.parametrize(
    ("rule", "stopped"),
    [("none", []), ("queued", ["waiting"]), ("running", ["waiting", "running"])],
)
def test_a_newer_build_stops_older_ones_as_the_rule_says(rule: str, stopped: list[str]) -> None:
    places = [place("waiting"), place("running", owner="me"), NEWER]
    assert [item.build for item in superseded(NEWER, places, rule)] == stopped


def test_a_build_of_another_branch_or_project_is_left_alone() -> None:
    places = [place("a", ref="refs/heads/x"), place("b", "api"), place("c", ref=None), NEWER]
    assert list(superseded(NEWER, places, "running")) == []


def test_a_build_without_a_branch_supersedes_nothing() -> None:
    newer = place("new", ref=None)
    assert list(superseded(newer, [place("a", ref=None), newer], "running")) == []
