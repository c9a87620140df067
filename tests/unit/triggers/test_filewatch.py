"""Watching repositories and trees of this machine."""

from __future__ import annotations

import queue
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from agent.kit.service import StopToken
from agent.model.project import Environment, Project, Source
from agent.triggers.filewatch import FileWatch, Watcher, watch_tree
from agent.triggers.poll import PollTarget
from tests.fakes.repository import Repository, git


def target(name: str, location: str) -> PollTarget:
    source = Source(type="GIT", location=location)
    return PollTarget(Project(name=name, source=source, environment=Environment(image="i")), 3600)


class Armed(FileWatch):
    """A file watch that says when it has looked around."""

    def __init__(self, *targets: PollTarget) -> None:
        self.nudges: queue.Queue[str] = queue.Queue()
        self.ready = threading.Event()
        super().__init__(projects=lambda: targets, look_now=self.nudges.put)

    def _follow(self, watcher: Watcher, known: set[str]) -> None:
        super()._follow(watcher, known)
        self.ready.set()

    @contextmanager
    def running(self) -> Iterator[queue.Queue[str]]:
        stop = StopToken()
        thread = threading.Thread(target=self.run, args=(stop,))
        thread.start()
        try:
            assert self.ready.wait(5)
            yield self.nudges
        finally:
            stop.set()
            thread.join(10)
            assert not thread.is_alive()


def drain(nudges: queue.Queue[str]) -> None:
    """Take what is left of the event before; returns after half a second of quiet."""
    while True:
        try:
            nudges.get(timeout=0.5)
        except queue.Empty:
            return


def test_a_push_to_a_bare_repository_is_seen(tmp_path: Path) -> None:
    repository = Repository(tmp_path)
    repository.commit("first")
    with Armed(target("web", repository.url), target("also", repository.url)).running() as nudges:
        for branch in ("main", "feature/deep/x"):
            repository.push(f"HEAD:refs/heads/{branch}")
            repository.commit("next")
            assert {nudges.get(timeout=5), nudges.get(timeout=5)} == {"web", "also"}
            drain(nudges)


def test_a_commit_in_a_work_tree_and_packing_its_refs_is_seen(tmp_path: Path) -> None:
    repository = Repository(tmp_path)
    repository.commit("first")
    with Armed(target("web", f"file://{repository.work}")).running() as nudges:
        repository.run("commit", "-q", "--allow-empty", "-m", "local")
        assert nudges.get(timeout=5) == "web"
        drain(nudges)
        repository.run("pack-refs", "--all")
        assert nudges.get(timeout=5) == "web"


def test_reading_refs_is_no_change(tmp_path: Path) -> None:
    repository = Repository(tmp_path)
    repository.commit("first")
    with Armed(target("web", repository.url)).running() as nudges:
        git(repository.bare, "for-each-ref")
        git(tmp_path, "ls-remote", repository.url)
        assert list(nudges.queue) == []


def test_a_repository_may_come_later_go_away_and_come_back(tmp_path: Path) -> None:
    place = tmp_path / "not" / "yet"
    with Armed(target("web", f"file://{place}/app.git")).running() as nudges:
        for _ in range(2):
            repository = Repository(place)
            repository.commit("first")
            assert nudges.get(timeout=10) == "web"
            drain(nudges)
            repository.commit("second")
            assert nudges.get(timeout=10) == "web"
            shutil.rmtree(tmp_path / "not")
            drain(nudges)


def test_a_remote_elsewhere_is_not_watched(tmp_path: Path) -> None:
    watch = Armed(target("web", "https://host.example/web.git"))
    with watch.running() as nudges:
        assert nudges.empty()


def test_a_change_anywhere_in_a_tree_calls_back_but_not_one_that_is_ignored(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    (tree / "out").mkdir(parents=True)
    calls: queue.Queue[int] = queue.Queue()
    watcher = watch_tree(tree, lambda: calls.put(1), lambda path: path.is_relative_to(tree / "out"))
    try:
        (tree / "out" / "artifact").write_text("x")
        (tmp_path / "beside").write_text("x")
        assert not _called(calls, 0.3)
        (tree / "new" / "deep").mkdir(parents=True)
        assert _called(calls, 5)
        while _called(calls, 0.3):
            pass
        (tree / "new" / "deep" / "file").write_text("x")
        assert _called(calls, 5)
        shutil.rmtree(tree)
        assert _called(calls, 5)
        while _called(calls, 0.3):
            pass
        tree.mkdir()
        assert _called(calls, 5)
    finally:
        watcher.close()


def test_many_changes_at_once_are_one_call(tmp_path: Path) -> None:
    calls: queue.Queue[int] = queue.Queue()
    watcher = Watcher()
    watcher.add("it", lambda: [(tmp_path, True)], lambda: calls.put(1), settle=0.2)
    try:
        for number in range(50):
            (tmp_path / f"{number}").write_text("x")
        assert _called(calls, 5)
        assert not _called(calls, 0.4)
    finally:
        watcher.close()


def _called(calls: queue.Queue[int], seconds: float) -> bool:
    try:
        return calls.get(timeout=seconds) == 1
    except queue.Empty:
        return False
