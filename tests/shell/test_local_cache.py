"""The script that links a path into the local cache (buildspec.md 11.5), under three shells, against hostile trees."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from agent.cache.local import SCRIPT
from tests.shell.harness import SHELLS

FOLDER = "0" * 64


@dataclass
class Container:
    """What a build's container has, below one directory: sources, a cache, and all else."""

    top: Path
    shell: list[str]

    def __post_init__(self) -> None:
        self.top = Path(os.path.realpath(self.top))
        self.sources, self.cache, self.home = self.top / "output/src", self.top / "cache", self.top / "root"
        self.source = self.sources / "github.com/a/b"
        for directory in (self.source / ".git", self.sources / "other", self.cache, self.home):
            directory.mkdir(parents=True)

    def link(self, path: object, folder: str = FOLDER) -> tuple[str, str, str]:
        """Run the script on *path*; return its three lines."""
        arguments = [str(self.cache), folder, str(path), str(self.sources), str(self.source), f"{self.sources}/other"]
        command = [*self.shell, str(SCRIPT), *arguments]
        done = subprocess.run(command, cwd=self.source, capture_output=True, text=True, check=True)
        assert done.stderr == ""
        word, full, detail, _ = done.stdout.split("\n", 3)
        return word, full, detail

    def write(self, path: Path, text: str) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def cached(self, below: str) -> Path:
        return self.cache / FOLDER / below


@pytest.fixture(params=SHELLS)
def container(request: pytest.FixtureRequest, tmp_path: Path) -> Container:
    program = shutil.which(SHELLS[request.param])
    if program is None:
        pytest.skip(f"{SHELLS[request.param]} is not installed")
    return Container(tmp_path, [program, "sh"] if request.param == "ash" else [program])


def test_a_relative_and_an_absolute_path_become_links_and_their_parents_are_made(container: Container) -> None:
    assert container.link("a dir/deps") == (
        "miss",
        f"{container.source}/a dir/deps",
        str(container.cached("github.com/a/b/a dir/deps")),
    )
    (container.source / "a dir/deps/it").write_text("kept")
    assert container.link("a dir/deps/../deps")[0] == "hit", "linked already"
    beyond = container.home / "x/.m2"
    assert container.link(beyond)[2] == str(container.cached(str(beyond)[1:]))
    assert beyond.is_symlink()
    assert beyond.is_dir()


def test_what_the_source_has_goes_into_the_cache_unless_something_is_there(container: Container) -> None:
    cached = container.cached("github.com/a/b/deps")
    container.write(cached / "same", "cached")
    container.write(cached / "both/old", "cached")
    container.write(cached / "kind", "a file, cached")
    deps = container.source / "deps"
    container.write(deps / "same", "source")
    container.write(deps / "both/.new", "source")
    container.write(deps / "kind/file", "source")
    container.write(deps / "..odd name*", "source")
    (deps / "dangling").symlink_to("nowhere")
    container.write(cached.parent.parent / "elsewhere", "mine")
    assert container.link("deps")[0] == "hit"
    assert {path.name: path.read_text() for path in cached.iterdir() if path.is_file()} == {
        "same": "cached",
        "kind": "a file, cached",
        "..odd name*": "source",
    }
    assert sorted(path.name for path in (cached / "both").iterdir()) == [".new", "old"]
    assert (deps / "both" / ".new").read_text() == "source"
    assert (cached / "dangling").readlink() == Path("nowhere")
    assert not (container.cache / ".aside").exists()


def test_a_copy_that_was_cut_short_is_made_again(container: Container) -> None:
    container.write(container.cache / ".aside/entry", "half")
    container.write(container.source / "deps/jar", "whole")
    assert container.link("deps")[0] == "miss"
    assert (container.source / "deps/jar").read_text() == "whole"


@pytest.mark.parametrize(
    "path",
    ["", ".", "..", "../..", "deps/../../../..", "/", "/etc", "/etc/ssl", "/usr/lib", "/codebuild", "/codebuild/agent",
     "/codebuild/output/src1", "/proc/self", "/dev/shm", "/var/lib/docker", "/tmp", ".git", ".git/hooks", "x/../.git",
     "../../../other", "../../../other/.git/x", "a\nb", "a\tb"],
)  # fmt: skip
def test_what_the_container_stands_on_and_whole_sources_are_refused(container: Container, path: str) -> None:
    before = sorted(container.top.rglob("*"))
    assert container.link(path)[0] == "refused"
    assert sorted(container.top.rglob("*")) == before


