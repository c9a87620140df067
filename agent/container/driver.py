"""The driver's side of the daemon: what goes into the control directory and what comes out (docs/JOURNAL.md 2)."""

from __future__ import annotations

import errno
import os
import shutil
import stat
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from agent.buildspec.plan import OnFailure, PhasePlan
from agent.container.journal import Begun, JournalReader, Resumed
from agent.container.words import is_identifier, quote, shell_text, variables_only
from agent.kit.clock import Clock
from agent.kit.files import open_regular, read_regular, write_atomic
from agent.model.phase import PhaseType

CONTROL_TARGET = "/codebuild/agent"
SECRETS_TARGET = "/codebuild/agent-secrets"
USER_TARGET = "/codebuild/user"
"""Ours, for the commands of a build, whatever user they run as: the helper commands lie in its `bin`."""
SCRATCH_TARGET = "/codebuild/output/tmp"
SCRATCH_OPTIONS = "rw,nosuid,nodev,noexec,mode=0755"
"""The scratch is root's alone: with a sticky bit the kernel would keep root from writing what `run-as` users own."""
COMMAND = ("/bin/sh", f"{CONTROL_TARGET}/driver.sh")
STOP_SIGNAL = "SIGUSR1"
"""Ends a build in order. Not TERM: builds send that to themselves (docs/JOURNAL.md 2.9)."""
ENVIRONMENT_FILE = "environment"

_VALUE_LIMIT = 64 << 10
_RESULT_LIMIT = 4096
_UNSET_STATUS = 95
_OUTCOMES = frozenset({"completed", "aborted", "refused", "stopped"})


@dataclass(frozen=True)
class Expansion:
    """A text of the buildspec that the build's shell expands. `code` is shell that prints the value."""

    name: str
    code: str

    @classmethod
    def of_variables(cls, name: str, text: str) -> Expansion:
        """Expand `$NAME` and `${NAME}` in *text*, nothing else (paths of artifacts, cache and reports)."""
        return cls(name, f"printf '%s' {variables_only(text)}")

    @classmethod
    def of_shell(cls, name: str, text: str) -> Expansion:
        """Expand *text* with the shell's whole language (`artifacts.name`, `cache.key`).

        It fails when the last command in it does: half a cache key would be another build's.
        """
        return cls(name, f"bd_text={shell_text(text)} && printf '%s' \"$bd_text\"")

    @classmethod
    def of_variable(cls, name: str, variable: str) -> Expansion:
        """The value of *variable*; one that is not set is told from an empty one. Needs a shell identifier."""
        if not is_identifier(variable):
            return cls(name, f"exit {_UNSET_STATUS}")
        return cls(name, f'[ "${{{variable}+set}}" ] || exit {_UNSET_STATUS}\nprintf \'%s\' "${variable}"')


@dataclass(frozen=True)
class Expanded:
    """What came of an expansion. `value` is present when `state` is `ok`."""

    state: Literal["ok", "unset", "failed"]
    value: str | None = None


@dataclass(frozen=True)
class SetUp:
    """A command that sets up a runtime of the image. `version` is what it sees as `$VERSION`; empty: nothing."""

    text: str
    version: str = ""


@dataclass(frozen=True)
class DriverPlan:
    """All that the driver needs to run a build by itself.

    `clock_base` comes from `clock_base()`. `source_dir` is CODEBUILD_SRC_DIR, `workspace` the mount that holds all
    sources, `checkouts` every source directory, all as seen in the container. `owner` is (uid, gid) of a daemon that
    is not root. `set_up` is run first of all, as commands of DOWNLOAD_SOURCE (buildspec.md 9). `before` is evaluated
    ahead of INSTALL, `after` when POST_BUILD is over and uploads will follow; `hold` makes the driver wait for `resume`
    between `before` and INSTALL. `cached`, a mount of a local cache or empty, changes its owner with the workspace.
    `gitconfig` is a file of git's configuration that all git commands shall read, or empty.
    """

    phases: tuple[PhasePlan, ...]
    source_dir: str
    workspace: str
    clock_base: int
    shell: str = "/bin/sh"
    isolated: bool = False
    checkouts: tuple[str, ...] = ()
    owner: tuple[int, int] | None = None
    gopath: str | None = None
    set_up: tuple[SetUp, ...] = ()
    before: tuple[Expansion, ...] = ()
    after: tuple[Expansion, ...] = ()
    hold: bool = False
    cached: str = ""
    gitconfig: str = ""


@dataclass(frozen=True)
class Result:
    """How the driver ended. Uploads happen when `outcome` is `completed` (docs/JOURNAL.md 2.7)."""

    outcome: str
    phase: PhaseType | None
    succeeding: bool


