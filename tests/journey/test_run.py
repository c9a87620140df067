"""`buildspecd run`: a working tree built on the spot, untouched, with an exit code for every way that it can end."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes.repository import Repository
from tests.images import docker
from tests.journey.daemon import COMMAND, Json, buildspec, clean_environment
from tests.journey.registry import dead_port
from tests.journey.waiting import until

pytestmark = pytest.mark.docker

Done = subprocess.CompletedProcess[bytes]


class Laptop:
    """Somebody's machine: a home, a working tree, and the command line."""

    def __init__(self, place: Path, image: str) -> None:
        self.place = place
        self.image = image
        self.tree = place / "tree"
        self.tree.mkdir(parents=True)
        self.runtime = Path("/dev/shm") / f"buildspecd-journey-{uuid.uuid4().hex[:12]}"
        self.state = place / "home-state" / "buildspecd"
        config = place / "agent.yml"
        config.write_text(json.dumps({"runtime_dir": str(self.runtime), "builds": {"stop_grace": "1s"}}))
        own = {"XDG_STATE_HOME": str(place / "home-state"), "BUILDSPECD_CONFIG": str(config)}
        self.environment = clean_environment(place, own)

    def write(self, *commands: str, name: str = "buildspec.yml", **sections: object) -> None:
        """Put a buildspec into the tree."""
        (self.tree / name).write_text(buildspec(*commands, **sections))

    def command(self, *words: str) -> list[str]:
        """The command line of a build of the tree."""
        return [*COMMAND, "run", str(self.tree), "-i", self.image, *words]

    def run(self, *words: str) -> Done:
        """Build the tree; see that nothing is left and that the tree is as it was."""
        before = digest(self.tree)
        command = self.command(*words)
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, env=self.environment, check=False, timeout=120
        )
        self.assert_clean(before)
        return done

    def assert_clean(self, before: str) -> None:
        """The tree is what it was, and no container, workspace or secret is left."""
        assert digest(self.tree) == before
        agent = self.state / "agent-id"
        if agent.exists():
            label = f"label=buildspecd.agent={agent.read_text().strip()}"
            assert docker("ps", "--all", "--quiet", "--filter", label) == ""
        builds = self.state / "builds"
        assert not builds.exists() or list(builds.iterdir()) == []
        assert [path for path in self.runtime.rglob("*") if path.is_file()] == []


@pytest.fixture
def laptop(tmp_path: Path, busybox: str) -> Iterator[Laptop]:
    """A machine with an empty working tree."""
    one = Laptop(tmp_path, busybox)
    yield one
    shutil.rmtree(one.runtime, ignore_errors=True)


def digest(tree: Path) -> str:
    """Return a sum over names, kinds, modes, times and contents of all below *tree*."""
    seen = hashlib.sha256()
    for path in sorted(tree.rglob("*")):
        facts = path.lstat()
        seen.update(f"{path.relative_to(tree)!r} {facts.st_mode} {facts.st_mtime_ns} {facts.st_uid}".encode())
        if path.is_symlink():
            seen.update(os.fsencode(path.readlink()))
        elif path.is_file():
            seen.update(path.read_bytes())
    return seen.hexdigest()


