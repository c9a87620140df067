"""A change of the files is taken up; a broken one keeps the last good state of its file and says so."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import pytest

from agent.errors import ProjectUnknown, SettingsInvalid
from agent.settings.live import Change, LiveConfiguration


class Files:
    """An agent.yml and its projects.d."""

    def __init__(self, place: Path) -> None:
        self.agent = place / "agent.yml"
        self.agent.write_text("")
        self.projects = place / "projects.d"
        self.projects.mkdir()

    def write(self, file: str, *names: str, **fields: Any) -> None:
        projects = [
            {"name": name, "source": {"type": "GIT", "location": "file:///x"}, "environment": {"image": "x"}} | fields
            for name in names
        ]
        (self.projects / file).write_text(json.dumps(projects))

    def live(self) -> LiveConfiguration:
        return LiveConfiguration(self.agent, {})


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


def words(change: Change) -> list[str]:
    return [problem.message for problem in change.problems]


def test_projects_come_change_and_go_with_their_files(files: Files) -> None:
    files.write("a.yml", "web")
    live = files.live()
    assert set(live.projects) == {"web"}
    files.write("a.yml", "web", description="new")
    files.write("b.yml", "api")
    change = live.reload()
    assert (change.added, change.changed, change.removed) == ({"api"}, {"web"}, set())
    assert live.project("web").description == "new"
    (files.projects / "a.yml").unlink()
    assert live.reload().removed == {"web"}
    assert not live.reload()


def test_a_broken_change_keeps_the_last_good_projects_of_its_file(files: Files) -> None:
    files.write("a.yml", "web", "api")
    files.write("b.yml", "ops")
    live = files.live()
    (files.projects / "a.yml").write_text("- name: [")
    files.write("b.yml", "ops", "lab")
    change = live.reload()
    assert set(live.projects) == {"web", "api", "ops", "lab"}
    assert (change.added, change.removed) == ({"lab"}, set())
    assert ["not valid YAML" in word for word in words(change)] == [True]
    assert live.problems == change.problems
    files.write("a.yml", "web")
    assert live.reload().removed == {"api"}
    assert live.problems == ()


def test_a_file_that_is_empty_for_a_moment_loses_nothing(files: Files) -> None:
    files.write("a.yml", "web")
    live = files.live()
    (files.projects / "a.yml").write_text("")
    assert not live.reload()
    assert set(live.projects) == {"web"}


def test_of_a_list_only_the_broken_project_keeps_its_last_good_state(files: Files) -> None:
    files.write("a.yml", "web", "api", "old")
    live = files.live()
    projects = json.loads((files.projects / "a.yml").read_text())[:2]
    projects[0]["description"] = "new"
    projects[1]["description"] = "broken"
    projects[1]["source"] = {"type": "GITT"}
    (files.projects / "a.yml").write_text(json.dumps(projects))
    change = live.reload()
    assert (change.changed, change.removed) == ({"web"}, {"old"})
    assert live.project("api").description is None


def test_a_name_stays_with_the_file_that_had_it(files: Files) -> None:
    files.write("b.yml", "web", description="first")
    live = files.live()
    files.write("a.yml", "web", description="second")
    change = live.reload()
    assert live.project("web").description == "first"
    assert words(change) == [f"a project 'web' stands already in {files.projects}/b.yml; this one is not used"]
    (files.projects / "b.yml").unlink()
    assert live.reload().changed == {"web"}
    assert live.project("web").description == "second"
    assert live.problems == ()


def test_a_project_may_move_to_another_file(files: Files) -> None:
    files.write("a.yml", "web", "api")
    live = files.live()
    files.write("a.yml", "web")
    files.write("b.yml", "api")
    assert not live.reload()
    assert set(live.projects) == {"web", "api"}


def test_a_broken_agent_yml_keeps_the_last_good_settings(files: Files) -> None:
    live = files.live()
    files.agent.write_text("builds: {max_concurrent: many}")
    change = live.reload()
    assert not change.settings
    assert live.settings.builds.max_concurrent == 2
    assert "expected a whole number" in words(change)[0]
    files.agent.write_text("builds: {max_concurrent: 5}")
    assert live.reload().settings
    assert live.settings.builds.max_concurrent == 5
    assert live.problems == ()


def test_a_broken_agent_yml_at_the_start_is_refused(files: Files) -> None:
    files.agent.write_text("no: thing")
    with pytest.raises(SettingsInvalid):
        files.live()


def test_a_projects_directory_that_vanishes_takes_no_project_along(files: Files) -> None:
    files.write("a.yml", "web")
    live = files.live()
    files.projects.rename(files.projects.with_name("away"))
    change = live.reload()
    assert not change
    assert "no project is read from here" in words(change)[0]


def test_another_projects_directory_brings_its_own_projects(files: Files, tmp_path: Path) -> None:
    files.write("a.yml", "web")
    live = files.live()
    (tmp_path / "other").mkdir()
    files.agent.write_text("projects_dir: other")
    change = live.reload()
    assert change.removed == {"web"}
    assert live.settings.projects_dir == tmp_path / "other"


def test_an_unknown_project_is_said_to_be_unknown(files: Files) -> None:
    files.write("a.yml", "web-shop")
    live = files.live()
    assert live.project("arn:aws:codebuild:eu-central-1:123456789012:project/web-shop").name == "web-shop"
    with pytest.raises(ProjectUnknown, match="did you mean 'web-shop'"):
        live.project("webshop")


def test_every_project_says_how_it_stands(files: Files) -> None:
    files.write("a.yml", "web", "api")
    live = files.live()
    files.write("b.yml", "api")
    (files.projects / "a.yml").write_text("- name: [")
    (files.projects / "c.yml").write_text("name: lab\nenvironment: {image: x}")
    (files.projects / "d.yml").write_text("[")
    live.reload()
    states = {state.name: state for state in live.states(lambda name: None, {"web": "no answer", "gone": "x"})}
    assert sorted(states) == ["api", "d", "lab", "web"]
    assert [bool(states[name].project) for name in ("api", "lab", "web", "d")] == [True, False, True, False]
    assert Path(states["web"].file).name == "a.yml"
    assert "not valid YAML" in states["web"].problems[0]
    assert states["web"].problems[1] == "no answer"
    assert states["lab"].problems[0].endswith("c.yml:1:1: source is missing")


def test_readers_see_one_whole_state_while_files_change(files: Files) -> None:
    files.write("a.yml", "web", "api", description="0")
    live = files.live()
    torn: list[set[str | None]] = []
    done = threading.Event()

    def read() -> None:
        while not done.is_set():
            seen = {project.description for project in live.projects.values()}
            if len(seen) != 1:
                torn.append(seen)

    reader = threading.Thread(target=read)
    reader.start()
    for number in range(30):
        files.write("a.yml", "web", "api", description=str(number))
        live.reload()
    done.set()
    reader.join()
    assert torn == []
