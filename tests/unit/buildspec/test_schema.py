"""The JSON Schema for editors: generated from the grammar, of one mind with the parser."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from agent.buildspec.make import problems_of
from agent.buildspec.schema import buildspec_schema
from tests.unit.buildspec.samples import Sample, as_an_editor_reads, samples
from tests.unit.buildspec.specs import WHOLE, with_build

ROOT = Path(__file__).parents[3]
SEEDS = sorted((ROOT / "tests" / "fuzz" / "seeds").iterdir())
EDITOR = jsonschema.Draft7Validator(buildspec_schema())
SAMPLES = list(samples())


def complaints(document: Any) -> list[str]:
    return [f"{error.json_path}: {error.message}"[:200] for error in EDITOR.iter_errors(document)]


def name_of(sample: Sample) -> str:
    return ".".join(sample.path)


def test_the_schema_is_one_of_draft_7_and_its_file_is_up_to_date() -> None:
    schema = buildspec_schema()
    jsonschema.Draft7Validator.check_schema(schema)
    file = ROOT / "config" / "buildspec.schema.json"
    assert json.loads(file.read_text()) == schema, "run `make schemas`"


def test_every_key_is_explained_in_a_sentence() -> None:
    assert len(SAMPLES) > 100
    unexplained = [
        name_of(sample) for sample in SAMPLES if not (sample.key.help.endswith(".") and len(sample.key.help) > 15)
    ]
    assert unexplained == []
    texts = json.dumps(buildspec_schema())
    assert [name_of(sample) for sample in SAMPLES if json.dumps(sample.key.help) not in texts] == []


@pytest.mark.parametrize("sample", SAMPLES, ids=name_of)
def test_a_key_that_is_right_is_right_for_the_parser_and_for_editors(sample: Sample) -> None:
    assert problems_of(json.dumps(sample.right), "b.yml", batch=True) == []
    assert complaints(sample.right) == []


@pytest.mark.parametrize("sample", SAMPLES, ids=name_of)
def test_a_key_that_is_wrong_is_wrong_for_the_parser_and_for_editors(sample: Sample) -> None:
    found = [problem.message for problem in problems_of(json.dumps(sample.wrong), "b.yml", batch=True)]
    named = sample.path[-1]
    assert any(named in message for message in found), found
    assert complaints(sample.wrong) != []


@pytest.mark.parametrize("sample", SAMPLES, ids=name_of)
def test_a_misspelt_key_is_wrong_for_the_parser_and_for_editors(sample: Sample) -> None:
    text = json.dumps(sample.right).replace(f'"{sample.path[-1]}":', f'"{sample.path[-1]}x":')
    assert problems_of(text, "b.yml", batch=True) != []
    assert complaints(json.loads(text)) != []


def _examples() -> Iterator[tuple[str, str]]:
    yield "whole", WHOLE.replace("exclude-paths: '**/.*'", "exclude-paths: ['**/.*']")
    yield "ours", (ROOT / "buildspec.yml").read_text()
    for seed in SEEDS:
        yield seed.name, seed.read_text()


EXAMPLES = dict(_examples())


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_is_as_right_for_editors_as_for_the_parser(name: str) -> None:
    text = EXAMPLES[name]
    right = not problems_of(text, name, batch=True)
    assert (complaints(as_an_editor_reads(text)) == []) is right
    assert right is (name not in {"odd.yml", "anchors.yml"})


@pytest.mark.parametrize(
    "lines",
    [
        ("env: {variables: {FLAG: NO, V: 1.10, D: 2020-01-01, N: 010, E: , T: ~}}",),
        ("env:", "artifacts:", "cache:", "reports:", "batch:", "proxy:", "run-as:"),
        ("artifacts: {files: ['**/*'], exclude-paths: '**/.git'}",),
        ("reports: {a: {files: [x], file-format: JunitXml}}",),
        ("cache: {paths: [a], action: Restore}",),
        ("env: {git-credential-helper: TRUE}",),
        ("env: {git-credential-helper: 'on'}",),
    ],
)
def test_what_editors_read_in_another_way_is_right_all_the_same(lines: tuple[str, ...]) -> None:
    assert complaints(as_an_editor_reads(with_build(*lines))) == []


@pytest.mark.parametrize(
    "text",
    [
        "phases: {build: {commands: [a]}}",
        "version: 0.3\nphases: {}",
        "version: 0.2\nenv: {}",
        "version: 0.2\nphases: {pre-build: {commands: [a]}}",
        "version: 0.2\nphases: {build: {commands: [echo a: b]}}",
        "version: 0.2\nphases: {build: {commands: make all}}",
        "version: 0.2\nphases: {build: {runtime-versions: {python: 3}}}",
        "version: 0.2\nphases: {install: {runtime-versions: {python: [3]}}}",
        "version: 0.2\nphases: {build: {on-failure: STOP}}",
        "version: 0.2\nphases: {build: {on-failure: RETRY-101}}",
        "version: 0.2\nphases: {build: {on-failure: RETRY-2-}}",
        "version: 0.2\nenvironment_variables: {plaintext: {A: b}}\nphases: {}",
        "version: 0.2\nartifacts: {type: zip, files: [a]}\nphases: {}",
        "version: 0.2\nartifacts: {files: [a], secondary-artifacts: {a: {type: zip, files: [a]}}}\nphases: {}",
        "version: 0.2\nartifacts: {files: [a], secondary-artifacts: {a-b: {files: [a]}}}\nphases: {}",
        "version: 0.2\nartifacts: {name: a}\nphases: {}",
        "version: 0.2\nreports: {a: {files: [a], file-format: HTML}}\nphases: {}",
        "version: 0.2\ncache: {paths: [a], fallback-keys: [a]}\nphases: {}",
        "version: 0.2\ncache: {key: k, paths: [a], fallback-keys: [a, b, c, d, e, f]}\nphases: {}",
        "version: 0.2\nenv: {git-credential-helper: perhaps}\nphases: {}",
        "version: 0.2\nbatch: {fast-fail: true}",
        "version: 0.2\nbatch: {build-list: []}",
        "version: 0.2\nbatch: {build-list: [{identifier: my-env}]}",
        "version: 0.2\nbatch: {build-list: [{buildspec: a.yml}]}",
        "version: 0.2\nbatch: {build-list: [{identifier: a, depend-on: [b]}]}",
        "version: 0.2\nbatch: {build-list: [{identifier: a, env: {compute-type: c, fleet: f}}]}",
        "version: 0.2\nbatch: {build-list: [{identifier: a}], build-fanout: {parallelism: 2}}",
        "version: 0.2\nbatch: {build-matrix: {static: {}}}",
        "version: 0.2\nbatch: {build-matrix: {dynamic: {env: {variables: {A: []}}}}}",
        "version: 0.2\nbatch: {build-fanout: {parallelism: 0}}",
        "version: 0.2\nbatch: {build-fanout: {parallelism: 2000}}",
        "version: 0.2\nbatch: {build-fanout: {parallelism: 1.5}}",
    ],
)
def test_what_the_parser_finds_wrong_is_wrong_in_an_editor(text: str) -> None:
    assert problems_of(text, "b.yml", batch=True) != []
    assert complaints(as_an_editor_reads(text)) != []