def test_a_green_build_leaves_its_artifacts_unpacked_and_the_tree_as_it_was(laptop: Laptop) -> None:
    laptop.write(
        "echo green; rm -rf src; echo mess > mess",
        "mkdir -p out/sub; echo a > out/a; echo b > out/sub/b; chmod +x out/a",
        artifacts={
            "files": ["**/*"],
            "base-directory": "out",
            "secondary-artifacts": {"notes": {"files": ["mess"]}, "more": {"files": ["out/a"], "discard-paths": "yes"}},
        },
    )
    (laptop.tree / "src").mkdir()
    (laptop.tree / "src" / "main.c").write_text("int main;")
    out = laptop.place / "artifacts"
    done = laptop.run("--artifacts", str(out), "--json")
    assert done.returncode == 0, done.stderr.decode()
    found = {str(path.relative_to(out)): path.read_text() for path in out.rglob("*") if path.is_file()}
    assert found == {"a": "a\n", "sub/b": "b\n", "notes/mess": "mess\n", "more/a": "a\n"}
    assert os.access(out / "a", os.X_OK)
    *log, last = done.stdout.decode().splitlines()
    build: Json = json.loads(last)
    assert (build["buildStatus"], build["currentPhase"]) == ("SUCCEEDED", "COMPLETED")
    assert {one["phaseType"] for one in build["phases"]} >= {"PROVISIONING", "BUILD", "UPLOAD_ARTIFACTS"}
    assert log[0].startswith("[Container] ")
    assert "green" in log
    assert "SUCCEEDED" in done.stderr.decode()


def test_what_is_not_committed_is_built_and_git_works_inside(laptop: Laptop, debian: str, tmp_path: Path) -> None:
    repository = Repository(tmp_path / "git")
    head = repository.commit(kept="committed", changed="old")
    laptop.tree.rmdir()
    shutil.copytree(repository.work, laptop.tree)
    (laptop.tree / "changed").write_text("new")
    (laptop.tree / "added").write_text("added")
    laptop.write("echo $(cat kept changed added)", "git status --short", "echo head $(git rev-parse HEAD)")
    laptop.image = debian
    done = laptop.run("--json")
    assert done.returncode == 0, done.stdout.decode() + done.stderr.decode()
    text = done.stdout.decode()
    assert "committednewadded" in text
    assert f"head {head}" in text
    assert " M changed\n?? added\n" in text
    assert json.loads(text.splitlines()[-1])["resolvedSourceVersion"] == head


def test_a_red_build_is_1_and_says_which_command_it_was(laptop: Laptop) -> None:
    laptop.write("echo before", "exit 42")
    done = laptop.run("--json")
    assert done.returncode == 1
    assert json.loads(done.stdout.splitlines()[-1])["buildStatus"] == "FAILED"
    assert b"Error while executing command: exit 42. Reason: exit status 42" in done.stdout
    assert b"exit 42" in done.stderr


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "YAML file does not exist"),
        ("version: 0.2\nphases:\n\tbuild: {}\n", "found character that cannot start any token"),
        ("version: 9\nphases: {}\n", "invalid buildspec version"),
    ],
    ids=["missing", "tabs", "version"],
)
def test_an_invalid_buildspec_is_2(laptop: Laptop, content: str | None, words: str) -> None:
    if content is not None:
        (laptop.tree / "buildspec.yml").write_text(content)
    done = laptop.run()
    assert done.returncode == 2, done.stdout.decode() + done.stderr.decode()
    assert words in done.stdout.decode() + done.stderr.decode()


@pytest.mark.parametrize(
    "words",
    [["--artifacts"], ["--no-such-option"], ["--timeout", "0"], ["-e", "1BAD=x"], ["--project", "no-such-project"]],
    ids=" ".join,
)
def test_a_command_line_that_makes_no_sense_is_2(laptop: Laptop, words: list[str]) -> None:
    laptop.write("echo begun")
    done = laptop.run(*words)
    assert done.returncode == 2
    assert b"begun" not in done.stdout
    assert done.stderr


def test_a_directory_that_is_not_there_is_2(laptop: Laptop) -> None:
    command = [*COMMAND, "run", str(laptop.place / "gone")]
    done = subprocess.run(command, capture_output=True, env=laptop.environment, check=False)
    assert done.returncode == 2
    assert b"gone" in done.stderr


@pytest.mark.slow
def test_an_engine_that_does_not_answer_is_3(laptop: Laptop) -> None:
    laptop.write("echo begun")
    laptop.environment["DOCKER_HOST"] = f"tcp://127.0.0.1:{dead_port()}"
    done = laptop.run()
    assert done.returncode == 3, done.stdout.decode() + done.stderr.decode()
    assert b"Docker engine" in done.stderr + done.stdout


