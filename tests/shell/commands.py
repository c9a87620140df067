"""Runs the helper commands of a build on the host, under each of the shells, as they lie in a container."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from agent.container import driver

SHELLS = {"dash": ("dash",), "ash": ("busybox", "ash"), "bash": ("bash",)}
TIMEOUT = 60


class Commands:
    """The commands below *root*, where `codebuild/user` and `codebuild/agent-secrets` are made."""

    def __init__(self, root: Path) -> None:
        self.root = root
        driver.prepare_control(root / "control")
        self.user = root / "codebuild" / "user"
        self.user.parent.mkdir()
        (root / "control" / "user").rename(self.user)
        self.registered = root / "codebuild" / "agent-secrets" / "registered"
        self.registered.parent.mkdir()
        self.registered.touch()

    def start(
        self,
        shell: str,
        command: str,
        *arguments: str | bytes,
        cwd: Path | None = None,
        environ: Mapping[str, str] | None = None,
        tools: Sequence[str] | None = None,
        stdin: int = subprocess.DEVNULL,
    ) -> subprocess.Popen[bytes]:
        """Start a command under *shell*; with *tools*, those are all programs that it finds."""
        program, *words = SHELLS[shell]
        found = shutil.which(program)
        assert found, f"this test needs {program}"
        variables = {"PATH": self.path(tools), **(environ or {})}
        line = [found, *words, str(self.user / "bin" / command), *arguments]
        return subprocess.Popen(
            line, cwd=cwd or self.root, env=variables, stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )

    def run(
        self, shell: str, command: str, *arguments: str | bytes, data: bytes | None = None, **how: object
    ) -> subprocess.CompletedProcess[bytes]:
        """Run it to its end; *data* is its standard input."""
        if data is not None:
            how["stdin"] = subprocess.PIPE
        with self.start(shell, command, *arguments, **how) as process:  # type: ignore[arg-type]
            out, err = process.communicate(data, TIMEOUT)
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    def path(self, tools: Sequence[str] | None) -> str:
        """Return a PATH; with *tools*, one of a directory that holds those alone."""
        if tools is None:
            return f"{os.environ['PATH']}:{self.user / 'bin'}"
        place = self.root / ("tools-" + "-".join(tools))
        if not place.exists():
            place.mkdir()
            for name in tools:
                found = shutil.which(name)
                assert found, f"this test needs {name}"
                (place / name).symlink_to(found)
        return f"{place}:{self.user / 'bin'}"
