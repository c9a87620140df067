"""A Docker engine of one's own, in a network namespace of its own, that may be ended and started anew."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import tempfile
import uuid
from pathlib import Path

import pytest

from tests.journey.waiting import until

ROOT = Path(__file__).resolve().parents[2]
TOOLS = ("dockerd", "containerd", "runc", "nsenter", "ip")


class Dockerd:
    """One engine below a directory of its own; as a context it leaves no process, mount, namespace or directory."""

    def __init__(self) -> None:
        self.name = f"bsd-{uuid.uuid4().hex[:8]}"
        self.place = Path(tempfile.mkdtemp(prefix=f"{self.name}-"))
        self.host = f"unix://{self.place}/docker.sock"
        self.live_restore = False
        self.process: subprocess.Popen[bytes] | None = None
        self.containerd: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Dockerd:
        try:
            _run("ip", "netns", "add", self.name)
            _run("ip", "-n", self.name, "link", "set", "lo", "up")
            self._start_containerd()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def start(self, *, live_restore: bool) -> None:
        """Have the engine run so, and wait until it answers; one that runs so already is left alone."""
        if self.process is not None and self.process.poll() is None:
            if live_restore == self.live_restore:
                return
            self.end(signal.SIGTERM)
        self.live_restore = live_restore
        settings = {
            "runtimes": {"nores": {"path": str(ROOT / "tests/tools/runc-nores")}},
            "default-runtime": "nores",
            "live-restore": live_restore,
            "cgroup-parent": f"/{self.name}",
            "exec-opts": ["native.cgroupdriver=cgroupfs"],
            "hosts": [self.host],
            "containerd": str(self.place / "containerd.sock"),
            "data-root": str(self.place / "data"),
            "exec-root": str(self.place / "exec"),
            "pidfile": str(self.place / "pid"),
            "bip": "10.99.0.1/24",
        }
        (self.place / "dockerd.json").write_text(json.dumps(settings))
        (self.place / "pid").unlink(missing_ok=True)  # one that was killed leaves it
        self.process = self._launch("dockerd", "--config-file", str(self.place / "dockerd.json"))
        until(self._answers, "an answer of the second engine")

    def end(self, how: signal.Signals) -> None:
        """End the engine by a signal, and wait until it is gone."""
        assert self.process is not None
        self.process.send_signal(how)
        self.process.wait(60)

    def docker(self, *words: str) -> str:
        """Run the docker client against this engine; return what it printed."""
        return _run("docker", "--host", self.host, *words)

    def close(self) -> None:
        """Remove everything, whatever state it is in."""
        if self.process is not None and self.process.poll() is None:
            with contextlib.suppress(subprocess.CalledProcessError):
                if containers := self.docker("ps", "--all", "--quiet").split():
                    self.docker("rm", "--force", "--volumes", *containers)
            self.end(signal.SIGTERM)
        if self.containerd is not None:
            self.containerd.terminate()
            self.containerd.wait(60)
        until(self._is_deserted, "the end of the second engine's processes")
        for mount in self._mounts():
            subprocess.run(["umount", "--lazy", mount], check=False)
        subprocess.run(["ip", "netns", "delete", self.name], capture_output=True, check=False)
        for group in self._groups():
            with contextlib.suppress(OSError):
                group.rmdir()
        shutil.rmtree(self.place)

    def _start_containerd(self) -> None:
        """Start what containers really hang on; on a host it is a service of its own, and outlives the engine."""
        place = self.place
        (place / "containerd.toml").write_text('version = 2\ndisabled_plugins = ["io.containerd.grpc.v1.cri"]\n')
        places = {"root": place / "containerd", "state": place / "shims", "address": place / "containerd.sock"}
        words = [word for name, path in places.items() for word in (f"--{name}", str(path))]
        self.containerd = self._launch("containerd", "--config", str(place / "containerd.toml"), *words)
        until((place / "containerd.sock").exists, "the second engine's containerd")

    def _launch(self, *command: str) -> subprocess.Popen[bytes]:
        with (self.place / "log").open("ab") as log:
            # Not `ip netns exec`: that mounts another /sys, in which the engine finds no control groups.
            inside = ["nsenter", f"--net=/run/netns/{self.name}", *command]
            return subprocess.Popen(inside, stdout=log, stderr=log)

    def _answers(self) -> bool:
        assert self.process is not None
        log = self.place / "log"
        assert self.process.poll() is None, f"the second engine ended: {log.read_text(errors='replace')[-3000:]}"
        try:
            self.docker("version")
        except subprocess.CalledProcessError:
            return False
        return True

    def _is_deserted(self) -> bool:
        """Whether nothing runs in the namespace: the engine, its helpers, and containers on its network all do."""
        found = subprocess.run(["ip", "netns", "pids", self.name], capture_output=True, text=True, check=False)
        for process in found.stdout.split():
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(process), signal.SIGKILL)
        return not found.stdout.split()

    def _mounts(self) -> list[str]:
        mounts = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
        return [mount for mount in reversed(mounts) if Path(mount).is_relative_to(self.place)]

    def _groups(self) -> list[Path]:
        """Return the control groups of the engine's containers, the inner ones first."""
        root = Path("/sys/fs/cgroup")
        tops = [top for top in (root / self.name, *root.glob(f"*/{self.name}")) if top.is_dir()]
        return [Path(folder) for top in tops for folder, _, _ in os.walk(top, topdown=False)]


def need() -> None:
    """Skip where no second engine can run."""
    missing = [tool for tool in TOOLS if shutil.which(tool) is None]
    if os.geteuid() != 0 or missing:
        pytest.skip(f"a second Docker engine needs root and the tools {', '.join(missing or TOOLS)}")
    probe = f"bsd-{uuid.uuid4().hex[:8]}"
    if subprocess.run(["ip", "netns", "add", probe], capture_output=True, check=False).returncode != 0:
        pytest.skip("a second Docker engine needs a kernel that gives us network namespaces")
    subprocess.run(["ip", "netns", "delete", probe], check=True)


def _run(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, timeout=120).stdout.decode().strip()
