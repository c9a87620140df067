"""CloudProcess: the AWS-shaped server as a process of its own, which outlives a daemon that is killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

from agent.errors import AwsUnavailable
from agent.torture.cloud.remote import Remote

_FAREWELL_SECONDS = 10.0


class CloudProcess(Remote):
    """A server that this process has started; it ends with the block, or when this process does."""

    def __init__(self, *, seed: int = 0, port: int = 0) -> None:
        """Start it, and wait until it listens. Raises `AwsUnavailable` when it does not."""
        command = [sys.executable, "-m", "agent.torture.cloud", "--seed", str(seed), "--port", str(port), "--leash"]
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )
        line = self._process.stdout.readline().decode().strip() if self._process.stdout else ""
        if not line.startswith("http://"):
            self._end()
            raise AwsUnavailable("the AWS-shaped server did not start", hint=f"try: {' '.join(command[:-1])}")
        super().__init__(line)

    @property
    def pid(self) -> int:
        """Its number."""
        return self._process.pid

    def __enter__(self) -> CloudProcess:
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    def _end(self) -> None:
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(_FAREWELL_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe:
                pipe.close()
