"""Permission: what a refusal of AWS should say, so that whoever reads it knows what to allow."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from agent.aws import AwsRefused


@contextmanager
def naming(hint: str) -> Iterator[None]:
    """Give an `AwsRefused` out of the block *hint*, unless it knows better what to do (a wrong clock, wrong keys)."""
    try:
        yield
    except AwsRefused as error:
        error.hint = error.hint or hint
        raise
