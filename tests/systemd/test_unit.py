"""The shipped unit: what systemd thinks of it, and what becomes of it and of its builds when things go wrong."""

from __future__ import annotations

import contextlib
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.container import imds
from agent.model.cause import Cause
from agent.model.phase import PhaseType
from agent.model.status import Status
from agent.store.builds import Builds
from agent.store.database import Database
from tests.images import docker
from tests.systemd.host import UNIT, Host, booted

MOST_EXPOSED = 3.0
WATCHDOG_SECONDS = 5
PROJECT = """
name: web
source:
  type: NO_SOURCE
  buildspec: |
    version: 0.2
    phases:
      build:
        commands:
          - 'i=0; until [ -e "$CODEBUILD_SRC_DIR/go" ]; do echo "line $i"; i=$((i+1)); sleep 0.2; done; echo "last $i"'
environment: {type: LINUX_CONTAINER, image: "buildspecd-test/debian:1", computeType: BUILD_GENERAL1_SMALL}
"""


@pytest.fixture(scope="module")
def host() -> Iterator[Host]:
    with booted({"WatchdogSec": f"{WATCHDOG_SECONDS}s"}) as host:
        host.run("systemctl", "start", "buildspecd")
        yield host


def test_systemd_finds_nothing_wrong_with_the_unit(tmp_path: Path) -> None:
    _needs_systemd_analyze()
    unit = tmp_path / UNIT.name
    unit.write_text(UNIT.read_text().replace("/opt/buildspecd/bin/buildspecd serve", "/bin/true serve"))
    done = subprocess.run(["systemd-analyze", "verify", unit], capture_output=True, text=True)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


_HELD = """
import os, pathlib, signal, socket
from agent.kit.sdnotify import Notifier, handed_over
found, notes = handed_over(), pathlib.Path("/run/held")
if not found:
    made = socket.create_server(("127.0.0.1", 0))
    Notifier().keep("roles-1", made)
    notes.write_text(f"{made.getsockname()[1]} ")
    Notifier().ready()
    os.kill(os.getpid(), signal.SIGKILL)
with notes.open("a") as file:
    file.write(f"{found['roles-1'].getsockname()[1]}\\n")
Notifier().ready()
signal.pause()
"""


def test_a_socket_that_systemd_keeps_outlives_a_daemon_that_was_killed(host: Host) -> None:
    store = _store_of(UNIT.read_text())
    (host.etc / "held.py").write_text(_HELD)
    words = ("systemd-run", "--unit=held", "-p", "Type=notify", "-p", "NotifyAccess=main", "-p", "Restart=always")
    start = "exec $(sed -n 's/^exec //p' /opt/buildspecd/bin/buildspecd | cut -d' ' -f1) /etc/buildspecd/held.py"
    environment = "export LD_LIBRARY_PATH=/opt/python/lib PYTHONPATH=/opt/packages:/opt/source"
    host.run(*words, "-p", store, "sh", "-c", f"{environment}; {start}", check=False)
    host.until(lambda: len(host.run("cat", "/run/held", check=False).split()) == 2, "it was handed over")
    before, after = host.run("cat", "/run/held").split()
    assert before == after
    host.run("systemctl", "stop", "held")


def _store_of(unit: str) -> str:
    return next(line for line in unit.splitlines() if line.startswith("FileDescriptorStoreMax="))


def test_the_unit_exposes_little() -> None:
    _needs_systemd_analyze()
    command = ["systemd-analyze", "security", "--offline=true", "--no-pager", UNIT]
    told = subprocess.run(command, capture_output=True, text=True).stdout
    score = re.search(r"Overall exposure level for \S+: ([\d.]+)", told)
    assert score, told
    assert float(score[1]) < MOST_EXPOSED, told


def test_the_service_is_ready_when_it_says_so(host: Host) -> None:
    assert host.show("ActiveState") == "active"
    assert host.show("Type") == "notify"
    checks = {check["name"]: check for check in host.json("doctor")["checks"]}
    assert "fail" not in {check["status"] for check in checks.values()}, checks


def test_the_guard_puts_its_rules_in_place_and_the_service_knows(host: Host) -> None:
    if imds.root_of_cgroups() is None:
        pytest.skip("no cgroups of version 2 are mounted")
    try:
        host.run("systemctl", "start", "buildspecd-guard")
        told = host.run("systemctl", "status", "--no-pager", "buildspecd-guard")
        assert "builds cannot reach the metadata service" in told, told
        rules = host.run("iptables", "-w", "10", "-S").splitlines()
        assert f"-A OUTPUT -j {imds.CHAIN}" in rules, rules
        assert [line for line in rules if line.startswith(f"-A {imds.CHAIN}") and "buildspecd.slice" in line], rules
        command = ("--reuid=buildspecd", "--regid=buildspecd", "--init-groups", "cat", str(imds.STATE))
        assert '"holds": true' in host.run("setpriv", *command), "the daemon may read it"
        check = next(one for one in host.json("doctor")["checks"] if one["name"] == "imds guard")
        assert (check["status"], check["message"][:36]) == ("ok", "builds cannot reach the metadata ser"), check
        host.run("systemctl", "stop", "buildspecd-guard")
        assert host.run("iptables", "-w", "10", "-S").splitlines() == rules, "builds may run on"
        host.buildspecd("guard", "--remove")
        assert imds.CHAIN not in host.run("iptables", "-w", "10", "-S")
    finally:
        for parent in imds.PARENTS.values():
            with contextlib.suppress(OSError):  # made by the guard; builds of others may lie in it
                (imds.root_of_cgroups() / parent).rmdir()  # type: ignore[operator]