def clock_base(clock: Clock) -> int:
    """Return the wall clock's microseconds since the epoch at the moment of boot, which the driver counts from."""
    return round((clock.now() - time.clock_gettime(time.CLOCK_BOOTTIME)) * 1_000_000)


def prepare_control(directory: Path) -> None:
    """Make *directory* ready to be mounted into a container that is yet to be started. Safe to repeat before that."""
    directory.mkdir(mode=0o700, exist_ok=True)
    write_atomic(directory / "driver.sh", _own(), sync=False)
    for name, mode in (("go", 0o600), ("pipe", 0o666)):
        fifo = directory / name
        if not fifo.is_fifo():
            os.mkfifo(fifo)
        fifo.chmod(mode)  # mkfifo's own mode is cut by the umask
    _lay_out_commands(directory / "user")
    for name in ("output", "journal", "driver.log"):
        os.close(os.open(directory / name, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o644))


def is_foreign(directory: Path) -> bool:
    """Whether the driver there is another version's, which may not understand the plan that we would write for it.

    Only of a driver that has not begun: later a build may have written the file. One that runs keeps to its own plan.
    """
    return read_regular(directory / "driver.sh", 1 << 20) != _own()


def _own() -> bytes:
    return Path(__file__).with_name("driver.sh").read_bytes()


def _lay_out_commands(user: Path) -> None:
    """Make *user* hold our commands anew, for every user of the container; what a dead container left there may be
    links that lead out of it."""
    if user.is_symlink() or user.is_file():
        user.unlink()
    elif user.exists():
        shutil.rmtree(user)
    for place in (user, user / "bin", user / "lib"):
        place.mkdir()
        place.chmod(0o755)
    for file in sorted(Path(__file__).with_name("commands").iterdir()):
        if file.is_file():
            place = user / ("lib" if file.suffix == ".sh" else "bin")
            write_atomic(place / file.name, file.read_bytes(), mode=0o755, sync=False)


def forget(directory: Path) -> None:
    """Remove what a driver that is dead wrote before INSTALL, so that the next one is not taken for it.

    The log stays: it holds nothing yet, and is being followed.
    """
    for file in directory.iterdir() if directory.is_dir() else ():
        if file.name in ("journal", "result") or file.name.startswith(("before.", "after.")):
            file.unlink(missing_ok=True)


def write_plan(directory: Path, plan: DriverPlan) -> None:
    """Write `plan.sh`, whole or not at all. It is data: assignments of single-quoted words."""
    lines = [f"plan_{name}={quote(value)}\n" for name, value in _assignments(plan)]
    write_atomic(directory / "plan.sh", "".join(lines).encode("utf-8", "surrogateescape"), mode=0o600, sync=False)


def write_environment(path: Path, variables: Mapping[str, str]) -> tuple[str, ...]:
    """Write the variables of the build's processes to *path*, on a tmpfs, mode 0600.

    Returns the names that were left out because a POSIX shell cannot hold them.
    """
    skipped = tuple(name for name in variables if not is_identifier(name))
    # `command` keeps a shell alive when a name is one of its own read-only variables (bash: UID).
    lines = [f"command export {quote(f'{name}={value}')}\n" for name, value in variables.items() if name not in skipped]
    text = "environment() {\n:\n" + "".join(lines) + "}\n"
    write_atomic(path, text.encode("utf-8", "surrogateescape"), mode=0o600, sync=False)
    return skipped


def go(directory: Path) -> bool:
    """Let the driver begin. False: it is not there yet, ask again soon. Safe to repeat, also after a restart."""
    return _has_heard(directory, Begun) or _say(directory, b"begin\n")


def resume(directory: Path) -> bool:
    """Let a driver on `hold` go on to INSTALL. False: it is not there yet, ask again soon. Safe to repeat."""
    return _has_heard(directory, Resumed) or _say(directory, b"resume\n")


def stop(directory: Path) -> bool:
    """Tell a driver that waits for a word to end; one that runs commands hears the stop signal only. Safe to repeat.

    It comes ahead of the signal, which a shell loses when it arrives on the way into the reading of the FIFO.
    False: nobody waits.
    """
    return _say(directory, b"stop\n")


