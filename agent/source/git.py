"""The one door to GitPython: git without prompts and foreign configuration, with time limits and typed errors."""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from agent.errors import BuildspecdError, GitUnavailable
from agent.kit.heed import heed
from agent.kit.service import StopToken
from agent.source.credentials import Remote, SshLogin
from agent.source.failures import explain

LOCAL_SECONDS = 600.0
"""Longest time for a command that talks to nobody, such as a checkout."""
NETWORK_SECONDS = 3600.0
"""Longest time for a fetch; one that stands still is given up after a minute (http.lowSpeedTime)."""

_HERE = Path(__file__).parent
_CONFIG = _HERE / "gitconfig"
_HELPER = _HERE / "credential.sh"
_SLICE_SECONDS = 0.25
_SSH = "ssh -o BatchMode=yes -o ConnectTimeout=15 -o ServerAliveInterval=15 -o ServerAliveCountMax=4"
_FOREIGN = (
    *("GIT_ALTERNATE_OBJECT_DIRECTORIES", "GIT_CONFIG", "GIT_CONFIG_PARAMETERS", "GIT_OBJECT_DIRECTORY", "GIT_DIR"),
    *("GIT_WORK_TREE", "GIT_IMPLICIT_WORK_TREE", "GIT_GRAFT_FILE", "GIT_INDEX_FILE", "GIT_NO_REPLACE_OBJECTS"),
    *("GIT_REPLACE_REF_BASE", "GIT_PREFIX", "GIT_SHALLOW_FILE", "GIT_COMMON_DIR", "GIT_NAMESPACE", "GIT_TRACE"),
    *("GIT_TRACE_CURL", "GIT_TRACE_PACKET", "GIT_CURL_VERBOSE", "GIT_QUARANTINE_PATH", "GIT_DEFAULT_HASH"),
    *("GIT_TEMPLATE_DIR", "GIT_EXTERNAL_DIFF"),
)
"""Variables of a git hook or of somebody's debugging, which must not reach our git."""


@dataclass(frozen=True)
class Answer:
    """How a git process ended. `status` is negative for a signal."""

    status: int
    out: bytes
    err: str

    @property
    def text(self) -> str:
        """Standard output as text, without the last newline."""
        return self.out.decode(errors="surrogateescape").rstrip("\n")


def preload() -> None:
    """Import GitPython (about 0.1 s), so that no build waits for it. Any thread may call it, any number of times."""
    _library()


@cache
def _library() -> Any:
    # Without this GitPython runs `git version` at import, and raises where git is missing.
    os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")
    import git.cmd

    return git.cmd


class Git:
    """Runs git commands. Safe to share between threads."""

    def ask(
        self,
        *arguments: str | Path,
        directory: Path | None = None,
        remote: Remote | None = None,
        seconds: float = LOCAL_SECONDS,
        stop: StopToken | None = None,
        keep_open: Sequence[int] = (),
    ) -> Answer:
        """Run git and return how it ended, whatever its status.

        *remote* is the only place that the process may talk to, and says how it gets in. *keep_open* are descriptors
        that it inherits. Raises `GitUnavailable` when the time is over or *stop* is set; the process is gone then.
        """
        command = [*_cleaned(), "git", *(str(word) for word in arguments)]
        git = _library().Git(directory)
        try:
            process = git.execute(
                command,
                as_process=True,
                env=_environment(remote),
                start_new_session=True,
                pass_fds=tuple(keep_open),
                umask=0o022,
            )
        except _library().GitCommandNotFound as error:
            raise BuildspecdError("git is not installed on this host", hint="install git 2.30 or newer") from error
        out, err = _finish(process.proc, seconds, stop, remote)
        complaint = err.decode(errors="replace").strip()
        return Answer(process.proc.returncode, out, remote.without_secrets(complaint) if remote else complaint)

    def run(self, *arguments: str | Path, **options: Any) -> Answer:
        """Like `ask`, but any status other than 0 is raised as an error of ours (`failures.explain`)."""
        answer = self.ask(*arguments, **options)
        if answer.status != 0:
            remote: Remote | None = options.get("remote")
            raise explain(answer.err or f"git ended with status {answer.status}", remote.url.text if remote else "")
        return answer


