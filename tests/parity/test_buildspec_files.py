"""Cases 1 to 16 of buildspec.md, section 16, as whole builds: where the buildspec is, and what is wrong with it."""

from __future__ import annotations

import pytest

from agent.model.project import Source, SourceVersion
from tests.fakes.repository import Repository
from tests.parity.site import Ended, Site, spec

pytestmark = pytest.mark.docker

ENDS_IN_DOWNLOAD_SOURCE = {
    "SUBMITTED": "SUCCEEDED",
    "QUEUED": "SUCCEEDED",
    "PROVISIONING": "SUCCEEDED",
    "DOWNLOAD_SOURCE": "FAILED",
    "FINALIZING": "SUCCEEDED",
    "COMPLETED": None,
}


def refused(ended: Ended) -> str:
    """Return why the buildspec was refused, after a look at all that goes with that."""
    code, message = ended.context("DOWNLOAD_SOURCE")
    assert code == "YAML_FILE_ERROR"
    assert (ended.status, ended.phases) == ("FAILED", ENDS_IN_DOWNLOAD_SOURCE)
    assert ended.lines[-2:] == [
        "Phase complete: DOWNLOAD_SOURCE State: FAILED",
        f"Phase context status code: YAML_FILE_ERROR Message: {message}",
    ]
    return message


def test_case_01_a_missing_default_buildspec_ends_the_build_in_download_source(site: Site) -> None:
    ended = site.build(None, files={"README": "x"})
    assert refused(ended) == "YAML file does not exist"
    assert ended.lines[3:5] == ["Phase is DOWNLOAD_SOURCE", f"CODEBUILD_SRC_DIR={ended.source}"]
    assert "YAML location is" not in ended.log


def test_case_02_a_missing_named_buildspec_is_named_with_its_path(site: Site) -> None:
    ended = site.build(None, files={"README": "x"}, inline="ci/x.yml")
    assert refused(ended) == f"stat {ended.source}/ci/x.yml: no such file or directory"


def test_case_03_a_file_called_buildspec_yaml_is_not_looked_for(site: Site) -> None:
    assert refused(site.build(None, files={"buildspec.yaml": spec(build=["echo a"])})) == "YAML file does not exist"


def test_case_04_a_command_that_is_a_mapping_is_named_with_its_line(site: Site) -> None:
    ended = site.build('version: 0.2\n\nphases:\n  build:\n    commands:\n      - echo "Hello: world"\n')
    assert refused(ended) == (
        "Expected Commands[0] to be of string type: found subkeys instead at line 6, "
        "value of the key tag on line 5 might be empty"
    )
    assert f"YAML location is {ended.source}/buildspec.yml" in ended.lines


def test_case_05_the_same_command_in_single_quotes_runs(site: Site) -> None:
    ended = site.build("version: 0.2\n\nphases:\n  build:\n    commands:\n      - 'echo \"Hello: world\"'\n")
    assert (ended.status, ended.output) == ("SUCCEEDED", ["Hello: world"])


def test_case_06_an_unquoted_item_in_braces_is_a_type_error(site: Site) -> None:
    ended = site.build("version: 0.2\nphases:\n  build:\n    commands:\n      - { echo a; }\n")
    assert refused(ended).startswith("Expected Commands[0] to be of string type: found subkeys instead at line 5")


def test_case_07_a_tab_as_indentation_cannot_start_a_token(site: Site) -> None:
    ended = site.build("version: 0.2\nphases:\n\tbuild:\n\t\tcommands: [a]\n")
    assert "found character that cannot start any token" in refused(ended)


def test_case_08_artifacts_type_is_warned_of_and_the_build_goes_on(site: Site) -> None:
    ended = site.build(spec(build=["echo a"], artifacts={"type": "zip", "files": ["**/*"]}))
    assert ended.status == "SUCCEEDED"
    after = ended.log.partition("Found possible syntax errors")[2]
    assert after.startswith(
        " in buildspec: \nIn the section artifacts\n    The following keys cannot be identified:\n        type\n[Cont"
    )
    start = ended.lines.index(f"YAML location is {ended.source}/buildspec.yml")
    assert ended.lines[start + 1 : start + 3] == [
        "Found possible syntax errors in buildspec: ",
        "Processing environment variables",
    ]


def test_case_09_an_unknown_phase_is_warned_of_and_not_run(site: Site) -> None:
    ended = site.build("version: 0.2\nphases:\n  test:\n    commands: [echo no]\n  build:\n    commands: [echo yes]\n")
    assert ended.status == "SUCCEEDED"
    assert "In the section phases\n    The following keys cannot be identified:\n        test\n" in ended.log
    assert ended.output[-1] == "yes"
    assert "Phases found in YAML: 1" in ended.lines
    assert "Running command echo no" not in ended.lines


def test_case_10_json_inline_runs_and_lies_in_codebuild_readonly(site: Site) -> None:
    ended = site.build(None, inline='{"version": "0.2", "phases": {"build": {"commands": ["echo a: b"]}}}')
    assert (ended.status, ended.output) == ("SUCCEEDED", ["a: b"])
    assert "YAML location is /codebuild/readonly/buildspec.yml" in ended.lines


@pytest.mark.parametrize(
    "text",
    ["version: 0.2\nphases: {build: {commands: [echo a]}}", "{version: 0.2, phases: {build: {commands: [echo a]}}}"],
)
def test_a_project_without_source_runs_its_inline_buildspec(site: Site, text: str) -> None:
    ended = site.build(source=Source(type="NO_SOURCE", buildspec=text))
    assert (ended.status, ended.output) == ("SUCCEEDED", ["a"])


