"""Shared parts of the parity tests: an agent without AWS, and one in front of a server that speaks AWS."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from moto.server import ThreadedMotoServer

from tests.parity.site import REGION, Site


@pytest.fixture(scope="session")
def fresh_site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Site]]:
    """Makes agents; all are closed in the end."""
    made: list[Site] = []

    def make(**given: str) -> Site:
        made.append(Site(tmp_path_factory.mktemp("site"), **given))
        return made[-1]

    yield make
    for site in made:
        site.close()


@pytest.fixture
def no_aws(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hide AWS credentials of the machine."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def site(fresh_site: Callable[..., Site], no_aws: None) -> Site:
    """An agent without AWS."""
    return fresh_site()


@pytest.fixture(scope="session")
def aws_endpoint() -> Iterator[str]:
    """A fresh AWS with nothing in it."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def aws_site(fresh_site: Callable[..., Site], aws_endpoint: str, monkeypatch: pytest.MonkeyPatch) -> Site:
    """An agent in front of that AWS."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", REGION)
    return fresh_site(endpoint=aws_endpoint)