def _finish(
    process: subprocess.Popen[bytes], seconds: float, stop: StopToken | None, remote: Remote | None
) -> tuple[bytes, bytes]:
    deadline = time.monotonic() + seconds
    try:
        while True:
            try:
                return process.communicate(timeout=min(_SLICE_SECONDS, max(0.0, deadline - time.monotonic())))
            except subprocess.TimeoutExpired:
                heed()
                if stop is not None and stop.is_set:
                    raise GitUnavailable("git was interrupted: the agent is stopping") from None
                if time.monotonic() >= deadline:
                    place = remote.url.text if remote else "this host's disk"
                    raise GitUnavailable(
                        f"git got no answer from {place} within {seconds:g} seconds",
                        hint="check the network between this host and the git server",
                    ) from None
    finally:
        if process.returncode is None:
            _kill(process)


def _kill(process: subprocess.Popen[bytes]) -> None:
    """End git and the helpers that it started; they share a session of their own."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


def _cleaned() -> list[str]:
    """Return the words that strip foreign variables, which GitPython would pass on; usually there are none."""
    present = [name for name in _FOREIGN if name in os.environ]
    return ["env", *(word for name in present for word in ("-u", name))] if present else []


def _environment(remote: Remote | None) -> Mapping[str, str]:
    variables = {
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": str(_CONFIG),
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_ASKPASS": "/bin/false",
        "SSH_ASKPASS": "/bin/false",
        "GIT_OPTIONAL_LOCKS": "0",
        "GIT_ALLOW_PROTOCOL": _protocols(remote),
    }
    if remote is not None and remote.ssh is not None:
        variables["GIT_SSH_COMMAND"] = ssh_command(remote.ssh)
    elif "GIT_SSH_COMMAND" not in os.environ and "GIT_SSH" not in os.environ:
        variables["GIT_SSH_COMMAND"] = _SSH
    settings: list[tuple[str, str]] = []
    if remote is not None and remote.ca_file is not None:
        variables["GIT_SSL_CAINFO"] = str(remote.ca_file)
    if remote is not None and remote.insecure_ssl:
        settings.append(("http.sslVerify", "false"))
    if remote is not None and remote.credential is not None and remote.url.scheme in {"https", "http"}:
        origin = remote.url.text.split("/", 3)
        settings.append((f"credential.{origin[0]}//{origin[2]}.helper", f"!sh {shlex.quote(str(_HELPER))}"))
        settings.append(("http.proactiveAuth", "basic"))
        variables["BUILDSPECD_GIT_USERNAME"] = remote.credential.username
        variables["BUILDSPECD_GIT_PASSWORD"] = remote.credential.password.reveal()
    variables["GIT_CONFIG_COUNT"] = str(len(settings))
    for index, (key, value) in enumerate(settings):
        variables[f"GIT_CONFIG_KEY_{index}"] = key
        variables[f"GIT_CONFIG_VALUE_{index}"] = value
    return variables


def ssh_command(login: SshLogin) -> str:
    """Return the words by which git starts ssh: with this key and no other, and only to a host that is known."""
    words = [*_SSH.split(), "-o", "IdentitiesOnly=yes", "-o", "IdentityAgent=none", "-i", str(login.key_file)]
    words += ["-o", "StrictHostKeyChecking=yes"]
    if login.known_hosts is not None:
        words += ["-o", f"UserKnownHostsFile={login.known_hosts}", "-o", "GlobalKnownHostsFile=/dev/null"]
    return shlex.join(words)


def _protocols(remote: Remote | None) -> str:
    if remote is None:
        return "none"
    return "http:https" if remote.url.scheme == "http" else remote.url.scheme
