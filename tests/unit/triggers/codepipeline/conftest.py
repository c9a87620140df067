"""What the tests of jobs share: a CodePipeline that is played, and a desk that works for it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes.codepipeline import CodePipeline, serving_codepipeline
from tests.unit.triggers.codepipeline.desk import Desk


@pytest.fixture
def pipeline() -> Iterator[CodePipeline]:
    with serving_codepipeline() as service:
        yield service


@pytest.fixture
def desk(tmp_path: Path, pipeline: CodePipeline) -> Desk:
    return Desk(tmp_path, pipeline)
