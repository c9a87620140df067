"""The janitor is killed ahead of every single thing that it does; the next one leaves the same, and nothing of ours."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from agent.aws import Aws
from agent.container.spec import ContainerSpec
from agent.daemon.imagesweep import sweep_images
from agent.daemon.janitor import Chore
from agent.daemon.ledgersweep import sweep_ledger
from agent.daemon.retention import Keep
from agent.model.status import Status
from agent.store.builds import Builds
from agent.store.database import Database
from agent.store.ledger import FILE, Ledger
from agent.store.pulled import PulledImages
from tests.fakes.upkeep import FakeUpkeep
from tests.unit.daemon.test_janitor import Host, names
from tests.unit.store.test_reports import DAY

_EFFECTS = {"os.remove", "os.rmdir", "os.rename", "shutil.rmtree"}


class Killed(BaseException):
    """Stands for SIGKILL: nothing in the janitor can have an opinion on it."""


class Fate:
    """Counts the effects of a life, and ends it ahead of the chosen one; no life is counted while `left` is 0."""

    left = 0

    def meet(self, *_: object) -> None:
        if self.left:
            self.left -= 1
            if not self.left:
                raise Killed


FATE = Fate()


def _hear(event: str, _: tuple[Any, ...]) -> None:
    if event in _EFFECTS:
        FATE.meet()


class Mortal:
    """Whatever it stands for, but that each call, and each answer, may be the last thing."""

    def __init__(self, real: Any) -> None:
        self._real = real

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            FATE.meet()
            answer = getattr(self._real, name)(*arguments)
            FATE.meet()
            return answer

        return call


class MortalDatabase(Database):
    def execute(self, sql: str, *values: object) -> int:
        FATE.meet()
        return super().execute(sql, *values)

    @contextmanager
    def transaction(self, *, lasting: bool = False) -> Iterator[None]:
        with super().transaction(lasting=lasting):
            yield
            FATE.meet()
        FATE.meet()


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

    def live(self, point: int) -> bool:
        """Sweep, and die ahead of effect *point* (0: never); return whether this life came to its end."""
        host = self.host
        host.janitor.database = database = MortalDatabase(host.builds.parent / "builds.db")
        host.janitor.engine = Mortal(host.engine)
        upkeep: Any = Mortal(self.upkeep)
        pulled = PulledImages(database, host.clock, upkeep.image_id)
        host.janitor.chores = (
            Chore(sweep=lambda now, _: sweep_ledger(Ledger(database, host.clock), Aws(), now)),
            Chore(sweep=lambda now, _: sweep_images(pulled, upkeep, now - 30 * DAY)),
        )
        FATE.left = point
        try:
            host.janitor.sweep()
        except Killed:
            return False
        finally:
            FATE.left = 0
            database.close()
        return True

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


@pytest.fixture(scope="module", autouse=True)
def _hearing() -> None:
    sys.addaudithook(_hear)


def test_killed_ahead_of_any_effect_a_sweep_is_finished_by_the_next_one(tmp_path: Path) -> None:
    undisturbed = Place(tmp_path / "undisturbed")
    assert undisturbed.live(0)
    left = undisturbed.left()
    assert left["containers"] == {2}
    assert (left["outside"], left["images"], left["books"]) == ({"other"}, {"theirs:1"}, [[], []])
    assert (left["secrets"], names(undisturbed.old)) == ({undisturbed.running.name}, set())
    assert names(undisturbed.running) == {"workspace", "control", "out", "log"}
    assert names(undisturbed.young) == {"log"}
    for point in range(1, 500):
        place = Place(tmp_path / str(point))
        survived = place.live(point)
        if not survived:
            assert place.live(0)
        assert place.left() == left, f"killed at {point}"
        if survived:
            assert point > 20
            return
    raise AssertionError("no sweep came to its end")
