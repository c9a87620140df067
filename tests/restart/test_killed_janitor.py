"""The janitor is killed ahead of every single thing that it does; the next one leaves the same, and nothing of ours."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from agent.aws import Aws
from agent.container.spec import ContainerSpec
from agent.daemon.imagesweep import sweep_images
from agent.daemon.janitor import Chore
from agent.daemon.ledgersweep import sweep_ledger
from agent.daemon.retention import Keep
from agent.model.status import Status
from agent.store.builds import Builds
from agent.store.ledger import FILE, Ledger
from agent.store.pulled import PulledImages
from tests.fakes.fate import Fate, Mortal, MortalDatabase, deaths
from tests.fakes.upkeep import FakeUpkeep
from tests.unit.daemon.test_janitor import Host, names
from tests.unit.store.test_reports import DAY


class Place:
    """A host with something of every kind that a janitor removes, and beside each something that it must not."""

    def __init__(self, place: Path) -> None:
        place.mkdir()
        self.host = host = Host(place, Keep(logs=10 * DAY))
        self.old, self.running = host.build(1), host.build(2, Status.IN_PROGRESS)
        host.clock.at += 15 * DAY
        self.young = host.build(3)
        host.database.execute("UPDATE builds SET created = ? WHERE number = 3", host.clock.at)
        for root in (self.old, self.running):
            (host.secrets / root.name).mkdir()
        self.containers = [
            host.engine.create(replace(_SPEC, build_id=build))
            for build in ("gone:1", "shell:1", next(iter(Builds(host.database).open_ids())))
        ]
        self.outside = place / "outside"
        self.outside.mkdir()
        for name in ("out.zip-1", "out.zip-2", "other"):
            (self.outside / name).touch()
        Ledger(host.database, host.clock, owner="dead").begin(FILE, str(self.outside / "out.zip"))
        self.upkeep = FakeUpkeep()
        self.upkeep.images = {"ours:1": "sha256:ours", "theirs:1": "sha256:theirs"}
        pulled = PulledImages(host.database, host.clock, self.upkeep.image_id)
        host.clock.at -= 40 * DAY
        pulled.pulling("ours:1")
        pulled.had("ours:1")
        host.clock.at += 40 * DAY

    def live(self, fate: Fate) -> None:
        """Sweep, once."""
        host = self.host
        host.janitor.database = database = MortalDatabase(host.builds.parent / "builds.db", fate)
        host.janitor.engine = Mortal(host.engine, fate)  # type: ignore[assignment]
        upkeep: Any = Mortal(self.upkeep, fate)
        pulled = PulledImages(database, host.clock, upkeep.image_id)
        host.janitor.chores = (
            Chore(sweep=lambda now, _: sweep_ledger(Ledger(database, host.clock), Aws(), now)),
            Chore(sweep=lambda now, _: sweep_images(pulled, upkeep, now - 30 * DAY)),
        )
        try:
            host.janitor.sweep()
        finally:
            database.close()

    def left(self) -> dict[str, object]:
        """Return all that is there."""
        host, database = self.host, self.host.database
        return {
            "trees": {str(path.relative_to(host.builds)) for path in host.builds.rglob("*")},
            "secrets": names(host.secrets),
            "containers": {self.containers.index(container) for container in host.engine.containers},
            "outside": names(self.outside),
            "images": set(self.upkeep.images),
            "books": [database.rows(f"SELECT * FROM {table}") for table in ("ledger", "pulled")],
            "builds": database.rows("SELECT id FROM builds ORDER BY id"),
        }


_SPEC = ContainerSpec(
    build_id="", agent_id="agent", image="debian:12", command=("/bin/sh",), working_dir="/", mounts=()
)


def test_killed_ahead_of_any_effect_a_sweep_is_finished_by_the_next_one(tmp_path: Path) -> None:
    undisturbed = Place(tmp_path / "undisturbed")
    undisturbed.live(Fate())
    left = undisturbed.left()
    assert left["containers"] == {2}
    assert (left["outside"], left["images"], left["books"]) == ({"other"}, {"theirs:1"}, [[], []])
    assert (left["secrets"], names(undisturbed.old)) == ({undisturbed.running.name}, set())
    assert names(undisturbed.running) == {"workspace", "control", "out", "log"}
    assert names(undisturbed.young) == {"log"}
    for point, place in deaths(lambda point: Place(tmp_path / str(point)), Place.live, least=20):
        place.live(Fate())
        assert place.left() == left, f"killed at {point}"
