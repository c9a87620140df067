"""The choice of runtimes from an image's own list."""

from __future__ import annotations

import pytest

from agent.environment.runtimes import Catalogue, Selection, SetUpCommand, demands_a_choice, parse_runtimes, select

FILE = b"""
version: 0.1
runtimes:
  android:
    versions:
      28: {requires: {java: [openjdk8]}, commands: [android 28]}
      29: {requires: {java: [corretto8, openjdk8]}, commands: [android 29]}
      30: {requires: {jvm: ["1"]}, commands: [android 30]}
  java:
    versions:
      openjdk8: {commands: [java 8]}
      openjdk11: {commands: [java 11, "export JAVA_HOME=/11"]}
  python:
    versions:
      3.9: {commands: [python 3.9]}
      3.10: {commands: [python 3.10]}
      default: {commands: ["python $VERSION"]}
  nodejs: {versions: {10: {commands: [node 10]}, 12: {commands: [node 12]}}}
"""


@pytest.fixture
def catalogue() -> Catalogue:
    return parse_runtimes(FILE)


def chosen(catalogue: Catalogue, variables: dict[str, str] | None = None, **wanted: str) -> Selection:
    return select(catalogue, wanted, variables or {})


def texts(selection: Selection) -> list[str]:
    assert selection.problem == ""
    return [command.text for command in selection.commands]


def selecting(name: str, version: str) -> str:
    return f"Selecting '{name}' runtime version '{version}' based on manual selections..."


@pytest.mark.parametrize(
    ("name", "version", "found"),
    [
        ("nodejs", "12", "12"),
        ("NodeJS", "12", "12"),
        ("java", "OpenJDK11", "openjdk11"),
        ("python", "3.10", "3.10"),
        ("nodejs", "$NODE", "10"),
        ("nodejs", "1${TWO}", "12"),
    ],
)
def test_a_listed_version_is_found_by_its_name_whatever_the_case(
    catalogue: Catalogue, name: str, version: str, found: str
) -> None:
    selection = chosen(catalogue, {"NODE": "10", "TWO": "2"}, **{name: version})
    assert selection.lines == [selecting(name.lower(), found)]
    assert len(texts(selection)) >= 1


@pytest.mark.parametrize(
    ("name", "alias", "found"),
    [
        ("nodejs", "latest", "12"),
        ("python", "latest", "3.10"),
        ("python", "3.x", "3.10"),
        ("nodejs", "10.x", "10"),
        ("java", "latest", "openjdk11"),
        ("java", "openjdk8.x", "openjdk8"),
    ],
)
def test_an_alias_becomes_the_highest_version_that_fits_and_the_log_says_so(
    catalogue: Catalogue, name: str, alias: str, found: str
) -> None:
    selection = chosen(catalogue, **{name: alias})
    assert selection.lines == [f"Resolved '{name}' runtime alias '{alias}' to '{found}'.", selecting(name, found)]
    assert texts(selection)


def test_the_default_entry_installs_what_is_not_listed_and_is_told_the_version(catalogue: Catalogue) -> None:
    assert chosen(catalogue, python="3.13.1").commands == [SetUpCommand("python $VERSION", "3.13.1")]
    assert chosen(catalogue, python="4.x").commands == [SetUpCommand("python $VERSION", "4")]
    assert chosen(catalogue, python="3.9").commands == [SetUpCommand("python 3.9")]


def test_an_unknown_runtime_fails_after_all_selections_are_told(catalogue: Catalogue) -> None:
    selection = chosen(catalogue, nodejs="12", docker="20")
    assert selection.lines == [selecting("nodejs", "12"), selecting("docker", "20")]
    assert selection.problem == (
        "Unknown runtime named 'docker'. This build image has the following runtimes: android, java, nodejs, python"
    )
    assert selection.commands == []


@pytest.mark.parametrize("version", ["18", "18.x", "1", ""])
def test_an_unknown_version_fails_and_lists_the_known_ones(catalogue: Catalogue, version: str) -> None:
    assert chosen(catalogue, nodejs=version).problem == (
        f"Unknown runtime version named '{version}' of nodejs. This build image has the following versions: 10, 12"
    )


def test_a_runtime_that_another_one_needs_is_chosen_and_set_up_before_it(catalogue: Catalogue) -> None:
    selection = chosen(catalogue, android="29", nodejs="12")
    assert texts(selection) == ["java 8", "android 29", "node 12"]
    assert selection.lines[-1] == (
        "Selecting 'java' runtime version 'openjdk8' based on the dependencies of runtime 'android'..."
    )
    assert texts(chosen(catalogue, android="28", java="openjdk8")) == ["java 8", "android 28"]


def test_runtimes_that_do_not_go_together_fail(catalogue: Catalogue) -> None:
    selection = chosen(catalogue, android="29", java="openjdk11")
    conflict = (
        "Runtime 'android' version '29' has a dependency on runtime 'java', "
        "but 'java' version 'openjdk11' has already been manually selected."
    )
    assert selection.lines[-1] == f"{conflict} Not attempting to override."
    assert selection.problem.startswith(conflict)


def test_a_need_that_the_image_cannot_meet_fails(catalogue: Catalogue) -> None:
    assert "which this build image does not have" in chosen(catalogue, android="30").problem


def test_runtimes_that_need_each_other_are_each_set_up_once() -> None:
    file = b"runtimes: {a: {versions: {1: {requires: {b: 1}, commands: a}}}, b: {versions: {1: {requires: {a: 1}}}}}"
    assert texts(select(parse_runtimes(file), {"a": "1"}, {})) == ["a"]


@pytest.mark.parametrize("file", [b"", b"[]", b"runtimes: 5", b"a: [", b"\xff\xfe\x00", b"x" * (2 << 20)])
def test_what_is_no_list_of_runtimes_is_refused(file: bytes) -> None:
    with pytest.raises(ValueError):
        parse_runtimes(file)


def test_odd_entries_of_a_list_are_left_out() -> None:
    catalogue = parse_runtimes(b"runtimes: {a: 5, b: {versions: {1: , 2: {commands: [x, {y: z}, ]}}}}")
    assert chosen(catalogue, a="1").problem.startswith("Unknown runtime version named '1' of a.")
    assert chosen(catalogue, b="1").commands == []
    assert texts(chosen(catalogue, b="2")) == ["x"]


def test_only_the_first_images_with_runtimes_demand_a_choice() -> None:
    assert demands_a_choice("aws/codebuild/standard:2.0")
    assert demands_a_choice("aws/codebuild/amazonlinux2-x86_64-standard:1.0")
    assert not demands_a_choice("aws/codebuild/standard:7.0")
    assert not demands_a_choice("mine/standard:2.0")
