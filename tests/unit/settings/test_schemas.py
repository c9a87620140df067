"""The schemas and examples in config/ say what the code does."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest
import yaml

from agent.settings.load import load_settings
from agent.settings.projects import read_project_file
from agent.settings.schema import Settings, default_runtime_dir, setting_names
from agent.settings.schemas import agent_schema, as_text, project_schema

CONFIG = Path(__file__).parents[3] / "config"
EXAMPLES = sorted((CONFIG / "projects.d").glob("*.example"))


@pytest.mark.parametrize(
    ("name", "schema"), [("agent.schema.json", agent_schema()), ("project.schema.json", project_schema())]
)
def test_the_schemas_in_config_are_up_to_date(name: str, schema: dict[str, object]) -> None:
    assert (CONFIG / name).read_text() == as_text(schema), "run `make schemas`"
    jsonschema.Draft202012Validator.check_schema(schema)


def test_agent_yml_shows_every_setting_at_its_default() -> None:
    file = CONFIG / "agent.yml"
    assert file.read_text().startswith("# yaml-language-server: $schema=agent.schema.json\n")
    shown = yaml.safe_load(file.read_text())
    for path in setting_names():
        here = shown
        for step in path:
            assert step in here, f"{'.'.join(path)} is not in config/agent.yml"
            here = here[step]
    loaded = load_settings(file, {})
    assert loaded.settings == Settings(runtime_dir=default_runtime_dir()).anchored(CONFIG)
    jsonschema.validate(shown, agent_schema())


def test_every_setting_has_a_description_for_editors() -> None:
    schema = agent_schema()
    for path in setting_names():
        owner = schema
        for step in path[:-1]:
            kind = owner["properties"][step]["title" if "title" in owner["properties"][step] else "description"]
            assert kind
            reference = json.dumps(owner["properties"][step]).split("#/$defs/")[1].partition('"')[0]
            owner = schema["$defs"][reference]
        assert owner["properties"][path[-1]].get("description"), path


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: file.name)
def test_every_example_is_right_for_the_loader_and_for_editors(file: Path, tmp_path: Path) -> None:
    copy = tmp_path / file.name.removesuffix(".example")
    copy.write_text(file.read_text())
    found = read_project_file(copy)
    assert found.problems == ()
    assert [entry.problems for entry in found.entries] == [()] * len(found.entries)
    jsonschema.validate(yaml.safe_load(file.read_text()), project_schema())


def test_there_are_examples() -> None:
    assert len(EXAMPLES) >= 3


@pytest.mark.parametrize(
    "wrong", [{"name": "web"}, {"projects": [{"name": "web"}]}, [{"nam": "web"}], {"projects": [], "x": 1}]
)
def test_an_editor_sees_what_is_wrong(wrong: object) -> None:
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(wrong, project_schema())
