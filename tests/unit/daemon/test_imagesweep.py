"""Images: those that we pulled go when no build uses them, and no other ever does."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.container.image import ensure_image
from agent.daemon.imagesweep import sweep_images
from agent.errors import EngineUnavailable
from agent.store.pulled import PulledImages
from tests.fakes.engine import FakeEngine
from tests.fakes.upkeep import FakeUpkeep
from tests.unit.store.samples import NOON, ManualClock, a_database

DAY = 86400.0


class Host:
    def __init__(self, place: Path) -> None:
        self.engine = FakeEngine(("there:1",), registry=("new:1", "there:1"))
        self.upkeep = FakeUpkeep()
        self.upkeep.images = {"there:1": "sha256:there"}
        self.clock = ManualClock()
        self.pulled = PulledImages(a_database(place), self.clock, self.upkeep.image_id)

    def build(self, image: str, identity: str = "") -> None:
        """Have an image as a build does that may always pull."""
        ensure_image(
            self.engine, image, policy="always", login=lambda _: None, progress=print, pulling=self.pulled.pulling
        )
        self.upkeep.images.setdefault(image, identity or f"sha256:{image}")
        self.pulled.had(image)

    def sweep(self, days: float) -> int:
        self.clock.at = NOON + days * DAY
        return sweep_images(self.pulled, self.upkeep, self.clock.at - 30 * DAY)


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


def test_an_image_that_we_pulled_goes_when_no_build_had_it_for_long(host: Host) -> None:
    host.build("new:1")
    assert (host.sweep(29), host.sweep(31)) == (0, 1)
    assert set(host.upkeep.images) == {"there:1"}


def test_an_image_that_was_on_the_host_before_stays_for_ever(host: Host) -> None:
    host.build("there:1")
    assert host.sweep(1000) == 0
    assert set(host.upkeep.images) == {"there:1"}


def test_every_build_keeps_its_image_a_while_longer(host: Host) -> None:
    host.build("new:1")
    host.clock.at += 20 * DAY
    host.build("new:1")
    assert (host.sweep(40), host.sweep(51)) == (0, 1)


def test_an_image_that_a_container_has_stays_until_that_is_gone(host: Host) -> None:
    host.build("new:1")
    host.upkeep.used = {"sha256:new:1"}
    assert host.sweep(31) == 0
    host.upkeep.used = set()
    assert host.sweep(32) == 1


def test_a_name_that_means_another_image_by_now_is_somebody_elses(host: Host) -> None:
    host.build("new:1")
    host.upkeep.images["new:1"] = "sha256:theirs"
    host.sweep(31)
    assert host.upkeep.images["new:1"] == "sha256:theirs"
    assert host.pulled.unused_since(host.clock.at + 1) == []


def test_an_image_whose_pull_nobody_saw_the_end_of_is_not_removed(host: Host) -> None:
    host.pulled.pulling("new:1")
    host.upkeep.images["new:1"] = "sha256:new"
    host.sweep(31)
    assert "new:1" in host.upkeep.images


def test_an_engine_that_is_away_loses_no_image_from_the_book(host: Host) -> None:
    host.build("new:1")
    host.upkeep.down = True
    with pytest.raises(EngineUnavailable):
        host.sweep(31)
    host.upkeep.down = False
    assert host.sweep(31) == 1
