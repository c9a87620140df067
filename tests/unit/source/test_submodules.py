"""Submodules."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.errors import SourceNotFound, SourceRefused
from agent.model.project import Source
from agent.model.secret import Secret
from agent.source.credentials import GitCredential
from agent.source.sources import Sources
from tests.fakes.git_http import git_http
from tests.fakes.repository import Repository, git

LOGIN = ("me", "pass-word")


def quiet(_: str) -> None:
    """Take a line of the log and forget it."""


def with_submodules(location: str, **members: object) -> Source:
    return Source.model_validate(
        {"type": "GIT", "location": location, "gitSubmodulesConfig": {"fetchSubmodules": True}, **members}
    )


def link(parent: Repository, path: str, url: str, commit: str, name: str = "") -> None:
    """Put a submodule into the index without fetching it."""
    parent.run("update-index", "--add", "--cacheinfo", f"160000,{commit},{path}")
    with (parent.work / ".gitmodules").open("a") as file:
        file.write(f'[submodule "{name or path}"]\n\tpath = {path}\n\turl = {url}\n')
    parent.run("add", ".gitmodules")
    parent.run("commit", "-q", "-m", f"submodule {path}")
    parent.push("HEAD")


@pytest.fixture
def nested(repository: Repository) -> Repository:
    """`app` holds `vendor/lib` (a relative URL), which holds `deep`."""
    place = repository.bare.parent
    deep, library = Repository(place, "deep"), Repository(place, "lib")
    deep.commit("deep", deepest="down here")
    library.commit("lib", code="lib")
    link(library, "deep", "../deep.git", deep.head)
    link(repository, "vendor/lib", "../lib.git", library.head)
    return repository


def test_submodules_are_filled_in_to_any_depth(sources: Sources, nested: Repository, tmp_path: Path) -> None:
    said: list[str] = []
    workspace = tmp_path / "ws"
    for _ in range(2):
        sources.fetch(with_submodules(nested.url), None, workspace, said.append)
        assert (workspace / "vendor" / "lib" / "deep" / "deepest").read_text() == "down here"
        assert git(workspace, "status", "--porcelain") == ""
        listed = git(workspace, "submodule", "status", "--recursive").splitlines()
        assert [line.split()[1] for line in listed] == ["vendor/lib", "vendor/lib/deep"]
        assert not any(line.strip().startswith(("-", "+")) for line in listed), "git calls them initialised and clean"
    assert len(said) == 4


def test_one_mount_shows_the_objects_of_all_submodules(sources: Sources, nested: Repository, tmp_path: Path) -> None:
    sources.fetch(with_submodules(nested.url), None, tmp_path / "ws", quiet)
    (mount,) = sources.mounts([with_submodules(nested.url)])
    for alternates in (tmp_path / "ws" / ".git").rglob("alternates"):
        assert Path(alternates.read_text().strip()).is_relative_to(mount)


def test_without_being_asked_for_submodules_stay_empty(sources: Sources, nested: Repository, tmp_path: Path) -> None:
    sources.fetch(Source(type="GIT", location=nested.url), None, tmp_path / "ws", quiet)
    assert list((tmp_path / "ws" / "vendor" / "lib").iterdir()) == []


def test_the_credential_goes_to_submodules_of_the_same_origin_only(repository: Repository, tmp_path: Path) -> None:
    place = repository.bare.parent
    library = Repository(place, "lib")
    library.commit("lib", code="lib")
    credential = GitCredential(LOGIN[0], Secret(LOGIN[1]))
    sources = Sources(tmp_path / "mirrors", credential_for=lambda source: credential)
    with git_http(place, LOGIN) as server, git_http(place) as other:
        link(repository, "own", "../lib.git", library.head)
        link(repository, "foreign", f"{other.url}/lib.git", library.head)
        sources.fetch(with_submodules(f"{server.url}/app.git"), None, tmp_path / "ws", quiet)
        assert (tmp_path / "ws" / "own" / "code").exists()
        assert (tmp_path / "ws" / "foreign" / "code").exists()
        assert {header for _, header in other.requests} == {None}
    for path in (tmp_path / "ws").rglob("*"):
        assert not path.is_file() or LOGIN[1].encode() not in path.read_bytes()


def test_a_submodule_of_this_machine_is_refused_to_a_repository_of_another(
    repository: Repository, tmp_path: Path
) -> None:
    with git_http(repository.bare.parent) as server:
        for url in (repository.url, str(repository.bare), "ext::sh -c id"):
            (repository.work / ".gitmodules").unlink(missing_ok=True)
            link(repository, "stolen", url, repository.head)
            with pytest.raises(SourceRefused):
                Sources(tmp_path / "mirrors").fetch(
                    with_submodules(f"{server.url}/app.git"), None, tmp_path / "ws", quiet
                )


@pytest.mark.parametrize("name", ["../../evil", "a/../b", "/abs", "x/.git"])
def test_a_submodule_whose_name_leads_out_of_the_tree_is_refused(
    sources: Sources, repository: Repository, tmp_path: Path, name: str
) -> None:
    link(repository, "lib", "../lib.git", repository.head, name=name)
    with pytest.raises(SourceRefused, match="hostile"):
        sources.fetch(with_submodules(repository.url), None, tmp_path / "ws", quiet)


def test_a_submodule_commit_that_was_never_pushed_is_named(
    sources: Sources, repository: Repository, tmp_path: Path
) -> None:
    library = Repository(repository.bare.parent, "lib")
    library.commit("lib")
    link(repository, "lib", "../lib.git", "1" * 40)
    with pytest.raises(SourceNotFound, match="1" * 40):
        sources.fetch(with_submodules(repository.url), None, tmp_path / "ws", quiet)


def test_a_gitmodules_file_that_is_a_symlink_is_refused(
    sources: Sources, repository: Repository, tmp_path: Path
) -> None:
    target = repository.run("hash-object", "-w", "--", ".git/HEAD")
    tree = repository.run("mktree", given=f"120000 blob {target}\t.gitmodules\n")
    repository.push(f"{repository.run('commit-tree', '-m', 'link', tree)}:refs/heads/evil")
    with pytest.raises(SourceRefused, match="gitmodules"):
        sources.fetch(with_submodules(repository.url), "evil", tmp_path / "ws", quiet)
