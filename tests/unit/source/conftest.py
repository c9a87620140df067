"""What the tests of sources share."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.source.sources import Sources
from tests.fakes.repository import Repository


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    """A repository with one commit on main."""
    made = Repository(tmp_path / "server")
    made.commit("first", **{"buildspec.yml": "version: 0.2\n", "dir__file": "1"})
    return made


@pytest.fixture
def sources(tmp_path: Path) -> Sources:
    """Sources without any credential."""
    return Sources(tmp_path / "mirrors")
