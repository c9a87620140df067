"""Damage: what a torture run does to files, the database, the disk and the containers that lie around."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
import uuid
from contextlib import suppress

from agent.model.cause import Cause
from agent.torture.world import World

GIT_CAUSES = (Cause.GIT_UNAVAILABLE, Cause.SOURCE_INVALID)
"""What ends a build whose sources cannot be had."""
BALLAST = "torture-ballast"
"""The file that fills the disk."""
START_SECONDS = 10.0
"""How long after a disk was full a daemon that began to start meanwhile may say so, and end."""
_FULL = (Cause.HOST_DISK_FULL, Cause.STATE_DAMAGED, Cause.COMMAND_FAILED, Cause.ARTIFACTS_MISSING, *GIT_CAUSES)
_LOCK_SCRIPT = """
import sqlite3, sys, threading
base = sqlite3.connect(sys.argv[1], timeout=20, isolation_level=None)
base.execute("BEGIN IMMEDIATE")
threading.Event().wait(float(sys.argv[2]))
base.execute("ROLLBACK")
"""


def mirror_damaged(world: World) -> bool:
    """Lose a file of a mirror's objects, as a damaged disk does."""
    root = world.ground.state / "mirrors"
    files = [path for path in root.glob("*.git/objects/??*/*") if path.is_file()]
    if not files:
        return False
    world.window("mirror-damaged", 20, *GIT_CAUSES, Cause.STATE_DAMAGED)
    with suppress(OSError):
        world.chance.choice(sorted(files)).unlink()
    return True


def mirror_locked(world: World) -> bool:
    """Leave a lock file of git in a mirror, as a git that was killed does."""
    mirrors = sorted((world.ground.state / "mirrors").glob("*.git"))
    if not mirrors:
        return False
    world.window("mirror-locked", 10, *GIT_CAUSES)
    name = world.chance.choice(("packed-refs.lock", "HEAD.lock", "shallow.lock", "config.lock"))
    with suppress(OSError):
        (world.chance.choice(mirrors) / name).touch()
    return True


def database_locked(world: World) -> bool:
    """Hold the database's write lock for a while, as a backup does."""
    base = world.ground.state / "builds.db"
    if not base.exists():
        return False
    seconds = world.chance.uniform(1.0, 4.0)
    process = subprocess.Popen([sys.executable, "-c", _LOCK_SCRIPT, str(base), str(seconds)], start_new_session=True)

    def reap() -> None:
        with suppress(subprocess.TimeoutExpired):
            process.wait(40)
        process.kill()
        process.wait()

    world.later(seconds + 1, reap)
    return True


def orphan_container(world: World) -> bool:
    """Leave a container of ours that belongs to no build."""
    return bool(world.hands.agent) and world.hands.orphan(f"web:{uuid.UUID(int=world.chance.getrandbits(128))}")


def orphan_directory(world: World) -> bool:
    """Leave the directory of a build that nobody knows."""
    number = uuid.UUID(int=world.chance.getrandbits(128), version=4)
    place = world.ground.state / "builds" / str(number) / "workspace"
    with suppress(OSError):
        place.mkdir(parents=True)
        (place / "file").write_text("left behind\n")
    return True


def plan_damaged(world: World) -> bool:
    """Cut the plan of a running build short, as a disk does that was full."""
    plans = [world.ground.state / "builds" / build.partition(":")[2] for build in world.hands.running().values()]
    damaged = False
    for container, build in sorted(world.hands.running().items())[:1]:
        plan = world.ground.state / "builds" / build.partition(":")[2] / "plan.json"
        world.excuses.target(build, "plan-damaged", Cause.STATE_DAMAGED)
        with suppress(OSError):
            plan.write_bytes(plan.read_bytes()[:40])
            damaged = bool(container)
    return damaged and bool(plans)


def disk_full(world: World) -> bool:
    """Fill the disk of the state directory to its last byte, for some seconds."""
    if not world.has_own_disk:
        return False
    ballast = world.ground.state / BALLAST
    seconds = world.chance.uniform(1.0, 3.0)
    world.window("disk-full", seconds, *_FULL, tears=True)
    world.subject.roomless_until = time.monotonic() + seconds + START_SECONDS
    with suppress(OSError), ballast.open("wb") as file:
        free = shutil.disk_usage(world.ground.state).free
        block = bytes(1 << 20)
        for _ in range(free // len(block) + 2):
            file.write(block)
    world.later(seconds, lambda: ballast.unlink(missing_ok=True))
    return True
