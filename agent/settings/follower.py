"""Follower: keeps the configuration at the newest good commit of the repository that it comes from."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Protocol

from agent.daemon.control import ConfigState
from agent.errors import BuildspecdError, Problem, SourceNotFound
from agent.kit.clock import Clock
from agent.kit.files import write_atomic
from agent.kit.logging import get_logger
from agent.kit.service import StopToken
from agent.settings.configsource import CURRENT, current_revision, make_current

_log = get_logger("config-source")
_COMMIT = re.compile(r"[0-9a-f]{40}([0-9a-f]{24})?")
_STATE = "state.json"
_MOST_PROBLEMS = 100
LONGEST_PAUSE_SECONDS = 600.0


class Repository(Protocol):
    """The repository of the configuration."""

    def head(self, stop: StopToken) -> tuple[str, str]:
        """Return the ref that is followed and the commit it points to. Raises `BuildspecdError`."""
        ...

    def check_out(self, ref: str, commit: str, directory: Path) -> None:
        """Make *directory*, which is empty, hold *commit*. Raises `BuildspecdError`."""
        ...


@dataclass(frozen=True)
class _Kept:
    """What outlives the daemon: the commit that was refused last and why, and the commit that was told of."""

    refused: str = ""
    problems: tuple[str, ...] = ()
    told: str = ""


@dataclass
class Follower:
    """A Service. *check* returns every problem of a checkout, *apply* takes up the one that has become current.

    *tell* is told of each commit whether it holds, with the problems where it does not.
    """

    repository: Repository
    place: ConfigState
    directory: Path
    check: Callable[[Path], Sequence[Problem]]
    apply: Callable[[], None]
    tell: Callable[[str, Sequence[str]], None]
    every: Callable[[], float]
    clock: Clock
    name: str = "config source"
    trouble: str = ""
    _failures: int = 0
    _kept: _Kept = field(default_factory=_Kept)
    _swept: bool = False

    def __post_init__(self) -> None:
        self._kept = _read(self.directory / _STATE)

    @property
    def state(self) -> ConfigState:
        """How it stands; any thread may ask."""
        place, kept = self.place, self._kept
        return ConfigState(
            url=place.url,
            branch=place.branch,
            path=place.path,
            revision=current_revision(self.directory) or "",
            refused=kept.refused,
            problems=kept.problems,
            trouble=self.trouble,
        )

    def run(self, stop: StopToken) -> None:
        """Follow until *stop*."""
        while not stop.is_set:
            self.clock.wait(self.turn(stop), stop)

    def turn(self, stop: StopToken) -> float:
        """Look once, and take up what is new; return for how many seconds to pause then."""
        try:
            ref, commit = self.repository.head(stop)
            if not _COMMIT.fullmatch(commit):
                raise SourceNotFound(f"{ref} points to {commit[:60]!r}, which is no commit")
            if commit not in (current_revision(self.directory), self._kept.refused):
                self._consider(ref, commit)
            elif self._kept.refused and commit != self._kept.refused:
                self._keep(replace(self._kept, refused="", problems=()))  # the branch was set back to what holds
            self._tell_of(commit)
            if not self._swept:
                self._sweep()
        except BuildspecdError as error:
            return self._later(error)
        if self.trouble:
            _log.info("the repository of the configuration can be read again", url=self.place.url)
        self.trouble, self._failures = "", 0
        return self.every()

    def _consider(self, ref: str, commit: str) -> None:
        checkout = self.directory / commit
        self.directory.mkdir(mode=0o750, parents=True, exist_ok=True)
        _remove(checkout)  # of one that was killed
        checkout.mkdir(mode=0o750)
        self.repository.check_out(ref, commit, checkout)
        problems = [problem for problem in self.check(checkout) if problem.fatal]
        self._swept = False
        if problems:
            told = tuple(str(problem) for problem in problems[:_MOST_PROBLEMS])
            _log.error("a commit of the configuration is refused; the one before holds", commit=commit, problems=told)
            self._keep(replace(self._kept, refused=commit, problems=told))
            return
        make_current(self.directory, commit)
        self._keep(replace(self._kept, refused="", problems=()))
        _log.info("the configuration is that of a new commit", commit=commit)
        self.apply()

    def _tell_of(self, commit: str) -> None:
        """Tell of *commit*, unless that has been done; a kill in between has it told twice at most."""
        if self._kept.told != commit:
            self.tell(commit, self._kept.problems)
            self._keep(replace(self._kept, told=commit))

    def _keep(self, kept: _Kept) -> None:
        write_atomic(self.directory / _STATE, json.dumps(asdict(kept)).encode(), mode=0o640)
        self._kept = kept

    def _sweep(self) -> None:
        """Remove every checkout but the one that holds."""
        current = current_revision(self.directory)
        for path in self.directory.iterdir():
            if path.name not in (CURRENT, _STATE, current) and not path.name.startswith("."):
                _remove(path)
        self._swept = True

    def _later(self, error: BuildspecdError) -> float:
        if error.message != self.trouble:
            _log.warning("the configuration cannot be followed", error=error.message, hint=error.hint)
        self.trouble = error.message
        self._failures += 1
        return min(self.every() * 2.0 ** min(self._failures, 10), max(LONGEST_PAUSE_SECONDS, self.every()))


def _read(file: Path) -> _Kept:
    with suppress(OSError, ValueError, KeyError, TypeError):
        document = json.loads(file.read_bytes())
        return _Kept(str(document["refused"]), tuple(map(str, document["problems"])), str(document["told"]))
    return _Kept()


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
