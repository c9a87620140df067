"""Another version is installed while builds run: a newer one takes them up, an older one touches nothing."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from agent.buildspec.plan import FORMAT, Plan
from agent.container import driver
from agent.store.database import migrations
from tests.images import docker
from tests.journey.daemon import Daemon, Json
from tests.restart.test_between_steps import fresh, live
from tests.restart.test_killed_daemon import HELD, kill, release
from tests.restart.world import Mortals, World

FIXTURES = Path(__file__).parent / "fixtures"
"""What versions of that format of the database have really written: a build that runs, one that waits, a plan."""
TABLES = {
    "numbers": "project, last",
    "builds": "id, project, number, status, source_ref, created, document",
    "queue": "build, project, source_ref, enqueued, owner",
}
"""The columns that every version has known, in an order in which they can be filled."""
FORMATS = (1, 5)


@pytest.fixture(scope="module")
def mortals() -> Iterator[Mortals]:
    found = Mortals()
    yield found
    found.close()


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    world = World(tmp_path_factory.mktemp("template"))
    yield world
    world.close()


def as_then(now: Any, then: Any) -> Any:
    """Return *now* with those members only that *then* has, and with those of *then* that are gone by now."""
    if not isinstance(now, Mapping) or not isinstance(then, Mapping):
        return now
    return {name: as_then(now.get(name, value), value) for name, value in then.items()}


def write_back(daemon: Daemon, number: int, running: Json) -> None:
    """Make of the daemon's state what a version whose database had format *number* would have left."""
    then = json.loads((FIXTURES / f"format-{number}.json").read_text())
    plan = daemon.root(running) / "plan.json"
    plan.write_text(json.dumps(as_then(json.loads(plan.read_text()), then["plan"])))
    for name in ("standing.json", "attempt", "set-up.json"):
        (daemon.root(running) / "out" / name).unlink(missing_ok=True)
    path = daemon.state / "builds.db"
    with contextlib.closing(sqlite3.connect(path)) as file:
        rows = {table: file.execute(f"SELECT {names} FROM {table}").fetchall() for table, names in TABLES.items()}
    for ending in ("", "-wal", "-shm"):
        path.with_name(path.name + ending).unlink(missing_ok=True)
    samples = {row[0]: then["running" if row[0] == running["id"] else "waiting"] for row in rows["builds"]}
    rows["builds"] = [(*row[:-1], json.dumps(as_then(json.loads(row[-1]), samples[row[0]]))) for row in rows["builds"]]
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as file:
        for script in migrations()[:number]:
            file.executescript(script)
        file.execute(f"PRAGMA user_version = {number}")
        for table, names in TABLES.items():
            places = ",".join("?" * len(names.split()))
            file.executemany(f"INSERT INTO {table} ({names}) VALUES ({places})", rows[table])


@pytest.mark.docker
@pytest.mark.parametrize("number", FORMATS)
def test_a_newer_version_takes_up_what_an_older_one_has_left_running_and_waiting(
    number: int, new_daemon: Callable[..., Daemon], busybox: str
) -> None:
    daemon = new_daemon(settings={"builds": {"max_concurrent": 1, "stop_grace": "1s"}}).start()
    project = daemon.inline(busybox, "echo begun", HELD, "echo done")
    running = daemon.ask(project)
    daemon.until_said(running, "begun")
    waiting = daemon.ask(project)
    kill(daemon)
    write_back(daemon, number, running)
    daemon.start()
    release(daemon, running)
    assert daemon.ended(running)["buildStatus"] == "SUCCEEDED", daemon.text(running)
    assert [line for line in daemon.text(running).splitlines() if line in ("begun", "done")] == ["begun", "done"]
    daemon.until_said(waiting, "begun")
    release(daemon, waiting)
    assert daemon.ended(waiting)["buildStatus"] == "SUCCEEDED"
    assert daemon.ask(project)["buildNumber"] == 3
    with contextlib.closing(sqlite3.connect(daemon.state / "builds.db")) as file:
        assert file.execute("PRAGMA user_version").fetchone() == (len(migrations()),)


@pytest.mark.docker
def test_an_older_version_refuses_to_start_and_changes_nothing(new_daemon: Callable[..., Daemon], busybox: str) -> None:
    daemon = new_daemon().start()
    build = daemon.ask(daemon.inline(busybox, "echo begun", HELD))
    daemon.until_said(build, "begun")
    kill(daemon)
    newer, known = len(migrations()) + 1, len(migrations())
    file = sqlite3.connect(daemon.state / "builds.db")
    file.execute(f"PRAGMA user_version = {newer}")
    kept = {path: path.read_bytes() for path in daemon.state.glob("builds.db*") if path.suffix != ".db-shm"}
    file.close()
    for path, content in kept.items():  # as one that was killed leaves them: the newer format stands in the log only
        path.write_bytes(content)
    assert {path.name for path in kept} == {"builds.db", "builds.db-wal"}
    assert daemon.launch().wait(60) == 3
    assert {path: path.read_bytes() for path in kept} == kept
    told = daemon.said()[-2000:]
    assert f"was written by a newer buildspecd (format {newer}, this one knows {known})" in told
    assert "install the newer version again; nothing was changed, and running builds go on" in " ".join(told.split())
    assert "Traceback" not in told
    (container,) = daemon.containers(build)
    assert docker("inspect", "--format", "{{.State.Running}}", container) == "true"


def test_a_plan_of_a_newer_format_is_refused_with_both_formats_and_an_older_one_is_read() -> None:
    plan = json.loads((FIXTURES / "format-1.json").read_text())["plan"]
    assert Plan.model_validate(plan).format == FORMAT
    with pytest.raises(ValueError, match=f"it has format {FORMAT + 1}, and this version of buildspecd knows {FORMAT}"):
        Plan.model_validate({**plan, "format": FORMAT + 1})


def test_a_driver_of_another_version_that_has_not_begun_is_replaced_with_its_container(
    mortals: Mortals, template: World, tmp_path: Path
) -> None:
    for point in range(30, 400, 6):
        world = fresh(template, tmp_path)
        live(mortals, world, point)
        reached = world.build.steps_done == ("provision",)
        if reached:
            (world.root / "control" / "driver.sh").write_text("an older driver\n")
            assert driver.is_foreign(world.root / "control")
            (before,) = world.engine.containers
            assert live(mortals, world) == "SUCCEEDED", point
            assert before not in world.engine.containers
            assert len(world.engine.drivers) == 2
            assert world.left_behind() == []
        world.close()
        if reached:
            return
    raise AssertionError("no life ended between provisioning and the plan")
