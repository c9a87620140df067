"""Which running build a name means."""

from __future__ import annotations

from agent.cli.shell import matching

RUNNING = {
    "web:a1b2c3d4-0000-4000-8000-000000000001": "one",
    "web:a1b2ffff-0000-4000-8000-000000000002": "two",
    "api:99999999-0000-4000-8000-000000000003": "three",
}
FIRST, SECOND, THIRD = RUNNING


def test_a_build_is_named_by_id_arn_or_the_beginning_of_its_uuid() -> None:
    assert matching(FIRST, RUNNING) == [FIRST]
    assert matching(f"arn:aws:codebuild:eu-west-1:123456789012:build/{SECOND}", RUNNING) == [SECOND]
    assert matching("9", RUNNING) == [THIRD]
    assert matching("99999999-0000-4000-8000-000000000003", RUNNING) == [THIRD]


def test_a_beginning_that_several_share_means_all_of_them() -> None:
    assert matching("a1b2", RUNNING) == [FIRST, SECOND]


def test_what_means_no_running_build_is_left_to_the_daemon() -> None:
    assert matching("web#7", RUNNING) == []
    assert matching("", RUNNING) == []
