"""On-failure: the text of a phase's `on-failure` key as a decision (buildspec.md 4.5)."""

from __future__ import annotations

import re

from agent.buildspec import patterns
from agent.buildspec.plan import OnFailure
from agent.buildspec.problems import shown

ANYTHING = ".*"
DEFAULT_RETRIES = 3
MOST_RETRIES = 100
_RETRY = re.compile(r"retry(?:-(?:(?P<count>\d+)(?=-|\Z)-?)?(?P<pattern>.*))?", re.IGNORECASE | re.DOTALL | re.ASCII)


def parse_on_failure(text: str) -> OnFailure:
    """Return what *text* asks for: ABORT, CONTINUE, RETRY, RETRY-count, RETRY-regex or RETRY-count-regex.

    The keyword counts in any case. Raises ValueError, whose text says what is wrong.
    """
    text = text.strip()
    keyword = text.upper()
    if keyword == "ABORT":
        return OnFailure(action="ABORT")
    if keyword == "CONTINUE":
        return OnFailure(action="CONTINUE")
    match = _RETRY.fullmatch(text)
    if match is None:
        raise ValueError("it is none of ABORT, CONTINUE, RETRY, RETRY-<count>, RETRY-<regex>, RETRY-<count>-<regex>")
    return _retry(match["count"], match["pattern"], text)


def _retry(count: str | None, pattern: str | None, text: str) -> OnFailure:
    if text.endswith("-") and not pattern:
        raise ValueError("nothing follows its last dash")
    if count is not None and (len(count) > len(str(MOST_RETRIES)) or int(count) > MOST_RETRIES):
        raise ValueError(f"a phase is retried {MOST_RETRIES} times at most")
    pattern = pattern or ANYTHING
    try:
        patterns.doubts(pattern)
    except patterns.PatternMistake as mistake:
        raise ValueError(f"its pattern `{shown(pattern)}` is not a regular expression: {mistake}") from None
    return OnFailure(action="RETRY", retries=DEFAULT_RETRIES if count is None else int(count), pattern=pattern)
