"""Sweeping local caches: whoever runs keeps its slot, whatever is going on meanwhile."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from agent.cache.local import LocalCaches, Slot
from agent.daemon.cachesweep import sweep_caches
from agent.daemon.janitor import Janitor
from agent.errors import EngineUnavailable
from agent.model.status import Status
from agent.pipeline.recorder import Recorder
from tests.fakes.engine import FakeEngine
from tests.unit.store.samples import ManualClock, a_build, a_database


@pytest.fixture
def caches(tmp_path: Path) -> LocalCaches:
    return LocalCaches(tmp_path / "cache")


def test_the_slot_of_a_build_that_is_gone_is_freed_and_that_of_a_running_one_is_not(
    caches: LocalCaches, tmp_path: Path
) -> None:
    database, clock, engine = a_database(tmp_path), ManualClock(), FakeEngine()
    recorder = Recorder(database, clock)
    running, ended = a_build(1), a_build(2)
    for build in (running, ended):
        recorder.add(build)
        caches.take("web", build.id, "image:1")
    recorder.complete(recorder.leave(ended, Status.SUCCEEDED), Status.SUCCEEDED)
    janitor = Janitor("me", database, engine, tmp_path / "b", tmp_path / "s", shutil.rmtree, clock, caches)
    engine.down = True
    janitor.sweep()
    assert len(caches.owners()) == 2, "its container may still run"
    engine.down = False
    janitor.sweep()
    assert list(caches.owners().values()) == [running.id]


def test_a_slot_that_was_taken_after_the_look_is_left_alone(caches: LocalCaches) -> None:
    slot = caches.take("web", "web:old", "image:1")
    owners = caches.owners()
    caches.free(slot, "web:old")
    caches.take("web", "web:new", "image:1")
    sweep_caches(caches, owners, (), 0, shutil.rmtree)
    assert slot.owner == "web:new"


def test_what_cannot_be_removed_now_is_removed_at_a_later_sweep_with_its_image(caches: LocalCaches) -> None:
    slot = caches.take("web", "web:1", "image:1")
    (slot.docker / "layer").write_text("data")
    caches.free(slot, "web:1")
    caches.invalidate("web")
    images: list[str] = []

    def reclaim(path: Path) -> None:
        images.append(Slot(path.parent).image)
        if len(images) == 1:
            raise EngineUnavailable("the engine is away")
        if len(images) > 2:
            shutil.rmtree(path)

    sweep_caches(caches, {}, (), 0, reclaim)
    sweep_caches(caches, {}, (), 0, reclaim)
    assert len(caches.retire(0)) == 1, "custom is still there"
    sweep_caches(caches, {}, (), 0, shutil.rmtree if not images else lambda path: shutil.rmtree(path, True))
    assert caches.retire(0) == []
    assert set(images) == {"image:1"}