def test_a_build_that_runs_out_of_time_is_4(laptop: Laptop) -> None:
    laptop.write("echo begun; trap '' TERM; while :; do sleep 1; done")
    done = laptop.run("--timeout", "0.03", "--json")
    assert done.returncode == 4, done.stdout.decode() + done.stderr.decode()
    assert b"\nbegun\n" in done.stdout
    assert b"Phase context status code: BUILD_TIMED_OUT Message: Build has timed out." in done.stdout
    build = json.loads(done.stdout.splitlines()[-1])
    assert build["buildStatus"] == "FAILED"
    assert [one["phaseType"] for one in build["phases"] if one.get("phaseStatus") == "TIMED_OUT"] == ["BUILD"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_stops_the_build_clears_away_and_is_5(laptop: Laptop, number: signal.Signals) -> None:
    laptop.write("echo begun", "sleep 600", "echo never")
    before = digest(laptop.tree)
    with subprocess.Popen(
        laptop.command("--json"), stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=laptop.environment
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        output = b""
        while b"Running command sleep 600" not in output:
            piece = process.stdout.readline()
            assert piece, process.stderr.read()
            output += piece
        process.send_signal(number)
        rest, complaints = process.communicate(timeout=30)
    assert process.returncode == 5, complaints.decode()
    assert b"stopping the build" in complaints
    build = json.loads(rest.splitlines()[-1])
    assert build["buildStatus"] == "STOPPED"
    assert b"\nnever\n" not in rest
    laptop.assert_clean(before)


def test_a_second_ctrl_c_leaves_at_once_and_the_next_build_clears_away_what_it_left(laptop: Laptop) -> None:
    laptop.write("echo begun; trap '' TERM; while :; do sleep 1; done", name="stubborn.yml")
    laptop.write("echo green")
    config = Path(laptop.environment["BUILDSPECD_CONFIG"])
    config.write_text(json.dumps({**json.loads(config.read_text()), "builds": {"stop_grace": "60s"}}))
    before = digest(laptop.tree)
    with subprocess.Popen(
        laptop.command("-f", "stubborn.yml"), stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=laptop.environment
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert any(b"begun" in line for line in iter(process.stdout.readline, b""))
        process.send_signal(signal.SIGINT)
        assert b"stopping the build" in process.stderr.readline()
        process.send_signal(signal.SIGINT)
        process.wait(10)
    assert process.returncode == 128 + signal.SIGINT
    assert digest(laptop.tree) == before
    until(lambda: laptop.run().returncode == 0, "a green build")


def test_variables_come_from_the_command_line_and_from_files_and_the_cache_is_kept(laptop: Laptop) -> None:
    laptop.write(
        "echo A=$A B=$B C=$C", "cat deps/x 2>/dev/null || { mkdir deps; echo kept > deps/x; }",
        cache={"paths": ["deps/**/*"]},
    )  # fmt: skip
    file = laptop.place / "vars.env"
    file.write_text("# comment\nA=file\nexport B='two words'\n")
    laptop.environment["C"] = "inherited"
    words = ["--env-file", str(file), "-e", "A=line", "-e", "C", "--cache", str(laptop.place / "cache")]
    first, second = laptop.run(*words), laptop.run(*words)
    assert (first.returncode, second.returncode) == (0, 0)
    assert b"\nA=line B=two words C=inherited\n" in first.stdout
    assert b"\nkept\n" not in first.stdout
    assert b"\nkept\n" in second.stdout


def test_a_reader_that_goes_away_does_not_leave_a_build_running(laptop: Laptop) -> None:
    laptop.write("i=0; while test $i -lt 20000; do echo line $i; i=$((i+1)); done")
    before = digest(laptop.tree)
    with subprocess.Popen(
        laptop.command(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=laptop.environment
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.stdout.close()
        process.wait(60)
    laptop.assert_clean(before)