def test_a_project_without_source_needs_its_buildspec_inline(site: Site) -> None:
    assert "inline" in refused(site.build(source=Source(type="NO_SOURCE", buildspec="ci/x.yml")))


def test_the_override_of_a_start_wins_over_the_projects_buildspec(site: Site) -> None:
    files = {"a.yml": spec(build=["echo a"]), "ci/b.yml": spec(build=["echo b"])}
    ended = site.build(None, files=files, inline="a.yml", overrides={"buildspecOverride": "ci/b.yml"})
    assert ended.output == ["b"]
    assert f"YAML location is {ended.source}/ci/b.yml" in ended.lines


def test_the_buildspec_is_looked_for_in_the_primary_source_only(site: Site) -> None:
    second = Source(type="DIRECTORY", location=str(site.tree({"buildspec.yml": spec(build=["echo a"])})))
    ended = site.build(None, files={"x": ""}, secondary_sources=(second.evolve(source_identifier="s1"),))
    assert refused(ended) == "YAML file does not exist"
    assert f"CODEBUILD_SRC_DIR_s1={ended.source.removesuffix('00')}01" in ended.lines


def test_case_11_the_version_as_a_string_is_accepted(site: Site) -> None:
    ended = site.build('version: "0.2"\nphases: {build: {commands: [X=1, echo $X]}}')
    assert (ended.status, ended.output) == ("SUCCEEDED", ["1"])


def test_cases_12_and_13_scalars_keep_their_source_text(site: Site) -> None:
    values = "{FLAG: NO, V: 1.10, OCT: 010, HEX: 0x1F, DAY: 2020-01-01, EMPTY: , TILDE: ~, BIG: 1_000}"
    shown = "echo $FLAG $V $OCT $HEX $DAY [$EMPTY$TILDE] $BIG"
    ended = site.build(f"version: 0.2\nenv: {{variables: {values}}}\nphases: {{build: {{commands: ['{shown}']}}}}")
    assert ended.output == ["NO 1.10 010 0x1F 2020-01-01 [] 1_000"]


def test_case_14_a_block_in_a_crlf_file_has_no_carriage_returns(site: Site) -> None:
    text = "version: 0.2\nphases:\n  build:\n    commands:\n      - |\n        echo a\n        echo b\n"
    ended = site.build(text.replace("\n", "\r\n"))
    assert ended.output == ["echo b", "a", "b"]
    assert "\r" not in ended.log


def test_case_15_an_anchor_is_resolved_and_its_holder_warned_of(site: Site) -> None:
    ended = site.build("version: 0.2\nx-common: &c [echo a]\nphases:\n  build:\n    commands: *c\n")
    assert ended.output[-1] == "a"
    assert "The following keys cannot be identified:\n        x-common\n" in ended.log


def test_case_16_no_commands_at_all_is_a_green_build(site: Site) -> None:
    ended = site.build("version: 0.2\nphases: {build: {commands: []}}")
    assert ended.status == "SUCCEEDED"
    assert "Phases found in YAML: 0" in ended.lines


def test_tolerated_shapes_run(site: Site) -> None:
    """Section 1.2 and 2.2: empty items, a scalar for a list, numbers and booleans as commands, a merge key, a BOM."""
    text = (
        "\ufeffversion: 0.2\n"
        "x: &base {finally: [echo merged]}\n"
        "phases:\n"
        "  install: {commands: true}\n"
        "  pre_build:\n    commands:\n"
        "  build:\n    <<: *base\n    commands:\n      - echo a\n      -\n      - # echo b\n      - 'true'\n"
        "  post_build: {commands: echo scalar}\n"
        "---\nversion: 0.1\n"
    )
    ended = site.build(text)
    assert (ended.status, ended.output[-3:]) == ("SUCCEEDED", ["a", "merged", "scalar"])
    assert sum("empty commands of phases.build are skipped" in line for line in ended.lines) == 1
    assert any("several documents" in line for line in ended.lines)


@pytest.mark.parametrize("version", ["", "version: 0.3\n", "version: two\n"])
def test_a_missing_or_wrong_version_is_refused(site: Site, version: str) -> None:
    message = refused(site.build(f"{version}phases: {{build: {{commands: [a]}}}}"))
    assert message == "invalid buildspec version"


def test_what_is_no_buildspec_is_refused(site: Site) -> None:
    assert refused(site.build('{"name": "web", "source": {"type": "S3"}}')) == (
        "wrong number of container tags, expected 1"
    )


def test_secondary_git_sources_lie_under_the_same_root(site: Site) -> None:
    primary, other = Repository(site.place / "git", "app"), Repository(site.place / "git", "lib")
    head = primary.commit(**{"buildspec.yml": spec(build=["cat $CODEBUILD_SRC_DIR_lib/file; echo; env"])})
    wanted = other.commit(file="wanted")
    other.commit(file="later")
    ended = site.build(
        source=Source(type="GIT", location=primary.url),
        secondary_sources=(Source(type="GIT", location=other.url, source_identifier="lib"),),
        secondary_source_versions=(SourceVersion(source_identifier="lib", source_version=wanted),),
    )
    assert ended.output[0] == "wanted"
    assert f"CODEBUILD_RESOLVED_SOURCE_VERSION={head}" in ended.output
    assert f"CODEBUILD_SOURCE_VERSION_lib={wanted}" in ended.output