def test_a_reload_takes_up_a_new_project(host: Host) -> None:
    (host.etc / "projects.d" / "web.yml").write_text(PROJECT)
    host.run("systemctl", "reload", "buildspecd")
    host.until(lambda: "1 project" in host.show("StatusText"), "systemd is told of the project")
    assert [one["name"] for one in host.json("projects", "list")["projects"]] == ["web"]
    assert host.show("ActiveState") == "active"


def test_a_build_outlives_restarts_kills_and_a_daemon_that_hangs(host: Host) -> None:
    (host.etc / "projects.d" / "web.yml").write_text(PROJECT)
    host.run("systemctl", "reload", "buildspecd")
    build = host.json("start", "web")["id"]
    workspace = host.shared / "state" / "builds" / build.partition(":")[2] / "workspace"

    def lines() -> list[str]:
        return re.findall(r"^line (\d+)$", host.buildspecd("logs", build), re.MULTILINE)

    def goes_on(what: str) -> None:
        before = len(lines())
        host.until(lambda: len(lines()) > before, f"the build goes on after {what}")

    host.until(lines, "the build says something")
    host.run("systemctl", "restart", "buildspecd")
    goes_on("a restart")

    first = host.show("MainPID")
    host.run("systemctl", "kill", "--signal=KILL", "buildspecd")
    host.until(lambda: _answers(host, other_than=first), "systemd starts it again after a kill")
    goes_on("a kill")

    first = host.show("MainPID")
    host.run("systemctl", "kill", "--signal=STOP", "buildspecd")
    host.until(lambda: _answers(host, other_than=first), "systemd ends one that hangs, and starts another")
    assert "Watchdog timeout" in host.journal()
    goes_on("the watchdog")

    host.run("systemctl", "stop", "buildspecd")
    host.run("systemctl", "start", "buildspecd")
    (workspace / "go").touch()
    host.until(lambda: host.json("show", build)["buildComplete"], "the build ends")
    ended = host.json("show", build)
    seen = lines()
    assert ended["buildStatus"] == "SUCCEEDED", f"{ended['phases'][-3:]}"
    assert seen == [str(number) for number in range(len(seen))]
    assert f"last {len(seen)}" in host.buildspecd("logs", build)
    assert not workspace.exists()


def test_settings_that_cannot_be_used_end_the_service_for_good_and_say_why(host: Host) -> None:
    settings = host.etc / "agent.yml"
    good = settings.read_text()
    try:
        settings.write_text(good + "biulds: {max_concurrent: 4}\n")
        host.run("systemctl", "restart", "buildspecd", check=False)
        assert (host.show("ActiveState"), host.show("ExecMainStatus")) == ("failed", "2")
        assert re.search(r"agent\.yml:\d+:\d+: .*biulds", host.journal())
    finally:
        settings.write_text(good)
        host.run("systemctl", "reset-failed", "buildspecd")
        host.run("systemctl", "start", "buildspecd")


def test_a_host_that_is_shut_down_ends_its_builds_in_order_and_keeps_its_queue() -> None:
    with booted({}) as host:
        (host.etc / "projects.d" / "web.yml").write_text(PROJECT)
        (host.etc / "agent.yml").write_text((host.etc / "agent.yml").read_text() + "builds: {max_concurrent: 1}\n")
        host.run("systemctl", "start", "buildspecd")
        running, waiting = host.json("start", "web")["id"], host.json("start", "web")["id"]
        host.until(lambda: "line 0" in host.buildspecd("logs", running), "the build says something")
        host.run("systemctl", "poweroff", "--no-block", check=False)
        docker("wait", host.container)

        builds = Builds(Database(host.shared / "state" / "builds.db"))
        ended, kept = builds.get(running), builds.get(waiting)
        assert ended is not None
        assert kept is not None
        assert (ended.status, ended.cause) == (Status.STOPPED, Cause.HOST_INTERRUPTED)
        build_phase = ended.phase(PhaseType.BUILD)
        assert build_phase is not None
        assert build_phase.phase_status is Status.STOPPED
        assert "the host is shut down" in build_phase.contexts[0].message
        assert (kept.status, kept.current_phase) == (Status.IN_PROGRESS, PhaseType.QUEUED)
        agent = (host.shared / "state" / "agent-id").read_text().strip()
        assert docker("ps", "--all", "--quiet", f"--filter=label=buildspecd.agent={agent}") == ""


def _answers(host: Host, *, other_than: str) -> bool:
    state, process = host.show("ActiveState"), host.show("MainPID")
    return state == "active" and process not in ("0", other_than)


def _needs_systemd_analyze() -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("needs systemd-analyze: apt-get install systemd")
