"""The one door to watchdog: a push to a repository of this machine, or a change in a tree, is seen at once."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from watchdog.events import (
    DirCreatedEvent,
    DirDeletedEvent,
    DirMovedEvent,
    FileCreatedEvent,
    FileDeletedEvent,
    FileModifiedEvent,
    FileMovedEvent,
    FileSystemEvent,
    FileSystemEventHandler,
)
from watchdog.observers import Observer
from watchdog.observers.api import BaseObserver, ObservedWatch

from agent.kit.service import StopToken
from agent.source import refs
from agent.triggers.poll import PollTarget

SETTLE_SECONDS = 0.010
"""How long a repository must be quiet before it is looked at: a push moves several refs."""

_RECONCILE_SECONDS = 1.0
_FULL_CHECK_EVERY = 10
_EVENTS: list[type[FileSystemEvent]] = [
    FileCreatedEvent,
    FileDeletedEvent,
    FileModifiedEvent,
    FileMovedEvent,
    DirCreatedEvent,
    DirDeletedEvent,
    DirMovedEvent,
]
"""Not opening and closing: our own reading must not look like a change."""


@dataclass(frozen=True)
class _Place:
    """A directory to watch, by what it is and not only by its name, so that one made anew is noticed."""

    path: str
    recursive: bool
    device: int
    inode: int


@dataclass(eq=False)
class _Subject:
    """Something watched: which directories matter now, and what to call when one of them changes."""

    places: Callable[[], Iterable[tuple[Path, bool]]]
    changed: Callable[[], None]
    ignore: Callable[[str], bool]
    settle: float
    armed: dict[_Place, tuple[ObservedWatch, FileSystemEventHandler]] = field(default_factory=dict)
    timer: threading.Timer | None = None


class Watcher:
    """Calls back when something below a place changes; callbacks come on threads of its own.

    Places may be absent, vanish and come back. Where the kernel has no watches left nothing is called, and `check`
    tries again each time.
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._observer: BaseObserver | None = None
        self._subjects: dict[str, _Subject] = {}
        self._checks = 0

    def add(
        self,
        name: str,
        places: Callable[[], Iterable[tuple[Path, bool]]],
        changed: Callable[[], None],
        *,
        ignore: Callable[[str], bool] = lambda path: False,
        settle: float = SETTLE_SECONDS,
    ) -> None:
        """Watch what *places* returns, (directory, with all below it); it is asked again after every change.

        *changed* is called once nothing has happened for *settle* seconds. *ignore* gets the absolute path of an event.
        """
        with self._lock:
            if self._observer is None:
                self._observer = Observer()
                self._observer.daemon = True
                self._observer.start()
            subject = self._subjects[name] = _Subject(places, changed, ignore, settle)
            self._arm(subject)

    def remove(self, name: str) -> None:
        """Stop watching; a callback under way still ends."""
        with self._lock:
            if subject := self._subjects.pop(name, None):
                for other in self._disarm(subject, list(subject.armed)):
                    self._arm(other)
                if subject.timer is not None:
                    subject.timer.cancel()

    def check(self) -> None:
        """Notice what no event told: a place that was absent, or was replaced together with its parent.

        Cheap enough for every second: the directories watched are compared with what stands there; where they come
        from is asked again every tenth time.
        """
        with self._lock:
            self._checks += 1
            for number, subject in enumerate(list(self._subjects.values())):
                is_turn = (self._checks + number) % _FULL_CHECK_EVERY == 0
                if (is_turn or not subject.armed or not all(map(_still_there, subject.armed))) and self._arm(subject):
                    self._poke(subject)

    def close(self) -> None:
        """Stop watching everything."""
        for name in list(self._subjects):
            self.remove(name)
        with self._lock:
            observer, self._observer = self._observer, None
        if observer is not None:
            observer.stop()
            observer.join(5)

    def _arm(self, subject: _Subject) -> bool:
        """Watch the places as they are now; return whether any was new."""
        wanted = dict.fromkeys(place for path, deep in subject.places() if (place := _place(path, deep)))
        new = [place for place in wanted if place not in subject.armed]
        bereft = self._disarm(subject, [place for place in subject.armed if place not in wanted])
        for place in new:
            self._schedule(subject, place)
        for other in bereft:
            self._arm(other)
        return bool(new)

    def _schedule(self, subject: _Subject, place: _Place) -> None:
        if self._observer is None:
            return
        handler = _Handler(self, subject)
        try:
            watch = self._observer.schedule(handler, place.path, recursive=place.recursive, event_filter=_EVENTS)
        except OSError:
            return  # gone again, or no watches left: `check` tries once more, and polling goes on meanwhile
        subject.armed[place] = watch, handler

    def _disarm(self, subject: _Subject, places: Sequence[_Place]) -> list[_Subject]:
        """Stop watching *places* for *subject*; return the others that lost a watch because its directory is gone.

        watchdog knows a watch by its path. One on a directory that was replaced is dead, whoever shares it.
        """
        bereft: list[_Subject] = []
        for place in places:
            watch, handler = subject.armed.pop(place)
            if self._observer is None:
                continue
            sharing = [other for other in self._subjects.values() if other is not subject and place in other.armed]
            if sharing and _still_there(place):
                self._observer.remove_handler_for_watch(handler, watch)
                continue
            for other in sharing:
                del other.armed[place]
            bereft += sharing
            self._observer.unschedule(watch)
        return bereft

    def _poke(self, subject: _Subject) -> None:
        """Call back after a moment of quiet."""
        with self._lock:
            if subject.timer is not None:
                subject.timer.cancel()
            subject.timer = threading.Timer(subject.settle, self._settled, (subject,))
            subject.timer.daemon = True
            subject.timer.start()

    def _settled(self, subject: _Subject) -> None:
        with self._lock:
            if subject not in self._subjects.values():
                return
            self._arm(subject)
        subject.changed()


