"""Following a repository: each commit is taken as a whole or refused as a whole, whatever is killed when."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from agent.app.following import ConfigRepository, status_of
from agent.daemon.control import ConfigState
from agent.errors import GitUnavailable
from agent.kit.service import StopToken
from agent.model.commitstatus import CommitState
from agent.model.project import Source
from agent.notify.githosts import call_for, host_of
from agent.settings.configsource import CURRENT, directory_of
from agent.settings.follower import LONGEST_PAUSE_SECONDS, Follower
from agent.settings.live import LiveConfiguration
from agent.source.sources import Sources
from tests.fakes.repository import Repository, git
from tests.unit.store.samples import ManualClock

PROJECT = "name: {}\nsource: {{type: GIT, location: 'https://host/{}.git'}}\nenvironment: {{image: 'debian:12'}}\n"


def a_project(name: str) -> str:
    return PROJECT.format(name, name)


class Following:
    """A configuration below *place* that follows *repository*, as the daemon does."""

    def __init__(self, place: Path, repository: Repository, path: str = "", more: str = "") -> None:
        place.mkdir(exist_ok=True)
        self.state = place / "state"
        self.state.mkdir(exist_ok=True)
        self.config = place / "agent.yml"
        self.config.write_text(
            f"state_dir: {self.state}\npoll: {{every: 7s}}\n"
            f"config_source: {{url: '{repository.url}', branch: main, path: '{path}'}}\n{more}"
        )
        self.repository = repository
        self.told: list[tuple[str, tuple[str, ...]]] = []
        self.restart()

    def restart(self) -> None:
        """Begin anew with what is on disk."""
        self.live = LiveConfiguration(self.config, {})
        sources = Sources(self.state / "mirrors")
        source = Source(type="GIT", location=self.repository.url)
        self.follower = Follower(
            repository=ConfigRepository(sources, source, "main"),
            place=ConfigState(self.repository.url, "main", ""),
            directory=directory_of(self.live.settings),
            check=self.live.check_revision,
            apply=lambda: [self.live.reload()].clear(),
            tell=self._tell,
            every=lambda: self.live.settings.poll.every,
            clock=ManualClock(),
        )

    def _tell(self, commit: str, problems: Sequence[str]) -> None:
        self.told.append((commit, tuple(problems)))

    def look(self) -> float:
        return self.follower.turn(StopToken())

    @property
    def projects(self) -> list[str]:
        return sorted(self.live.projects)

    @property
    def checkouts(self) -> list[str]:
        return sorted(path.name for path in (self.state / "config").iterdir() if not path.name.endswith(".json"))


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository(tmp_path / "server")


@pytest.fixture
def following(tmp_path: Path, repository: Repository) -> Following:
    repository.commit("first", **{"projects.d__web.yml": a_project("web")})
    return Following(tmp_path / "host", repository)


def test_a_new_commit_is_taken_up_as_a_whole(following: Following, repository: Repository) -> None:
    assert following.projects == []
    assert following.look() == 7
    assert following.projects == ["web"]
    second = repository.commit(
        "second", **{"projects.d__shop.yml": a_project("shop"), "agent.yml": "poll: {every: 9s}\n"}
    )
    assert following.look() == 9
    assert following.projects == ["shop", "web"]
    assert following.follower.state.revision == second
    assert following.checkouts == sorted([second, CURRENT])


def test_a_project_that_is_gone_from_the_repository_is_gone(following: Following, repository: Repository) -> None:
    following.look()
    git(repository.work, "rm", "-q", "projects.d/web.yml")
    repository.commit("second", **{"projects.d__shop.yml": a_project("shop")})
    following.look()
    assert following.projects == ["shop"]


@pytest.mark.parametrize(
    ("files", "problem"),
    [
        (
            {"projects.d__bad.yml": "name: bad\nsource: {typo: GIT}\n"},
            "projects.d/bad.yml:2:10: unknown key source.typo",
        ),
        ({"projects.d__bad.yml": "a: ["}, "projects.d/bad.yml:1:"),
        ({"projects.d__twice.yml": a_project("web")}, "a project 'web' stands already"),
        ({"agent.yml": "poll: {every: soon}\n"}, "agent.yml:1:15: poll.every"),
        ({"agent.yml": "nonsense: 1\n"}, "agent.yml:1:1: unknown key nonsense"),
        ({"agent.yml": "builds: {}\n\nstate_dir: /elsewhere\n"}, "agent.yml:3:1: state_dir is the host's own"),
        ({"agent.yml": "config_source: {url: x}\n"}, "config_source is the host's own"),
        ({"agent.yml": "aws: {profile: x}\n"}, "aws is the host's own"),
        ({"agent.yml": "credentials: []\n"}, "credentials is the host's own"),
        ({"agent.yml": "projects_dir: /etc\n"}, "agent.yml:1:15: projects_dir: expected a directory of the repository"),
        ({"agent.yml": "projects_dir: ../..\n"}, "projects_dir: expected a directory of the repository"),
        ({"agent.yml": "projects_dir: other\n"}, "the directory of the projects is missing"),
        ({"agent.yml": "- a\n"}, "agent.yml"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_commit_with_a_mistake_is_refused_as_a_whole(
    files: dict[str, str], problem: str, following: Following, repository: Repository
) -> None:
    following.look()
    good = following.follower.state.revision
    bad = repository.commit("bad", **{"projects.d__fine.yml": a_project("fine"), **files})
    following.look()
    state = following.follower.state
    assert (state.revision, state.refused) == (good, bad)
    assert any(problem in text for text in state.problems), state.problems
    assert following.projects == ["web"]
    assert following.told[-1] == (bad, state.problems)
    assert following.checkouts == sorted([good, CURRENT])


def test_every_mistake_of_a_commit_is_told(following: Following, repository: Repository) -> None:
    following.look()
    files = {"projects.d__a.yml": "a: 1\n", "projects.d__b.yml": "b: 1\n", "agent.yml": "c: 1\n"}
    repository.commit("bad", **files)
    following.look()
    text = "\n".join(following.follower.state.problems)
    assert all(name in text for name in ("projects.d/a.yml", "projects.d/b.yml", "agent.yml"))


def test_a_refused_commit_is_looked_at_once_and_a_good_one_ends_it(
    following: Following, repository: Repository
) -> None:
    following.look()
    repository.commit("bad", **{"projects.d__bad.yml": "a: ["})
    following.look()
    following.look()
    following.restart()
    following.look()
    assert len(following.told) == 2
    assert following.follower.state.refused != ""
    good = repository.commit("mended", **{"projects.d__bad.yml": a_project("bad")})
    following.look()
    state = following.follower.state
    assert (state.revision, state.refused, state.problems) == (good, "", ())


def test_a_branch_that_is_set_back_to_what_holds_is_refused_no_longer(
    following: Following, repository: Repository
) -> None:
    following.look()
    repository.commit("bad", **{"projects.d__bad.yml": "a: ["})
    following.look()
    git(repository.work, "reset", "-q", "--hard", "HEAD~1")
    git(repository.work, "push", "-q", "--force", str(repository.bare), "HEAD:main")
    following.look()
    assert following.follower.state.refused == ""


def test_a_link_that_leads_out_of_the_repository_is_refused(following: Following, repository: Repository) -> None:
    following.look()
    (repository.work / "projects.d" / "x.yml").symlink_to("/etc/passwd")
    repository.commit("link")
    following.look()
    assert following.follower.state.problems == (
        "projects.d/x.yml:0:0: symbolic links are not followed: put the file itself here",
    )


def test_a_directory_of_the_repository_may_hold_the_configuration(tmp_path: Path, repository: Repository) -> None:
    repository.commit("first", **{"ci__agent__projects.d__web.yml": a_project("web"), "other": "x"})
    following = Following(tmp_path / "host", repository, path="ci/agent")
    following.look()
    assert following.projects == ["web"]
    git(repository.work, "mv", "ci", "moved")
    repository.commit("moved")
    following.look()
    assert "no such directory" in following.follower.state.problems[0]


def test_what_was_taken_up_holds_at_once_after_a_restart_without_the_repository(
    following: Following, repository: Repository
) -> None:
    repository.commit(
        "more", **{"agent.yml": "builds: {max_concurrent: 7}\nprojects_dir: p\n", "p__a.yml": a_project("aa")}
    )
    following.look()
    repository.bare.rename(repository.bare.with_suffix(".gone"))
    following.restart()
    assert following.projects == ["aa"]
    assert following.live.settings.builds.max_concurrent == 7
    following.look()
    assert following.follower.state.trouble != ""
    assert following.projects == ["aa"]


def test_whatever_becomes_of_the_branch_the_last_good_commit_holds_also_over_a_restart(
    following: Following, repository: Repository
) -> None:
    following.look()
    good = following.follower.state.revision

    def stands(*, refused: str, word: str) -> None:
        for again in (False, True):
            if again:
                following.restart()
            following.look()
            state = following.follower.state
            assert (following.projects, state.revision, state.refused) == (["web"], good, refused)
            assert word in "".join((*state.problems, state.trouble))

    bad = repository.commit("no YAML", **{"projects.d__web.yml": "name: ["})
    stands(refused=bad, word="projects.d/web.yml:1")
    git(repository.work, "reset", "-q", "--hard", good)
    git(repository.work, "rm", "-q", "-r", "projects.d")
    empty = repository.commit("force-pushed, and without projects", readme="x")
    stands(refused=empty, word="projects")
    git(repository.bare, "update-ref", "-d", "refs/heads/main")
    stands(refused=empty, word="main")
    repository.bare.rename(repository.bare.with_suffix(".gone"))
    stands(refused=empty, word="no git repository there")
    repository.bare.with_suffix(".gone").rename(repository.bare)
    git(repository.work, "checkout", "-q", "--orphan", "anew")
    anew = repository.commit("another history", **{"projects.d__b.yml": a_project("bb")})
    repository.push("HEAD:refs/heads/main")
    following.look()
    assert (following.projects, following.follower.state.revision) == (["bb"], anew)
    assert following.follower.state.trouble == ""


def test_a_repository_that_does_not_answer_is_asked_less_and_less_often(
    following: Following, repository: Repository
) -> None:
    repository.bare.rename(repository.bare.with_suffix(".gone"))
    pauses = [following.look() for _ in range(12)]
    assert pauses[:3] == [14, 28, 56]
    assert pauses[-1] == LONGEST_PAUSE_SECONDS
    repository.bare.with_suffix(".gone").rename(repository.bare)
    assert following.look() == 7
    assert following.follower.state.trouble == ""


class Killed(BaseException):
    """What no code of ours catches."""


@pytest.mark.parametrize("moment", ["while it is fetched", "while it is checked", "after it became current"])
def test_a_kill_leaves_the_old_or_the_new_one_whole(moment: str, following: Following, repository: Repository) -> None:
    following.look()
    new = repository.commit("second", **{"projects.d__shop.yml": a_project("shop")})
    follower = following.follower

    def die(*_: object) -> None:
        raise Killed

    if moment == "while it is fetched":
        (following.state / "config" / new).mkdir()
        (following.state / "config" / new / "half").write_text("x")
    else:
        setattr(follower, "check" if moment == "while it is checked" else "apply", die)
        with pytest.raises(Killed):
            following.look()
    following.restart()
    assert following.projects in (["web"], ["shop", "web"])
    assert (following.projects == ["shop", "web"]) == (moment == "after it became current")
    following.look()
    assert following.projects == ["shop", "web"]
    assert following.checkouts == sorted([new, CURRENT])


def test_an_agent_yml_of_the_host_that_breaks_refuses_the_commit_and_not_the_daemon(
    following: Following, repository: Repository
) -> None:
    following.look()
    following.config.write_text("a: [")
    repository.commit("second", **{"projects.d__shop.yml": a_project("shop")})
    following.look()
    assert following.projects == ["web"]


def test_a_commit_that_a_newer_buildspecd_does_not_take_leaves_its_projects_and_the_settings_of_the_host(
    following: Following,
) -> None:
    following.look()
    (following.state / "config" / CURRENT / "agent.yml").write_text("gone: 1\n")
    following.restart()
    assert following.projects == ["web"]
    assert any("unknown key gone" in str(problem) for problem in following.live.problems)


@pytest.mark.parametrize(
    ("problems", "state", "words"), [((), "success", "Taken up"), (("a:1:1: no", "b"), "failure", "a:1:1: no")]
)
def test_the_git_host_is_told_of_each_commit(problems: tuple[str, ...], state: str, words: str) -> None:
    source = Source(type="GIT", location="https://github.com/acme/config.git")
    host = host_of(source)
    assert host is not None
    status = status_of(source, host, "a" * 40, problems, 0.0)
    assert status.state is (CommitState.FAILED if problems else CommitState.SUCCEEDED)
    call = call_for(status)
    assert call is not None
    assert call.body["state"] == state
    assert words in call.body["description"]


def test_a_failure_of_the_fetch_is_tried_again_and_leaves_nothing(following: Following, repository: Repository) -> None:
    following.look()
    repository.commit("second", **{"projects.d__shop.yml": a_project("shop")})
    whole = following.follower.repository

    class Broken:
        def head(self, stop: StopToken) -> tuple[str, str]:
            return whole.head(stop)

        def check_out(self, ref: str, commit: str, directory: Path) -> None:
            (directory / "half").write_text("x")
            raise GitUnavailable("cut off")

    following.follower.repository = Broken()
    following.look()
    assert (following.projects, following.follower.state.trouble) == (["web"], "cut off")
    following.follower.repository = whole
    following.look()
    assert following.projects == ["shop", "web"]