def test_files_and_patterns_are_no_directories(container: Container) -> None:
    container.write(container.source / "file", "text")
    (container.source / "to-file").symlink_to("file")
    for path in ("file", "file/below", "to-file", "deps/*.jar", "**/deps", "dep?", "[d]eps"):
        assert container.link(path)[0] == "file", path
    assert (container.source / "file").read_text() == "text"


def test_links_on_the_way_are_followed_and_judged_by_where_they_lead(container: Container) -> None:
    (container.source / "out").symlink_to("/etc")
    (container.source / "up").symlink_to("../..")
    (container.source / "git").symlink_to(".git")
    (container.source / "home").symlink_to(container.home)
    for path in ("out/ssl", "up/a/b", "git/hooks"):
        assert container.link(path)[0] == "refused", path
    assert container.link("home/.npm")[:2] == ("miss", f"{container.home}/.npm")
    assert (container.home / ".npm").is_symlink()


def test_a_link_in_the_place_of_the_directory_gives_way_and_what_it_leads_to_stays(container: Container) -> None:
    container.write(container.home / "valuable/file", "text")
    (container.source / "deps").symlink_to(container.home / "valuable")
    (container.source / "gone").symlink_to("nowhere")
    for path in ("deps", "gone"):
        assert container.link(path)[0] == "miss"
        assert (container.source / path).readlink() == container.cached(f"github.com/a/b/{path}")
    assert (container.home / "valuable/file").read_text() == "text"


def test_links_that_an_earlier_build_left_in_the_cache_lead_nowhere(container: Container) -> None:
    container.write(container.home / "valuable/file", "text")
    container.cached("").mkdir()
    container.cached("github.com").symlink_to(container.home / "valuable")
    container.write(container.source / "deps/sub/new", "source")
    assert container.link("deps")[0] == "miss"
    cached = container.cached("github.com/a/b/deps")
    assert cached.resolve() == cached

    shutil.rmtree(cached / "sub")
    (cached / "sub").symlink_to(container.home / "valuable")
    (container.cache / ".aside").symlink_to(container.home / "valuable")
    (container.source / "deps").unlink()
    container.write(container.source / "deps/sub/new", "source")
    assert container.link("deps")[0] == "hit"
    assert sorted(path.name for path in (container.home / "valuable").iterdir()) == ["file"]


def test_a_path_below_a_cached_one_is_cached_with_it(container: Container) -> None:
    assert container.link("deps")[0] == "miss"
    assert container.link("deps/sub")[0] == "covered"
    assert container.link("x/sub")[0] == "miss"
    assert container.link("x", "1" * 64)[0] == "miss"
    (container.source / "x/sub/it").write_text("kept")
    assert (container.cached("github.com/a/b/x/sub/it")).read_text() == "kept"


def test_without_a_cache_nothing_is_touched_and_what_fails_is_told(container: Container) -> None:
    container.cache.rmdir()
    assert container.link("deps")[0] == "absent"
    container.cache.write_text("")
    assert container.link("deps")[0] == "absent"
    assert not (container.source / "deps").exists()


def test_something_mounted_in_the_directory_is_never_moved(container: Container) -> None:
    place = container.source / "deps" / "a mount"
    container.write(place / "file", "text")
    inner = 'mount -t tmpfs none "$1" && touch "$1/precious" && shift && "$@" && ls "$0"'
    arguments = [str(container.cache), FOLDER, "deps", str(container.sources), str(container.source)]
    command = ["unshare", "-m", "sh", "-c", inner, str(place), str(place), *container.shell, str(SCRIPT), *arguments]
    done = subprocess.run(command, cwd=container.source, capture_output=True, text=True, check=False)
    if "mount" in done.stderr or "unshare" in done.stderr:
        pytest.skip("this host lets nobody mount")
    assert done.stdout.splitlines()[0] == "refused"
    assert done.stdout.splitlines()[-1] == "precious"
