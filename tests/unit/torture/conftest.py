"""Fixtures of the tests of the torture room."""

from collections.abc import Iterator

import pytest

from agent.torture.cloud import CloudServer


@pytest.fixture
def cloud() -> Iterator[CloudServer]:
    with CloudServer(seed=7) as server:
        yield server
