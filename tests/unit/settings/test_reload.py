"""Changes of the files are taken up while the daemon runs, once each, and told."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from agent.kit.sdnotify import Notifier
from agent.kit.service import StopToken
from agent.settings.live import LiveConfiguration
from agent.settings.reload import SettingsWatch, changed_members

PROJECT = "name: {name}\nsource: {{type: GIT, location: file:///x}}\nenvironment: {{image: x}}\n"


class FakeWatch:
    """Stands for a watched directory; `changed` is what the kernel would call."""

    def __init__(self) -> None:
        self.watched: list[Path] = []
        self.closed: list[Path] = []
        self.changed: Callable[[], None] = lambda: None
        self.checks = threading.Semaphore(0)

    def __call__(self, path: Path, on_change: Callable[[], None]) -> FakeWatch:
        self.watched.append(path)
        self.changed = on_change
        return self

    def check(self) -> None:
        self.checks.release()

    def close(self) -> None:
        self.closed.append(self.watched[-1])


class House:
    """Files, what is loaded of them, and what was taken up."""

    def __init__(self, place: Path) -> None:
        self.agent = place / "agent.yml"
        self.agent.write_text("")
        self.projects = place / "projects.d"
        self.projects.mkdir()
        self.project("web")
        self.live = LiveConfiguration(self.agent, {})
        self.watch_tree = FakeWatch()
        self.taken_up = 0
        self.address = str(place / "notify")
        self.systemd = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.systemd.bind(self.address)
        self.systemd.setblocking(False)
        self.watch = SettingsWatch(self.live, self.watch_tree, self._took_up, Notifier({"NOTIFY_SOCKET": self.address}))

    def project(self, name: str) -> None:
        (self.projects / f"{name}.yml").write_text(PROJECT.format(name=name))

    def heard(self) -> list[str]:
        lines = []
        while True:
            try:
                lines.append(self.systemd.recv(4096).decode().splitlines())
            except BlockingIOError:
                return [line[-1] if line[0] == "READY=1" else line[0] for line in lines]

    def _took_up(self) -> None:
        self.taken_up += 1


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    made = House(tmp_path)
    yield made
    made.systemd.close()


def test_a_new_project_is_taken_up_when_the_kernel_tells(house: House) -> None:
    stop = StopToken()
    runner = threading.Thread(target=house.watch.run, args=(stop,))
    runner.start()
    assert house.watch_tree.checks.acquire(timeout=5)
    house.project("api")
    house.watch_tree.changed()
    assert set(house.live.projects) == {"web", "api"}
    assert house.taken_up == 1
    assert house.heard() == ["RELOADING=1", "STATUS=2 projects"]
    stop.set()
    runner.join(5)
    assert not runner.is_alive()
    assert house.watch_tree.closed == [house.projects]


def test_what_has_not_changed_is_not_read_again(house: House) -> None:
    house.watch.look()
    house.watch.look()
    assert (house.taken_up, house.heard()) == (0, [])


def test_a_mistake_is_told_to_systemd_and_takes_nothing_away(house: House) -> None:
    (house.projects / "web.yml").write_text("name: [")
    house.watch.look()
    assert set(house.live.projects) == {"web"}
    assert house.taken_up == 0
    assert house.heard() == ["RELOADING=1", "STATUS=1 project, 1 mistake in the settings"]


def test_a_change_of_agent_yml_is_noticed_by_looking(house: House) -> None:
    house.agent.write_text("builds: {max_concurrent: 9}")
    house.watch.look()
    assert house.live.settings.builds.max_concurrent == 9
    assert house.taken_up == 1


def test_a_reload_that_is_asked_for_is_done_without_a_change(house: House) -> None:
    house.watch.reload()
    assert house.heard() == ["RELOADING=1", "STATUS=1 project"]
    assert house.taken_up == 0


def test_the_settings_that_need_a_restart_are_known(house: House) -> None:
    before = house.live.settings
    house.agent.write_text("http: {listen: '127.0.0.1:1'}\npoll: {every: 5m}")
    house.watch.look()
    assert changed_members(before, house.live.settings) == {"http", "poll"}