def read_result(directory: Path) -> Result | None:
    """Return how the build ended, or None while it has not; then `output` and `journal` are complete.

    A file that makes no sense (a build can write it, too) counts as absent.
    """
    data = read_regular(directory / "result", _RESULT_LIMIT) or b""
    lines = data.decode("ascii", "replace").split("\n")
    if lines[-2:] != ["end", ""]:
        return None
    facts = dict(line.split(" ", 1) for line in lines[:-2] if " " in line)
    outcome, phase = facts.get("outcome", ""), facts.get("phase", "-")
    if outcome not in _OUTCOMES or phase not in {*PhaseType, "-"}:
        return None
    return Result(outcome, None if phase == "-" else PhaseType(phase), facts.get("succeeding") == "1")


def read_expansions(
    directory: Path, when: Literal["before", "after"], expansions: Sequence[Expansion]
) -> dict[str, Expanded]:
    """Return what came of each of *expansions*, by name. The values are the build's word and may be anything."""
    return {
        expansion.name: _read_expansion(directory / f"{when}.{index}")
        for index, expansion in enumerate(expansions, start=1)
    }


def read_diagnostics(directory: Path, limit: int = 4096) -> str:
    """Return the end of what the driver's own shell complained of; for a FAULT's message, not for users."""
    handle = open_regular(directory / "driver.log")
    if handle is None:
        return ""
    with os.fdopen(handle, "rb") as file:
        file.seek(max(0, os.fstat(file.fileno()).st_size - limit))
        return file.read(limit).decode("utf-8", "replace")


def _assignments(plan: DriverPlan) -> Iterator[tuple[str, str]]:
    yield "clock_base", str(plan.clock_base)
    yield "shell", plan.shell
    yield "isolated", "1" if plan.isolated else ""
    yield "source", plan.source_dir
    yield "workspace", plan.workspace
    yield "gopath", plan.gopath or ""
    yield "owner", f"{plan.owner[0]}:{plan.owner[1]}" if plan.owner else ""
    yield "hold", "1" if plan.hold else ""
    yield "cached", plan.cached
    yield "gitconfig", plan.gitconfig
    yield from _numbered("checkouts", plan.checkouts)
    yield from _numbered("DOWNLOAD_SOURCE_commands", [command.text for command in plan.set_up])
    yield from _numbered("DOWNLOAD_SOURCE_version", [command.version for command in plan.set_up])
    yield from _numbered("before", [expansion.code for expansion in plan.before])
    yield from _numbered("after", [expansion.code for expansion in plan.after])
    given = {phase.phase: phase for phase in plan.phases}
    for kind in (PhaseType.INSTALL, PhaseType.PRE_BUILD, PhaseType.BUILD, PhaseType.POST_BUILD):
        yield from _phase(given.get(kind, PhasePlan(phase=kind)))


def _phase(phase: PhasePlan) -> Iterator[tuple[str, str]]:
    yield from _numbered(f"{phase.phase}_commands", phase.commands)
    yield from _numbered(f"{phase.phase}_finally", phase.finally_commands)
    yield f"{phase.phase}_action", phase.on_failure.action
    yield f"{phase.phase}_retries", str(phase.on_failure.retries)
    yield f"{phase.phase}_pattern", _pattern(phase.on_failure)
    yield f"{phase.phase}_user", "" if phase.run_as in (None, "root") else str(phase.run_as)


def _pattern(on_failure: OnFailure) -> str:
    """Return the pattern, empty when any failure fits: then the driver need not look at the output."""
    return "" if on_failure.action != "RETRY" or on_failure.pattern == ".*" else on_failure.pattern


def _numbered(name: str, values: Sequence[str]) -> Iterator[tuple[str, str]]:
    yield name, str(len(values))
    for index, value in enumerate(values, start=1):
        yield f"{name}_{index}", value


def _has_heard(directory: Path, event: type[Begun] | type[Resumed]) -> bool:
    return any(isinstance(seen, event) for seen in JournalReader(directory).read())


def _say(directory: Path, word: bytes) -> bool:
    try:
        handle = os.open(directory / "go", os.O_WRONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        if error.errno in (errno.ENXIO, errno.ELOOP, errno.ENOENT):
            return False
        raise
    try:
        return stat.S_ISFIFO(os.fstat(handle).st_mode) and os.write(handle, word) == len(word)
    except (BrokenPipeError, BlockingIOError):
        return False
    finally:
        os.close(handle)


def _read_expansion(path: Path) -> Expanded:
    data = read_regular(path, _VALUE_LIMIT + 64)
    if data is None or len(data) > _VALUE_LIMIT or not data.endswith(b"\n"):
        return Expanded("failed")
    value, _, status = data[:-1].rpartition(b"\n")
    if status == b"unset":
        return Expanded("unset")
    if status != b"0":
        return Expanded("failed")
    return Expanded("ok", value.replace(b"\0", b"").decode("utf-8", "replace"))
