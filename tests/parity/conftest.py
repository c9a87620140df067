"""Shared parts of the parity tests: an agent without AWS, and one in front of a server that speaks AWS."""

from __future__ import annotations

import io
import subprocess
import tarfile
from collections.abc import Callable, Iterable, Iterator

import pytest
from moto.server import ThreadedMotoServer

from tests import images
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
def site(fresh_site: Callable[..., Site]) -> Site:
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


def _derived(tag: str, changes: Iterable[str], tar: bytes) -> str:
    if not images.docker("images", "--quiet", tag):
        images.docker("import", *(f"--change={change}" for change in changes), "-", tag, data=tar)
    return tag


@pytest.fixture
def image_of_another_user() -> str:
    """Busybox, with a `USER` and an `ENTRYPOINT` that a build must not mind, and with variables."""
    container = images.docker("create", images.busybox_image())
    try:
        exported = subprocess.run(["docker", "export", container], check=True, capture_output=True, timeout=60).stdout
    finally:
        images.docker("rm", container)
    own = ['ENTRYPOINT ["/bin/false"]', "USER u1", "ENV FROM_IMAGE=image", "ENV KEPT=image", "LABEL buildspecd-test=1"]
    return _derived("buildspecd-test/user:2", own, exported)


@pytest.fixture
def image_without_shell() -> str:
    """An image that holds one empty file."""
    images.busybox_image()  # skips where there is no engine
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        tar.addfile(tarfile.TarInfo("empty"))
    return _derived("buildspecd-test/empty:1", ["LABEL buildspecd-test=1"], buffer.getvalue())
