"""Buildspecs that are missing, broken or hostile: one clear message, FAILED, and nothing left behind."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fakes.repository import Repository
from tests.journey.daemon import Daemon, buildspec, failure

pytestmark = pytest.mark.docker

_BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join(['*' + before] * 9)}]\n" for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)
_BROKEN = {
    "empty": (b"", "wrong number of container tags, expected 1"),
    "only-a-comment": (b"# nothing\n", "wrong number of container tags, expected 1"),
    "binary": (b"\x7fELF\x02\x01\x01\0\0\0\xff\xfe\xfd" * 40, "invalid UTF-8, not a text file in that encoding"),
    "tabs": (
        b"version: 0.2\nphases:\n\tbuild:\n\t\tcommands:\n\t\t\t- echo\n",
        "found character that cannot start any token",
    ),
    "alias-bomb": (_BOMB.encode() + b"version: 0.2\n", "more than 100000 values after aliases are expanded"),
    "deep": (b"version: 0.2\nx: " + b"[" * 5000, "nested"),
    "no-version": (b"phases:\n  build:\n    commands: [echo]\n", "invalid buildspec version"),
    "mapping-as-command": (
        b"version: 0.2\nphases:\n  build:\n    commands:\n      - echo one\n      - echo: two\n",
        "Expected Commands[1] to be of string type: found subkeys instead",
    ),
    "unclosed-quote": (b"version: 0.2\nphases:\n  build:\n    commands:\n      - 'echo\n", "unexpected end of stream"),
}


@pytest.mark.parametrize(("content", "message"), _BROKEN.values(), ids=_BROKEN.keys())
def test_a_broken_buildspec_fails_the_build_with_the_reason(
    daemon: Daemon, repository: Repository, busybox: str, content: bytes, message: str
) -> None:
    (repository.work / "buildspec.yml").write_bytes(content)
    repository.commit(file="x")
    build = daemon.build(daemon.project(busybox, source={"type": "GIT", "location": repository.url}))
    kind, code, words = failure(build)
    assert (build["buildStatus"], kind, code) == ("FAILED", "DOWNLOAD_SOURCE", "YAML_FILE_ERROR")
    assert message in words
    assert len(words) < 500
    assert f"Phase context status code: YAML_FILE_ERROR Message: {words}" in daemon.text(build)
    assert [one["phaseType"] for one in build["phases"]][-2:] == ["FINALIZING", "COMPLETED"]
    daemon.assert_nothing_left(build)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        (None, "YAML file does not exist"),
        ("ci/build.yml", "/ci/build.yml: no such file or directory"),
        ("../../../../../etc/passwd", "no such file or directory"),
        ("outside.yml", "no such file or directory"),
        ("folder", "no such file or directory"),
    ],
    ids=["default", "named", "above-the-tree", "link-out-of-the-tree", "a-directory"],
)
def test_a_buildspec_that_is_not_in_the_tree_is_not_found(
    daemon: Daemon, repository: Repository, busybox: str, tmp_path: Path, setting: str | None, message: str
) -> None:
    secret = tmp_path / "secret.yml"
    secret.write_text(buildspec("echo stolen"))
    (repository.work / "outside.yml").symlink_to(secret)
    repository.commit(file="x", folder__file="y")
    source = {"type": "GIT", "location": repository.url, **({"buildspec": setting} if setting else {})}
    build = daemon.build(daemon.project(busybox, source=source))
    kind, code, words = failure(build)
    assert (build["buildStatus"], kind, code) == ("FAILED", "DOWNLOAD_SOURCE", "YAML_FILE_ERROR")
    assert message in words
    assert "stolen" not in daemon.text(build)
    daemon.assert_nothing_left(build)


def test_an_unknown_key_is_a_warning_in_the_log_and_the_build_is_green(daemon: Daemon, busybox: str) -> None:
    spec = (
        "version: 0.2\nphaces: {}\nphases:\n  build:\n    comands: [echo no]\n    commands: [echo yes]\n"
        "    on-failure: CONTINUE\n"
    )
    build = daemon.build(daemon.project(busybox, source={"type": "NO_SOURCE", "buildspec": spec}))
    text = daemon.text(build)
    assert build["buildStatus"] == "SUCCEEDED"
    assert "Found possible syntax errors in buildspec: \n" in text
    assert "    The following keys cannot be identified:\n        phaces\n" in text
    assert "        comands\n" in text
    assert "\nyes\n" in text
    assert "\nno\n" not in text


def test_a_project_without_source_needs_its_buildspec_inline(daemon: Daemon, busybox: str) -> None:
    build = daemon.build(daemon.inline(busybox, "echo"), buildspecOverride="some/file.yml")
    assert failure(build)[:2] == ("DOWNLOAD_SOURCE", "YAML_FILE_ERROR")
    assert "inline" in failure(build)[2]
    daemon.assert_nothing_left(build)


def test_the_shell_that_the_buildspec_wants_must_be_in_the_image(daemon: Daemon, busybox: str) -> None:
    spec = buildspec("echo begun", env={"shell": "bash"})
    build = daemon.build(daemon.project(busybox, source={"type": "NO_SOURCE", "buildspec": spec}))
    kind, code, words = failure(build)
    assert (build["buildStatus"], code) == ("FAILED", "YAML_FILE_ERROR")
    assert words == "env.shell: bash is not in the build image"
    assert "\nbegun" not in daemon.text(build)
    assert kind in ("DOWNLOAD_SOURCE", "INSTALL")
    daemon.assert_nothing_left(build)


def test_a_user_that_the_image_does_not_have_cannot_run_a_phase(daemon: Daemon, busybox: str) -> None:
    spec = buildspec("echo begun", **{"run-as": "nobody-here"})
    build = daemon.build(daemon.project(busybox, source={"type": "NO_SOURCE", "buildspec": spec}))
    assert build["buildStatus"] == "FAILED"
    assert "nobody-here" in failure(build)[2]
    assert "\nbegun" not in daemon.text(build)
    daemon.assert_nothing_left(build)
