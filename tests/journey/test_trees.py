"""Process trees that do not want to end: daemons, the deaf, the stopped, a fork bomb. Every way of ending ends them."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.journey.daemon import Daemon, Json, phase
from tests.journey.waiting import until

pytestmark = pytest.mark.docker

PIDS = 150
DEAF = """
import os, signal, sys
for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1):
    signal.signal(number, signal.SIG_IGN)
if "twice" in sys.argv:  # as daemons are made: of nobody's session, with nothing open
    if os.fork():
        os._exit(0)
    os.setsid()
    if os.fork():
        os._exit(0)
    os.chdir("/")
    os.closerange(0, 1024)
if "begun" in sys.argv:
    print("begun", flush=True)
while True:
    signal.pause()
"""
BOMB = "bomb() { bomb | bomb & }; bomb"
TREE = (
    "python3 deaf.py twice",
    "(setsid bash -c 'trap \"\" TERM INT HUP; while :; do sleep 1000; done' > /dev/null 2>&1 &)",
    "bash -c 'kill -STOP $$' & bash -c 'trap \"\" TERM; kill -STOP $$' &",
    f"(bash -c '{BOMB}' > /dev/null 2>&1 &)",
    "exec python3 deaf.py begun",
)


def tree(daemon: Daemon, image: str, mark: str) -> str:
    """Make a project whose build grows such a tree; all of its processes have *mark* in their environment."""
    phases = {"install": {"commands": [f"cat > deaf.py <<'EOF'\n{DEAF}EOF"]}, "build": {"commands": TREE}}
    spec = json.dumps({"version": 0.2, "env": {"shell": "bash"}, "phases": phases})
    variables = [{"name": "TREE", "value": mark, "type": "PLAINTEXT"}]
    return daemon.project(
        image,
        source={"type": "NO_SOURCE", "buildspec": spec},
        environment={"environmentVariables": variables},
        agent={"resources": {"pids": PIDS, "memory": 512, "cpus": 0.5}},
    )


def grown(mark: str) -> int:
    """Return how many processes of the tree there are on this host."""
    found, sought = 0, f"TREE={mark}".encode()
    for process in Path("/proc").glob("[0-9]*"):
        try:
            found += sought in (process / "environ").read_bytes()
        except OSError:
            continue
    return found


@pytest.mark.parametrize("way", ["stop", "time-out", "drain"])
def test_a_tree_of_daemons_and_of_what_is_deaf_stopped_or_forks_on_and_on_ends_with_its_build(
    way: str, new_daemon: Callable[..., Daemon], debian: str
) -> None:
    daemon = new_daemon(way, settings={"builds": {"stop_grace": "1s"}, "events": None, "metrics": None}).start()
    mark = uuid.uuid4().hex
    limit = {"timeoutInMinutesOverride": 0.4} if way == "time-out" else {}
    build: Json = daemon.ask(tree(daemon, debian, mark), logsConfigOverride=_NO_CLOUD, **limit)
    daemon.until_said(build, "\nbegun\n")
    until(lambda: grown(mark) > 20, "a tree")
    assert grown(mark) <= PIDS
    if way == "stop":
        daemon.client.call("StopBuild", id=build["id"])
    elif way == "drain":
        done = daemon.cli("drain", "--stop-after", "0")
        assert done.returncode == 0, done.stderr
    ended = daemon.ended(build, 120)
    assert phase(ended, "BUILD")["phaseStatus"] == ("TIMED_OUT" if way == "time-out" else "STOPPED")
    until(lambda: not grown(mark), "the end of every process")
    daemon.assert_nothing_left(ended)


_NO_CLOUD = {"cloudWatchLogs": {"status": "DISABLED"}}
