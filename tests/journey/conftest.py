"""What the stories share: one server that speaks AWS and one daemon a test process, and repositories to push to."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.repository import Repository
from tests.images import busybox_image, debian_image
from tests.journey.cloud import Cloud, serving
from tests.journey.daemon import Daemon


@pytest.fixture(scope="session")
def busybox() -> str:
    """An image with busybox and nothing else."""
    return busybox_image()


@pytest.fixture(scope="session")
def debian() -> str:
    """An image with dash, bash, git and python3."""
    return debian_image()


@pytest.fixture(scope="session")
def aws() -> Iterator[Cloud]:
    """A server that speaks AWS."""
    with serving() as cloud:
        yield cloud


@pytest.fixture(scope="session")
def daemon(aws: Cloud, busybox: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """A daemon that many stories share; each has projects of its own."""
    place = tmp_path_factory.mktemp("daemon")
    settings = {"builds": {"max_concurrent": 4, "stop_grace": "1s"}}
    with Daemon(place, environment=aws.environment, settings=settings) as shared:
        yield shared


@pytest.fixture
def new_daemon(tmp_path: Path) -> Iterator[Callable[..., Daemon]]:
    """Make daemons of a story's own, below `tmp_path/<name>`; they are ended with it. None is started."""
    made: list[Daemon] = []

    def make(name: str = "daemon", **options: Any) -> Daemon:
        made.append(Daemon(tmp_path / name, **options))
        return made[-1]

    yield make
    for one in made:
        if one.process is not None:
            one.stop()


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    """An empty bare repository, and a clone of it to push from."""
    return Repository(tmp_path / "git")
