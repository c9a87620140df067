"""Taking up changes of agent.yml and of the project files while the daemon runs."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

from agent.kit.logging import get_logger
from agent.kit.sdnotify import Notifier
from agent.kit.service import StopToken
from agent.settings.live import Change, LiveConfiguration
from agent.settings.projects import project_files
from agent.settings.schema import Settings

_log = get_logger("settings")
_LOOK_EVERY_SECONDS = 2.0
_TAKEN_UP_AT_ONCE = frozenset({"projects_dir", "builds", "poll", "credentials", "webhooks"})
"""Members of Settings that the running daemon reads anew each time it needs them."""

Signature = tuple[tuple[str, int, int, int], ...]
"""Path, inode, size and modification time (nanoseconds) of every file that matters."""


class Watch(Protocol):
    """A directory being watched."""

    def check(self) -> None:
        """Notice what no event told."""
        ...

    def close(self) -> None: ...


class SettingsWatch:
    """A `Service`: reloads when a file has changed, and tells the log and systemd what came of it.

    The directory of the projects is watched with *watch_tree* (path, callback), so that a new project is there at
    once. Every two seconds all files are looked at as well: network file systems send no events, and the directory of
    agent.yml is not watched at all, since it may hold the state directory too.
    """

    name = "settings"

    def __init__(
        self,
        live: LiveConfiguration,
        watch_tree: Callable[[Path, Callable[[], None]], Watch],
        took_up: Callable[[], None],
        notifier: Notifier,
    ) -> None:
        self._live = live
        self._watch_tree = watch_tree
        self._took_up = took_up
        self._notifier = notifier
        self._lock = threading.Lock()
        self._seen = signature(live)
        self._problems = live.problems

    def run(self, stop: StopToken) -> None:
        """Follow the files until *stop* is set."""
        while not stop.is_set:
            directory = self._live.settings.projects_dir
            watch = self._watch_tree(directory, self.look)
            try:
                while not stop.is_set and self._live.settings.projects_dir == directory:
                    watch.check()
                    self.look()
                    stop.wait(_LOOK_EVERY_SECONDS)
            finally:
                watch.close()

    def look(self) -> None:
        """Take up what has changed since the last time, if anything has. Any thread may call this."""
        with self._lock:
            now = signature(self._live)
            if now == self._seen:
                return
            self._seen = now
            self._reload()

    def reload(self) -> None:
        """Read all files again, changed or not: what SIGHUP asks for. Any thread may call this."""
        with self._lock:
            self._seen = signature(self._live)
            self._reload()

    def _directories(self) -> tuple[Path, ...]:
        own = () if self._live.file is None else (self._live.file.absolute().parent,)
        return tuple(dict.fromkeys((*own, self._live.settings.projects_dir)))

    def _reload(self) -> None:
        before = self._live.settings
        self._notifier.reloading()
        try:
            change = self._live.reload()
        finally:
            self._notifier.ready(self._standing())
        self._tell(change, before)
        if change:
            self._took_up()

    def _tell(self, change: Change, before: Settings) -> None:
        new = [problem for problem in change.problems if problem not in self._problems]
        for problem in new:
            write = _log.error if problem.fatal else _log.warning
            write("a mistake in the settings; what was right before still holds", problem=str(problem))
        self._problems = change.problems
        if change:
            _log.info(
                "settings taken up",
                added=sorted(change.added),
                changed=sorted(change.changed),
                removed=sorted(change.removed),
                settings=change.settings,
            )
        if waiting := sorted(changed_members(before, self._live.settings) - _TAKEN_UP_AT_ONCE):
            _log.warning("these settings take effect when the daemon is started again", settings=waiting)

    def _standing(self) -> str:
        wrong = sum(problem.fatal for problem in self._live.problems)
        count = len(self._live.projects)
        projects = f"{count} project{'' if count == 1 else 's'}"
        return f"{projects}, {wrong} mistake{'' if wrong == 1 else 's'} in the settings" if wrong else projects


def changed_members(before: Settings, after: Settings) -> frozenset[str]:
    """Return the top-level members in which two settings differ."""
    return frozenset(name for name in Settings.model_fields if getattr(before, name) != getattr(after, name))


def signature(live: LiveConfiguration) -> Signature:
    """Return what tells one state of the files from another, without reading them."""
    return tuple(_facts(live))


def _facts(live: LiveConfiguration) -> Iterator[tuple[str, int, int, int]]:
    agent = [] if live.file is None else [live.file]
    projects, problems = project_files(live.settings.projects_dir)
    for file in (*agent, *projects):
        try:
            info = file.stat()
        except OSError:
            yield str(file), 0, 0, 0
        else:
            yield str(file), info.st_ino, info.st_size, info.st_mtime_ns
    for problem in problems:
        yield problem.message, 0, 0, 0
