"""What `buildspecd run` builds is what the daemon builds: the same log, phases and statuses."""

from __future__ import annotations

import io
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.app.run import LocalRun, run_local
from agent.cli.verdict import exit_code
from agent.web.shapes import build_json
from tests import images
from tests.parity.site import Ended, Site, spec

pytestmark = pytest.mark.docker


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Settings for local builds that keep out of everybody's way."""
    runtime = tempfile.mkdtemp(prefix="parity-", dir="/dev/shm")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    file = tmp_path / "agent.yml"
    file.write_text(f"runtime_dir: {runtime}\nprojects_dir: none\n")
    yield file
    shutil.rmtree(runtime, ignore_errors=True)


def ran(tree: Path, config: Path, minutes: float | None = None) -> Ended:
    """Build *tree* as the command line does."""
    console = io.BytesIO()
    order = LocalRun(
        directory=tree,
        image=images.busybox_image(),
        config=config,
        network="none",
        console=console,
        timeout_minutes=minutes,
    )
    return Ended(run_local(order), console.getvalue().decode(), tree)


@pytest.mark.parametrize("command", ["echo hello; cd /tmp", "echo no; exit 3"])
def test_a_local_build_has_the_log_and_the_phases_of_the_daemons(site: Site, config: Path, command: str) -> None:
    buildspec = spec(env={"variables": {"X": "1"}}, install=["echo $X"], build=[command], post_build=["pwd"])
    ours, local = site.build(buildspec), ran(site.tree({"buildspec.yml": buildspec}), config)
    assert local.phases == ours.phases
    assert local.status == ours.status
    assert [line.replace(local.source, "SRC") for line in local.lines] == [
        line.replace(ours.source, "SRC") for line in ours.lines
    ]
    assert [line.replace(local.source, "SRC") for line in local.output] == [
        line.replace(ours.source, "SRC") for line in ours.output
    ]


def test_a_local_build_that_runs_out_of_time_ends_with_exit_code_4(site: Site, config: Path) -> None:
    ended = ran(site.tree({"buildspec.yml": spec(build=["sleep 600"])}), config, minutes=0.02)
    assert (ended.status, ended.bad_phases) == ("FAILED", {"BUILD": "TIMED_OUT"})
    assert exit_code(build_json(ended.build)) == 4
