"""Host: a machine with a real systemd in a container, on which buildspecd is installed as the README says.

Its programs are those of the machine that the tests run on (/usr, read-only), so that nothing has to be fetched. Its
Docker engine is that machine's, too: builds run beside it. So what builds see lies in `shared`, at one path for both.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import sysconfig
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.images import debian_image, docker

ROOT = Path(__file__).parents[2]
UNIT = ROOT / "systemd" / "buildspecd.service"
PATIENCE = 90.0
_PYTHON = "/opt/python"
_START = """#!/bin/sh
# Stands for the virtual environment of the README: the same packages, under an interpreter that every user may run.
export LD_LIBRARY_PATH={python}/lib PYTHONPATH=/opt/packages:/opt/source
exec {python}/bin/{name} -m agent "$@"
"""
_SETTINGS = """
state_dir: {shared}/state
runtime_dir: {memory}/secrets
http: {{listen: "127.0.0.1:0"}}
poll: {{every: 1s}}
log: {{format: json}}
"""
_MASKED = (
    "docker.service", "docker.socket", "containerd.service", "docker-registry.service", "ssh.service", "ssh.socket",
    "systemd-networkd.service", "systemd-networkd-wait-online.service", "systemd-firstboot.service",
)  # fmt: skip
"""What the machine of the tests has installed, and must not run twice; and what would wait for a network."""


@dataclass
class Host:
    """A running container with systemd as its first process."""

    container: str
    shared: Path

    @property
    def etc(self) -> Path:
        """Its /etc/buildspecd, as this machine sees it."""
        return self.shared / "host" / "etc"

    def run(self, *command: str, check: bool = True) -> str:
        """Run a command on it as root; return what it printed."""
        done = subprocess.run(
            ["docker", "exec", self.container, *command], capture_output=True, text=True, timeout=PATIENCE
        )
        if check and done.returncode:
            told = f"{done.stdout}{done.stderr}\n{self.journal()}"
            raise AssertionError(f"{command} ended with {done.returncode}: {told}")
        return done.stdout

    def buildspecd(self, *arguments: str) -> str:
        """Run the command line of buildspecd."""
        return self.run("/opt/buildspecd/bin/buildspecd", *arguments)

    def json(self, *arguments: str) -> Any:
        """Run the command line with `--json`."""
        return json.loads(self.buildspecd(*arguments, "--json"))

    def show(self, name: str) -> str:
        """Return a property of the unit."""
        return self.run("systemctl", "show", "--value", "-p", name, "buildspecd").strip()

    def journal(self) -> str:
        """Return what the unit logged."""
        command = ["docker", "exec", self.container, "journalctl", "--no-pager", "--lines=60", "--unit=buildspecd"]
        return subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE).stdout

    def until(self, holds: Callable[[], object], what: str) -> None:
        """Wait until *holds*. Fails with the unit's journal."""
        end = time.monotonic() + PATIENCE
        while not holds():
            if time.monotonic() > end:
                raise AssertionError(f"never: {what}\n{self.journal()}")
            subprocess.run(["docker", "exec", self.container, "sleep", "0.1"], check=True)


@contextmanager
def booted(settings: Mapping[str, str]) -> Iterator[Host]:
    """Yield a host that has booted, with the unit installed; *settings* are a drop-in's, of its section Service."""
    shared = Path("/srv") / f"buildspecd-test-{uuid.uuid4().hex[:8]}"
    memory = Path("/run") / shared.name  # not /dev/shm: PrivateDevices= shows another one
    container = ""
    try:
        for directory in (shared, shared / "state", memory):
            directory.mkdir(parents=True)
            directory.chmod(0o777)  # the account of the service has another number here than there
        _install(shared, memory, settings)
        container = docker(*_boot(shared, memory))
        host = Host(container, shared)
        host.until(lambda: host.run("systemctl", "is-active", "basic.target", check=False) == "active\n", "it is up")
        yield host
    finally:
        if container:
            docker("rm", "--force", "--volumes", container)
        _end_builds(shared)
        shutil.rmtree(shared, ignore_errors=True)
        shutil.rmtree(memory, ignore_errors=True)


def _install(shared: Path, memory: Path, settings: Mapping[str, str]) -> None:
    """Write what the README installs, into directories that are mounted over those of the host."""
    shipped = ROOT / "systemd"
    group = Path("/var/run/docker.sock").stat().st_gid
    own = {"ReadWritePaths": f"{shared} {memory}", **settings}
    files = {
        "opt/bin/buildspecd": _START.format(python=_PYTHON, name=Path(sys.executable).resolve().name),
        "units/buildspecd.service": UNIT.read_text(),
        "units/buildspecd-guard.service": (shipped / "buildspecd-guard.service").read_text(),
        "units/buildspecd.service.d/test.conf": "[Service]\n" + "".join(f"{key}={own[key]}\n" for key in own),
        "sysusers/buildspecd.conf": (shipped / "buildspecd.sysusers").read_text().replace(
            "g      docker      -", f"g      docker      {group}"
        ),
        "tmpfiles/buildspecd.conf": (shipped / "buildspecd.tmpfiles").read_text(),
        "etc/agent.yml": _SETTINGS.format(shared=shared, memory=memory),
    }  # fmt: skip
    for name, text in files.items():
        file = shared / "host" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    (shared / "host/opt/bin/buildspecd").chmod(0o755)
    (shared / "host/etc/projects.d").mkdir()
    for name in _MASKED:
        (shared / "host/units" / name).symlink_to("/dev/null")


def _boot(shared: Path, memory: Path) -> list[str]:
    own = {"opt": "/opt/buildspecd", "sysusers": "/etc/sysusers.d", "tmpfiles": "/etc/tmpfiles.d"}
    reading = {
        "/usr": "/usr",
        "/etc/alternatives": "/etc/alternatives",  # iptables is a link that leads there
        sys.base_prefix: _PYTHON,
        sysconfig.get_paths()["purelib"]: "/opt/packages",
        str(ROOT / "agent"): "/opt/source/agent",
        **{str(shared / "host" / name): target for name, target in own.items()},
    }
    writing = {
        "/sys/fs/cgroup": "/sys/fs/cgroup",
        "/var/run/docker.sock": "/run/docker.sock",
        str(shared / "host/units"): "/etc/systemd/system",
        str(shared / "host/etc"): "/etc/buildspecd",
        str(shared): str(shared),
        str(memory): str(memory),
    }
    return [
        "run", "--detach", "--cap-add=ALL", "--cap-drop=SYS_RESOURCE",
        "--security-opt=seccomp=unconfined", "--security-opt=systempaths=unconfined",
        "--tmpfs=/run", "--tmpfs=/run/lock", "--tmpfs=/tmp",
        *(f"--volume={source}:{target}:ro" for source, target in reading.items()),
        *(f"--volume={source}:{target}" for source, target in writing.items()),
        "--label=buildspecd-test=1",
        debian_image(), "/usr/lib/systemd/systemd", "--unit=basic.target",
    ]  # fmt: skip


def _end_builds(shared: Path) -> None:
    """Remove the containers of the agent that lived on the host."""
    identity = shared / "state" / "agent-id"
    if identity.exists():
        agent = identity.read_text().strip()
        for left in docker("ps", "--all", "--quiet", f"--filter=label=buildspecd.agent={agent}").split():
            docker("rm", "--force", "--volumes", left)
