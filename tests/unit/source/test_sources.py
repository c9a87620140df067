"""Fetching git sources, from real repositories over file://."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from agent.errors import SourceNotFound, SourceRefused
from agent.model.project import Source
from agent.source.sources import Revision, Sources
from tests.fakes.repository import Repository, git


def quiet(_: str) -> None:
    """Take a line of the log and forget it."""


def source(repository: Repository, **members: object) -> Source:
    return Source.model_validate({"type": "GIT", "location": repository.url, **members})


def test_the_tip_of_the_default_branch_is_checked_out(sources: Sources, repository: Repository, tmp_path: Path) -> None:
    workspace = tmp_path / "ws"
    revision = sources.fetch(source(repository), None, workspace, quiet)
    assert revision == Revision(repository.head, "refs/heads/main")
    assert revision.branch == "main"
    assert (workspace / "dir" / "file").read_text() == "1"
    assert git(workspace, "status", "--porcelain") == ""
    assert git(workspace, "rev-parse", "HEAD") == repository.head
    assert git(workspace, "config", "remote.origin.url") == repository.url


def test_no_object_is_copied_into_the_workspace(sources: Sources, repository: Repository, tmp_path: Path) -> None:
    sources.fetch(source(repository), None, tmp_path / "ws", quiet)
    objects = tmp_path / "ws" / ".git" / "objects"
    assert [path.name for path in objects.rglob("*") if path.is_file()] == ["alternates"]
    borrowed = Path((objects / "info" / "alternates").read_text().strip())
    assert any(borrowed.is_relative_to(mount) for mount in sources.mounts([source(repository)]))


@pytest.mark.parametrize("version", ["v1", "refs/tags/v1"])
def test_an_annotated_tag_leads_to_its_commit(
    sources: Sources, repository: Repository, tmp_path: Path, version: str
) -> None:
    tagged = repository.head
    repository.run("tag", "-a", "v1", "-m", "release")
    repository.push("v1")
    repository.commit("later")
    assert sources.fetch(source(repository), version, tmp_path / "ws", quiet) == Revision(tagged, "refs/tags/v1")
    assert git(tmp_path / "ws", "describe", "--tags") == "v1"


def test_the_id_of_an_annotated_tag_leads_to_its_commit(
    sources: Sources, repository: Repository, tmp_path: Path
) -> None:
    repository.run("tag", "-a", "v1", "-m", "release")
    repository.push("v1")
    tag = repository.run("rev-parse", "v1")
    for attempt in ("fetched", "present"):
        assert sources.fetch(source(repository), tag, tmp_path / attempt, quiet).sha == repository.head


def test_a_branch_wins_over_a_tag_of_its_name_and_the_log_says_so(
    sources: Sources, repository: Repository, tmp_path: Path
) -> None:
    repository.run("tag", "both")
    repository.run("checkout", "-q", "-b", "both")
    wanted = repository.commit("on the branch")
    repository.push("refs/tags/both")
    said: list[str] = []
    assert sources.fetch(source(repository), "both", tmp_path / "ws", said.append).sha == wanted
    assert len(said) == 1
    assert "refs/tags/both" in said[0]


def test_a_pull_request_is_fetched_by_its_number(sources: Sources, repository: Repository, tmp_path: Path) -> None:
    repository.run("checkout", "-q", "-b", "topic")
    (repository.work / "new").write_text("x")
    repository.run("add", "-A")
    repository.run("commit", "-q", "-m", "proposal")
    repository.push("HEAD:refs/pull/7/head")
    assert sources.fetch(source(repository), "pr/7", tmp_path / "ws", quiet) == Revision(
        repository.head, "refs/pull/7/head"
    )


def test_a_commit_that_is_here_already_is_built_while_the_server_is_away(
    sources: Sources, repository: Repository, tmp_path: Path
) -> None:
    sources.fetch(source(repository), None, tmp_path / "one", quiet)
    shutil.move(repository.bare, tmp_path / "away")
    revision = sources.fetch(source(repository), repository.head, tmp_path / "two", quiet, ref="refs/heads/main")
    assert revision == Revision(repository.head, "refs/heads/main")


def test_a_commit_on_no_branch_is_fetched_by_its_id(sources: Sources, repository: Repository, tmp_path: Path) -> None:
    repository.run("checkout", "-q", "--detach")
    (repository.work / "x").write_text("lost")
    repository.run("add", "-A")
    repository.run("commit", "-q", "-m", "lost")
    repository.push("HEAD:refs/hidden/x")
    assert sources.fetch(source(repository), repository.head, tmp_path / "ws", quiet).sha == repository.head


@pytest.mark.parametrize("version", ["nope", "refs/heads/nope", "refs/tags/nope", "pr/99", "0" * 39 + "1"])
@pytest.mark.parametrize("depth", [0, 1])
def test_what_does_not_exist_is_named(
    sources: Sources, repository: Repository, tmp_path: Path, version: str, depth: int
) -> None:
    with pytest.raises(SourceNotFound) as caught:
        sources.fetch(source(repository, gitCloneDepth=depth), version, tmp_path / "ws", quiet)
    assert version.replace("pr/99", "99") in str(caught.value)
    assert caught.value.hint


def test_every_form_of_a_source_version_leads_to_its_commit(
    sources: Sources, repository: Repository, tmp_path: Path
) -> None:
    repository.run("tag", "v1")
    repository.push("v1", "HEAD:refs/merge-requests/7/head", "HEAD:refs/pull/8/head")
    older, head = repository.head, repository.commit("newer")
    forms = {
        "main": head, "v1": older, "refs/heads/main": head, "refs/tags/v1": older, "pr/8": older, older: older,
        "refs/pull/8/head": older, "refs/merge-requests/7/head": older, f"refs/heads/main^{{{older}}}": older,
        f"main^{{{older}}}": older, f"refs/pull/8/head^{{{older}}}": older, f"pr/8^{{{older}}}": older,
    }  # fmt: skip
    for depth in (0, 1):
        for form, commit in forms.items():
            found = sources.fetch(source(repository, gitCloneDepth=depth), form, tmp_path / "ws", quiet)
            assert (found.sha, git(tmp_path / "ws", "rev-parse", "HEAD")) == (commit, commit), (form, depth)
    with pytest.raises(SourceNotFound, match=older[:8]) as caught:
        sources.fetch(source(repository), older[:8], tmp_path / "ws", quiet)
    assert "all of its 40 digits" in caught.value.hint


def test_a_repository_that_does_not_exist_is_named(sources: Sources, tmp_path: Path) -> None:
    gone = Source(type="GIT", location=f"file://{tmp_path}/gone.git")
    with pytest.raises(SourceNotFound, match=r"gone\.git"):
        sources.fetch(gone, None, tmp_path / "ws", quiet)


def test_a_repository_without_commits_is_said_to_be_empty(sources: Sources, tmp_path: Path) -> None:
    empty = Repository(tmp_path / "server", "empty")
    with pytest.raises(SourceNotFound, match="no commit yet"):
        sources.fetch(source(empty), None, tmp_path / "ws", quiet)


def test_checking_out_twice_gives_the_same_and_drops_what_a_killed_attempt_left(
    sources: Sources, repository: Repository, tmp_path: Path
) -> None:
    workspace = tmp_path / "ws"
    (workspace / ".git" / "refs").mkdir(parents=True)
    (workspace / ".git" / "index.lock").write_text("")
    (workspace / "dir").symlink_to("/etc")
    identity = workspace.stat().st_ino
    for _ in range(2):
        sources.fetch(source(repository), None, workspace, quiet)
        assert git(workspace, "status", "--porcelain") == ""
        (workspace / "rubbish").write_text("x")
    assert workspace.stat().st_ino == identity, "a container may have the directory mounted"


@pytest.mark.parametrize(("depth", "commits"), [(0, 6), (1, 1), (3, 3), (25, 6), (26, 6)])
def test_the_clone_depth_cuts_history(
    sources: Sources, repository: Repository, tmp_path: Path, depth: int, commits: int
) -> None:
    for number in range(5):
        repository.commit(f"change {number}")
    sources.fetch(source(repository, gitCloneDepth=depth), "main", tmp_path / "ws", quiet)
    assert int(git(tmp_path / "ws", "rev-list", "--count", "HEAD")) == commits


def test_a_cut_through_merged_history_is_where_git_itself_would_cut(
    sources: Sources, repository: Repository, tmp_path: Path
) -> None:
    repository.run("checkout", "-q", "-b", "side")
    for number in range(3):
        repository.commit(f"side {number}", **{f"side{number}": "x"})
    repository.run("checkout", "-q", "main")
    repository.commit("trunk")
    repository.run("merge", "-q", "--no-ff", "-m", "merge", "side")
    repository.commit("after")
    for depth in (2, 3, 4):
        ours, theirs = tmp_path / f"ours{depth}", tmp_path / f"theirs{depth}"
        sources.fetch(source(repository, gitCloneDepth=depth), "main", ours, quiet)
        git(tmp_path, "clone", "-q", "--depth", str(depth), repository.url, str(theirs))
        listed = [sorted(git(tree, "rev-list", "HEAD").split()) for tree in (ours, theirs)]
        assert listed[0] == listed[1]


def test_with_full_history_branches_and_tags_are_known_as_in_a_clone(
    sources: Sources, repository: Repository, tmp_path: Path
) -> None:
    repository.run("checkout", "-q", "-b", "feature/x")
    repository.commit("feature")
    sources.fetch(source(repository), repository.head, tmp_path / "ws", quiet, ref="refs/heads/feature/x")
    refs = git(tmp_path / "ws", "for-each-ref", "--format=%(refname)").split()
    assert refs == ["refs/remotes/origin/feature/x", "refs/remotes/origin/main"]
    assert "HEAD detached at" in git(tmp_path / "ws", "status")


def test_a_branch_may_take_the_place_of_a_directory_of_branches(
    sources: Sources, repository: Repository, tmp_path: Path
) -> None:
    repository.push("HEAD:refs/heads/a")
    sources.fetch(source(repository), "a", tmp_path / "one", quiet)
    repository.push(":refs/heads/a")
    repository.push("HEAD:refs/heads/a/b")
    for depth in (0, 1):
        revision = sources.fetch(source(repository, gitCloneDepth=depth), "refs/heads/a/b", tmp_path / "two", quiet)
        assert revision.ref == "refs/heads/a/b"


def test_a_damaged_mirror_is_made_anew(sources: Sources, repository: Repository, tmp_path: Path) -> None:
    sources.fetch(source(repository), None, tmp_path / "one", quiet)
    mirror = sources.mounts([source(repository)])[0]
    for path in (mirror / "objects").rglob("*"):
        if path.is_file():
            path.chmod(0o644)
            path.write_bytes(b"rubbish")
    sources.fetch(source(repository), None, tmp_path / "two", quiet)
    assert (tmp_path / "two" / "dir" / "file").read_text() == "1"


def test_lock_files_of_a_killed_fetch_do_not_stop_the_next(
    sources: Sources, repository: Repository, tmp_path: Path
) -> None:
    mirror = sources.mounts([source(repository)])[0]
    for name in ("refs/heads/main.lock", "packed-refs.lock", "shallow.lock"):
        (mirror / name).write_text("")
    assert sources.fetch(source(repository), None, tmp_path / "ws", quiet).sha == repository.head


def test_half_an_object_store_is_not_taken_for_a_commit(
    sources: Sources, repository: Repository, tmp_path: Path
) -> None:
    mirror = sources.mounts([source(repository)])[0]
    commit = repository.head
    shutil.copytree(repository.bare / "objects" / commit[:2], mirror / "objects" / commit[:2])
    sources.fetch(source(repository), commit, tmp_path / "ws", quiet, ref="refs/heads/main")
    assert (tmp_path / "ws" / "dir" / "file").exists()


def test_variables_of_a_git_hook_do_not_lead_our_git_astray(
    sources: Sources, repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("GIT_DIR", "GIT_INDEX_FILE", "GIT_WORK_TREE", "GIT_OBJECT_DIRECTORY"):
        monkeypatch.setenv(name, str(tmp_path / "elsewhere"))
    monkeypatch.setenv("GIT_CONFIG_PARAMETERS", "'core.bare=true'")
    assert sources.fetch(source(repository), None, tmp_path / "ws", quiet).sha == repository.head
    assert not (tmp_path / "elsewhere").exists()


def test_a_hook_of_a_repository_is_not_run_on_this_host(
    sources: Sources, repository: Repository, tmp_path: Path
) -> None:
    hook = repository.bare / "hooks" / "post-checkout"
    hook.write_text(f"#!/bin/sh\ntouch {tmp_path}/ran\n")
    hook.chmod(0o755)
    sources.fetch(source(repository), None, tmp_path / "ws", quiet)
    assert not (tmp_path / "ran").exists()
    assert not (tmp_path / "ws" / ".git" / "hooks").exists()


def test_everybody_may_read_the_checkout_whatever_the_agents_umask(
    sources: Sources, repository: Repository, tmp_path: Path
) -> None:
    before = os.umask(0o077)
    try:
        sources.fetch(source(repository), None, tmp_path / "ws", quiet)
    finally:
        os.umask(before)
    for path in (tmp_path / "ws").rglob("*"):
        assert path.stat().st_mode & 0o044 == 0o044, path


def test_a_repository_of_another_user_is_read(sources: Sources, repository: Repository, tmp_path: Path) -> None:
    for path in (repository.bare, *repository.bare.rglob("*")):
        os.chown(path, 12345, 12345)
    assert sources.fetch(source(repository), None, tmp_path / "ws", quiet).sha == repository.head


def test_no_source_is_an_empty_directory(sources: Sources, tmp_path: Path) -> None:
    assert sources.fetch(Source(type="NO_SOURCE"), None, tmp_path / "ws", quiet) == Revision()
    assert list((tmp_path / "ws").iterdir()) == []


def test_a_type_that_nobody_can_fetch_is_refused_and_one_that_was_added_is_fetched(tmp_path: Path) -> None:
    s3 = Source(type="S3", location="bucket/key.zip")
    with pytest.raises(SourceRefused, match="S3"):
        Sources(tmp_path / "m").fetch(s3, None, tmp_path / "ws", quiet)
    able = Sources(tmp_path / "m", others={"S3": lambda source, version, workspace, say: Revision("v")})
    assert able.fetch(s3, None, tmp_path / "ws", quiet) == Revision("v")


def test_what_a_push_touched_is_told(sources: Sources, repository: Repository) -> None:
    before = repository.head
    after = repository.commit("docs: a word\n\nmore", docs__a="1", **{"x y": "2"})
    change = sources.change(source(repository), "refs/heads/main", before, after)
    assert sorted(change.paths) == ["docs/a", "x y"]
    assert change.message == "docs: a word\n\nmore"
    assert sorted(sources.change(source(repository), "refs/heads/main", None, after).paths) == ["docs/a", "x y"]


def test_mirrors_that_nobody_uses_are_forgotten(sources: Sources, repository: Repository, tmp_path: Path) -> None:
    sources.fetch(source(repository), None, tmp_path / "ws", quiet)
    mirror = sources.mounts([source(repository)])[0]
    assert sources.mirrors.forget_unused(mirror.stat().st_mtime + 1, keep=frozenset({mirror})) == []
    assert sources.mirrors.forget_unused(mirror.stat().st_mtime + 1, keep=frozenset()) == [mirror]
    assert not mirror.exists()


def test_a_compacted_mirror_still_serves(sources: Sources, repository: Repository, tmp_path: Path) -> None:
    for number in range(3):
        repository.commit(f"{number}")
        sources.fetch(source(repository), None, tmp_path / "ws", quiet)
    mirror = sources.mirrors.mirror(sources._remote(source(repository)))
    mirror.compact()
    assert len(list((mirror.objects / "pack").glob("*.pack"))) == 1
    assert git(tmp_path / "ws", "log", "--format=%s").split() == ["2", "1", "0", "first"]
