"""Fixtures of the tests of the log."""

from collections.abc import Iterator

import pytest

from tests.unit.buildlog.parts import StrictLogs, moto_server


@pytest.fixture(scope="session")
def moto_url() -> Iterator[str]:
    with moto_server() as url:
        yield url


@pytest.fixture
def logs(moto_url: str) -> StrictLogs:
    return StrictLogs(moto_url)
