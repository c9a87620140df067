"""The value of `on-failure`: keyword, count and pattern."""

from __future__ import annotations

import pytest

from agent.buildspec.on_failure import parse_on_failure
from agent.buildspec.plan import OnFailure


@pytest.mark.parametrize(
    ("text", "retries", "pattern"),
    [
        ("RETRY", 3, ".*"),
        ("Retry", 3, ".*"),
        ("RETRY-0", 0, ".*"),
        ("RETRY-100", 100, ".*"),
        ("retry-007", 7, ".*"),
        ("RETRY-.*timeout.*", 3, ".*timeout.*"),
        ("RETRY-2-.*", 2, ".*"),
        ("RETRY-2-a-b", 2, "a-b"),
        ("RETRY-2-3", 2, "3"),
        ("RETRY-3rd party", 3, "3rd party"),
        ("RETRY--x", 3, "-x"),
        (" RETRY-2-a\nb ", 2, "a\nb"),
    ],
)
def test_a_retry_has_a_count_and_a_pattern(text: str, retries: int, pattern: str) -> None:
    assert parse_on_failure(text) == OnFailure(action="RETRY", retries=retries, pattern=pattern)


@pytest.mark.parametrize(("text", "action"), [("ABORT", "ABORT"), ("abort", "ABORT"), ("Continue", "CONTINUE")])
def test_the_keyword_counts_in_any_case(text: str, action: str) -> None:
    assert parse_on_failure(text).action == action


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "none of ABORT"),
        ("STOP", "none of ABORT"),
        ("ABORT-3", "none of ABORT"),
        ("RETRYx", "none of ABORT"),
        ("RETRY_3", "none of ABORT"),
        ("RETRY-", "nothing follows"),
        ("RETRY-3-", "nothing follows"),
        ("RETRY-101", "100 times at most"),
        ("RETRY-" + "9" * 50, "100 times at most"),
        ("RETRY-(", r"its pattern `\(` is not a regular expression: a \( is not closed \(character 1\)"),
        ("RETRY-2-a{99999999999}", "more than 1000 repetitions"),
        ("RETRY-" + "(" * 60 + ")" * 59, "is not closed"),
    ],
)
def test_anything_else_is_refused_with_its_reason(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        parse_on_failure(text)
