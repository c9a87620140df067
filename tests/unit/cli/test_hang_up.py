"""A HUP may come at any instant of a daemon's life, also before it has read anything, and after its work has ended."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.journey.waiting import until

_UNDER_FIRE = """
import os, runpy, signal, sys, threading

class Fire:
    \"\"\"Hangs up on this very process ahead of every module that is looked for, from the program's first on.\"\"\"

    def find_spec(self, *_):
        os.kill(os.getpid(), signal.SIGHUP)

def hail():
    while True:
        os.kill(os.getpid(), signal.SIGHUP)
        threading.Event().wait(0.002)

class Program:
    def find_spec(self, name, *_):
        if name == "agent.cli":  # the first that the program asks for
            sys.meta_path[0] = Fire()
            threading.Thread(target=hail, daemon=True).start()

sys.argv[0] = "buildspecd"
sys.meta_path.insert(0, Program())
runpy.run_module("agent", run_name="__main__", alter_sys=True)
"""


def under_fire(*words: str, place: Path) -> subprocess.Popen[bytes]:
    """Start the program, hung up on again and again from the first import that it makes."""
    environment = {"PATH": os.environ["PATH"], "HOME": str(place), "PYTHONPATH": os.pathsep.join(sys.path)}
    environment["DOCKER_HOST"] = f"unix://{place}/nobody.sock"
    return subprocess.Popen(
        [sys.executable, "-c", _UNDER_FIRE, *words], stderr=subprocess.PIPE, env=environment, cwd=place
    )


def test_a_daemon_that_is_hung_up_on_from_its_first_import_to_its_last_breath_comes_up_and_ends_well(
    tmp_path: Path,
) -> None:
    state = tmp_path / "state"
    settings = {
        "state_dir": str(state),
        "runtime_dir": str(tmp_path / "run"),
        "http": {"listen": "127.0.0.1:0"},
    }
    (tmp_path / "agent.yml").write_text(json.dumps(settings))
    process = under_fire("serve", "--config", str(tmp_path / "agent.yml"), place=tmp_path)
    try:
        until(lambda: (state / "agent.sock").exists() or process.poll() is not None, "a daemon that listens")
        assert process.poll() is None, f"it ended with {process.returncode}"
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=60)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 0, said.decode()


@pytest.mark.parametrize("words", [["validate", "-"], ["--version"]])
def test_any_other_command_ends_when_its_terminal_hangs_up(words: list[str], tmp_path: Path) -> None:
    process = under_fire(*words, place=tmp_path)
    _, said = process.communicate(timeout=60)
    assert process.returncode == -signal.SIGHUP, said.decode()
