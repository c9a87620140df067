"""Whose turn it is: rhythm, servers with trouble, and what a thousand repositories cost."""

from __future__ import annotations

import random

from agent.errors import GitUnavailable, SourceNotFound
from agent.model.project import Environment, Project, Source
from agent.triggers.rounds import LONGEST_PAUSE, PER_HOST, Rounds
from agent.triggers.target import PollTarget


class Still(random.Random):
    """Chance that spreads nothing."""

    def uniform(self, a: float, b: float) -> float:
        return (a + b) / 2


def target(name: str, host: str = "h", *, every: float = 30, slowest: float = 0) -> PollTarget:
    source = Source(type="GIT", location=f"https://{host}/{name}.git")
    return PollTarget(Project(name=name, source=source, environment=Environment(image="i")), every, slowest)


def rounds(*targets: PollTarget, now: float = 0.0) -> Rounds:
    found = Rounds(Still())
    found.take_up(targets, now)
    return found


def names(started: Rounds, now: float) -> list[str]:
    return [one.project.name for one in started.start(now)]


def test_each_project_comes_back_after_its_own_pause() -> None:
    often, seldom = target("often", every=10), target("seldom", every=100)
    turn = rounds(often, seldom)
    assert sorted(names(turn, 1)) == ["often", "seldom"]
    turn.ended(often, None, 1, changed=True)
    turn.ended(seldom, None, 1, changed=True)
    assert names(turn, 10.9) == []
    assert turn.pause(10.9) < 0.2
    assert names(turn, 11) == ["often"]
    assert names(turn, 101) == ["seldom"]


def test_the_first_looks_at_many_projects_are_spread() -> None:
    turn = rounds(*(target(f"p{number}", f"h{number}") for number in range(500)))
    assert len(names(turn, 0)) == 1
    assert 95 <= len(names(turn, 2)) <= 101
    assert len(names(turn, 10)) > 390


def test_a_sleeping_project_is_looked_at_more_seldom_and_a_change_wakes_it() -> None:
    one = target("web", slowest=120)
    turn, now = rounds(one), 0.0
    pauses = []
    while now < 8000:
        assert names(turn, now) == ["web"]
        turn.ended(one, None, now, changed=False)
        pauses.append(turn.pause(now))
        now += turn.pause(now)
    assert (round(pauses[0]), round(pauses[-1])) == (30, 120)
    assert pauses == sorted(pauses)
    assert names(turn, now) == ["web"]
    turn.ended(one, None, now, changed=True)
    assert round(turn.pause(now)) == 30


def test_a_server_has_a_bounded_number_of_looks_and_the_next_ones_follow() -> None:
    many = [target(f"p{number}") for number in range(PER_HOST + 3)]
    turn = rounds(*many, target("other", "elsewhere"))
    first = names(turn, 100)
    assert len(first) == PER_HOST + 1
    assert "other" in first
    done = next(one for one in many if one.project.name in first)
    turn.ended(done, None, 101, changed=False)
    assert len(names(turn, 101)) == 1


def test_a_server_with_trouble_is_left_alone_longer_and_longer_and_asked_by_one_at_a_time() -> None:
    many = [target(f"p{number}") for number in range(4)]
    turn = rounds(*many)
    by_name = {one.project.name: one for one in many}
    away = GitUnavailable("away")
    for name in names(turn, 10):
        turn.ended(by_name[name], away, 10, changed=False)
    assert names(turn, 39) == []
    asked = names(turn, 41)
    assert len(asked) == 1, "four failures at once are one trouble"
    turn.ended(by_name[asked[0]], away, 41, changed=False)
    assert names(turn, 41 + 59) == []
    (again,) = names(turn, 41 + 62)
    turn.ended(by_name[again], None, 103, changed=False)
    assert len(names(turn, 170)) == 4, "it is well again"


def test_a_server_that_asks_for_a_rest_gets_it() -> None:
    one, other = target("web"), target("shop")
    turn = rounds(one, other)
    assert len(names(turn, 1)) == 2
    limited = GitUnavailable("429")
    limited.retry_after = 500
    turn.ended(one, limited, 1, changed=False)
    turn.ended(other, None, 1, changed=False)
    assert names(turn, 490) == []
    assert len(names(turn, 510)) == 1


def test_a_repository_that_is_gone_is_asked_for_less_and_less_often() -> None:
    one = target("web")
    turn, now, pauses = rounds(one), 0.0, []
    for _ in range(8):
        assert names(turn, now) == ["web"]
        turn.ended(one, SourceNotFound("gone"), now, changed=False)
        pauses.append(round(turn.pause(now)))
        now += turn.pause(now)
    assert pauses == [30, 60, 120, 240, 480, 900, 900, LONGEST_PAUSE]


def test_a_nudge_while_it_is_looked_at_brings_another_look() -> None:
    one = target("web", every=3600)
    turn = rounds(one)
    assert names(turn, 1) == ["web"]
    turn.nudge("web", 1)
    turn.nudge("nobody", 1)
    assert names(turn, 2) == []
    turn.ended(one, None, 2, changed=False)
    assert names(turn, 2) == ["web"]


def test_projects_come_and_go_while_others_are_looked_at() -> None:
    one, other = target("web"), target("shop")
    turn = rounds(one, other)
    names(turn, 1)
    turn.take_up([other], 1)
    assert not turn.ended(one, None, 1, changed=False)
    assert turn.ended(other, None, 1, changed=False)
    turn.take_up([target("shop", every=5)], 2)
    assert "shop" in names(turn, 7.1)


def test_the_same_list_costs_nothing_however_long_it_is() -> None:
    many = [target(f"p{number}", f"h{number % 7}") for number in range(1000)]
    turn = rounds(*many)

    class Untouchable(list[PollTarget]):
        def __iter__(self) -> object:  # type: ignore[override]
            raise AssertionError("it was read again")

    listed = Untouchable(many)
    turn._listed = listed
    turn.take_up(listed, 1)