class _Handler(FileSystemEventHandler):
    """Passes on the events of one subject."""

    def __init__(self, watcher: Watcher, subject: _Subject) -> None:
        self._watcher = watcher
        self._subject = subject

    def on_any_event(self, event: FileSystemEvent) -> None:
        paths = [os.fsdecode(path) for path in (event.src_path, event.dest_path) if path]
        if not all(self._subject.ignore(path) for path in paths):
            self._watcher._poke(self._subject)  # noqa: SLF001  # two halves of one thing


class FileWatch:
    """A `Service`: has the poller look at once when a repository of this machine gets a push."""

    name = "filewatch"

    def __init__(self, *, projects: Callable[[], Sequence[PollTarget]], look_now: Callable[[str], None]) -> None:
        self._projects = projects
        self._look_now = look_now

    def run(self, stop: StopToken) -> None:
        """Watch until *stop* is set; projects that come and go are followed within a second."""
        watcher = Watcher()
        known: set[str] = set()
        try:
            while not stop.is_set:
                self._follow(watcher, known)
                watcher.check()
                stop.wait(_RECONCILE_SECONDS)
        finally:
            watcher.close()

    def _follow(self, watcher: Watcher, known: set[str]) -> None:
        """Watch each repository once, however many projects build it."""
        wanted = {path for one in self._projects() if (path := one.local_path)}
        for path in known - wanted:
            watcher.remove(path)
        for path in wanted - known:
            watcher.add(path, _ref_places(Path(path)), self._caller(path), ignore=_is_no_ref)
        known.clear()
        known.update(wanted)

    def _caller(self, path: str) -> Callable[[], None]:
        def look() -> None:
            for one in self._projects():
                if one.local_path == path:
                    self._look_now(one.project.name)

        return look


def watch_tree(
    path: Path, on_change: Callable[[], None], ignore: Callable[[Path], bool] = lambda path: False
) -> Watcher:  # fmt: skip
    """Call *on_change* whenever something at or below *path* has changed and been quiet for a moment.

    *ignore* gets an absolute path; a change of ignored paths alone is none. Close what is returned to end it.
    """
    watcher = Watcher()
    root = Path(os.path.abspath(path))  # noqa: PTH100  # the path's own name counts, not what it links to

    def outside(text: str) -> bool:
        return not Path(text).is_relative_to(root) or ignore(Path(text))

    watcher.add("tree", lambda: _tree_places(root), on_change, ignore=outside)
    return watcher


def _ref_places(repository: Path) -> Callable[[], Iterable[tuple[Path, bool]]]:
    """HEAD and packed-refs lie in the git directory itself, the other refs below `refs`; objects are not watched."""

    def places() -> Iterable[tuple[Path, bool]]:
        directory = refs.git_dir(repository)
        if directory is None:
            return [(_nearest(repository), False)]
        common = refs.common_dir(directory)
        found = [(directory, False), (common, False), (common / "refs", True)]
        return list(dict.fromkeys(found))

    return places


def _tree_places(root: Path) -> Iterable[tuple[Path, bool]]:
    if root.is_dir():
        return [(root, True), (root.parent, False)]
    return [(_nearest(root), False)]


def _nearest(path: Path) -> Path:
    """Return the closest directory above *path*, or *path* itself, that exists."""
    return next((one for one in (path, *path.parents) if one.is_dir()), Path("/"))


def _is_no_ref(path: str) -> bool:
    """Whether a change of *path* says nothing about refs: git's lock files, and the index of a work tree."""
    return path.endswith((".lock", "/index", "/COMMIT_EDITMSG", "/FETCH_HEAD", "/ORIG_HEAD"))


def _place(path: Path, recursive: bool) -> _Place | None:
    try:
        info = path.stat()
    except OSError:
        return None
    return _Place(str(path), recursive, info.st_dev, info.st_ino)


def _still_there(place: _Place) -> bool:
    try:
        info = os.stat(place.path)  # noqa: PTH116  # two hundred a second
    except OSError:
        return False
    return (info.st_dev, info.st_ino) == (place.device, place.inode)
