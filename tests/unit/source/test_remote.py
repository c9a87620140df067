"""Reading heads, with and without a process."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.model.project import Source
from agent.source.credentials import remote_of
from agent.source.git import Git
from agent.source.remote import Heads, _ask, read_heads
from agent.source.sources import Sources
from tests.fakes.repository import Repository, git


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(
    "names", [(), ("refs/heads/*", "refs/tags/*"), ("refs/heads/main", "refs/tags/v1", "refs/heads/x")]
)
def test_reading_refs_directly_gives_what_git_gives(
    repository: Repository, names: tuple[str, ...], packed: bool
) -> None:
    repository.run("tag", "-a", "v1", "-m", "one")
    repository.push("v1", "HEAD:refs/heads/feature/a", "HEAD:refs/heads/x/refs/heads/main")
    if packed:
        git(repository.bare, "pack-refs", "--all")
        repository.commit("newer than the packed one")
    remote = remote_of(Source(type="GIT", location=repository.url), None)
    assert read_heads(Git(), remote, names) == _ask(Git(), remote, names, None)


def test_head_of_a_work_tree_and_of_a_linked_one_is_read(
    sources: Sources, repository: Repository, tmp_path: Path
) -> None:
    repository.run("worktree", "add", "-q", "-b", "other", str(tmp_path / "linked"))
    for place, branch in ((repository.work, "main"), (tmp_path / "linked", "other")):
        heads = sources.heads(Source(type="GIT", location=str(place)), ["refs/heads/*"])
        assert heads.default == f"refs/heads/{branch}"
        assert heads.refs == {"refs/heads/main": repository.head, "refs/heads/other": repository.head}


def test_an_unborn_head_has_no_commit(sources: Sources, tmp_path: Path) -> None:
    empty = Repository(tmp_path / "server", "empty")
    assert sources.heads(Source(type="GIT", location=empty.url), ["refs/heads/*"]) == Heads({}, "refs/heads/main", None)


def test_a_ref_file_that_is_a_symlink_or_names_a_file_outside_is_not_read(
    sources: Sources, repository: Repository, tmp_path: Path
) -> None:
    (tmp_path / "secret").write_text("a" * 40)
    (repository.bare / "refs" / "heads" / "link").symlink_to(tmp_path / "secret")
    (repository.bare / "refs" / "heads" / "named").write_text(f"ref: ../../../../{tmp_path}/secret")
    heads = sources.heads(Source(type="GIT", location=repository.url), ["refs/heads/*"])
    assert heads.refs == {"refs/heads/main": repository.head}
