"""Long answers in pieces of a hundred."""

from __future__ import annotations

import base64

import pytest

from agent.errors import RequestInvalid
from agent.web.pages import newest, page

NAMES = [f"n{number:03}" for number in range(250)]


def test_the_pages_together_are_the_whole_list_and_the_last_has_no_token() -> None:
    first, token = page(NAMES, "q", None)
    second, further = page(NAMES, "q", token)
    third, end = page(NAMES, "q", further)
    assert first + second + third == NAMES
    assert end is None


def test_what_is_added_in_front_meanwhile_moves_nothing() -> None:
    _, token = page(NAMES, "q", None)
    second, _ = page(["new", *NAMES], "q", token)
    assert second[0] == "n100"


def test_a_page_that_is_just_full_has_no_token() -> None:
    assert page(NAMES[:100], "q", None)[1] is None


def test_a_token_of_another_query_is_refused() -> None:
    _, token = page(NAMES, "q", None)
    with pytest.raises(RequestInvalid):
        page(NAMES, "other", token)


@pytest.mark.parametrize("token", ["", "x", "!!", base64.b64encode(b'["n001", "0"]').decode(), "é"])
def test_a_made_up_token_is_refused(token: str) -> None:
    with pytest.raises(RequestInvalid):
        page(NAMES, "q", token)


def test_a_token_of_an_entry_that_is_gone_is_refused() -> None:
    _, token = page(NAMES, "q", None)
    with pytest.raises(RequestInvalid):
        page(NAMES[150:], "q", token)


def test_the_newest_are_read_only_as_far_as_the_page_needs() -> None:
    asked: list[int] = []

    def listed(limit: int) -> list[str]:
        asked.append(limit)
        return NAMES[:limit]

    first, token = newest(listed, "q", None)
    assert asked == [101]
    second, further = newest(listed, "q", token)
    third, end = newest(listed, "q", further)
    assert first + second + third == NAMES
    assert end is None
    assert max(asked) <= 404
