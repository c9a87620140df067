"""JSON Schemas of agent.yml, project files and buildspecs, for editors; running this module writes them."""

from __future__ import annotations

import ast
import inspect
import json
import sys
import textwrap
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from agent.buildspec.schema import buildspec_schema
from agent.model import amount, duration, project
from agent.model.project import Project
from agent.settings.projects import READ_ONLY, WEBHOOK_READ_ONLY
from agent.settings.schema import Settings

DIALECT = "https://json-schema.org/draft/2020-12/schema"


class _Generator(GenerateJsonSchema):
    """Knows that a duration may be a text, and that members are described by the docstring below them."""

    def function_before_schema(self, schema: core_schema.BeforeValidatorFunctionSchema) -> JsonSchemaValue:
        inner = super().function_before_schema(schema)
        if schema["function"].get("function") is project.schedules:
            one = {"anyOf": [inner["items"], {"type": "string", "examples": ["0 3 * * *", "rate(5 minutes)"]}]}
            return {"anyOf": [{**inner, "items": one}, *one["anyOf"]]}
        if schema["function"].get("function") is amount.size:
            return {"anyOf": [inner, {"type": "string", "examples": ["500MB", "20GiB"]}]}
        if schema["function"].get("function") is amount.as_text:
            return {"anyOf": [inner, {"type": "integer", "minimum": 0}], "examples": ["10%", "5GiB"]}
        if schema["function"].get("function") is not duration.seconds:
            return inner
        return {"anyOf": [inner, {"type": "string", "examples": ["30s", "5m", "1h30m"]}]}

    def model_schema(self, schema: core_schema.ModelSchema) -> JsonSchemaValue:
        described = super().model_schema(schema)
        texts = _member_docstrings(schema["cls"])
        for name, field in schema["cls"].model_fields.items():
            member = described.get("properties", {}).get(field.alias or name)
            if member is not None and name in texts:
                member["description"] = texts[name]
        return described


def agent_schema() -> dict[str, Any]:
    """Return the JSON Schema of agent.yml."""
    schema = Settings.model_json_schema(schema_generator=_Generator)
    for section in ("metrics", "events", "queue"):  # null turns these off as a whole
        member = schema["properties"][section]
        member["anyOf"] = [{"$ref": member.pop("$ref")}, {"type": "null"}]
    return {"$schema": DIALECT, **schema, "title": "buildspecd: agent.yml"}


def project_schema() -> dict[str, Any]:
    """Return the JSON Schema of a project file: one project, a list of them, or the answer of batch-get-projects."""
    document = Project.model_json_schema(by_alias=True, schema_generator=_Generator)
    definitions = document.pop("$defs")
    ignored = {"description": "Part of CodeBuild's answers; accepted and ignored."}
    document["properties"] |= dict.fromkeys(sorted(READ_ONLY), ignored)
    definitions["Webhook"]["properties"] |= dict.fromkeys(sorted(WEBHOOK_READ_ONLY), ignored)
    one = {"$ref": "#/$defs/Project"}
    answer = {
        "type": "object",
        "properties": {"projects": {"type": "array", "items": one}, "projectsNotFound": {"type": "array"}},
        "required": ["projects"],
        "additionalProperties": False,
    }
    return {
        "$schema": DIALECT,
        "title": "buildspecd: a project file",
        "if": {"type": "array"},
        "then": {"items": one},
        "else": {"if": {"type": "object", "required": ["projects"]}, "then": answer, "else": one},
        "$defs": dict(sorted({**definitions, "Project": document}.items())),
    }


def write(directory: Path) -> list[Path]:
    """Write all schemas into *directory*; return the files."""
    written = []
    for name, schema in (
        ("agent.schema.json", agent_schema()),
        ("project.schema.json", project_schema()),
        ("buildspec.schema.json", buildspec_schema()),
    ):
        file = directory / name
        file.write_text(as_text(schema), encoding="utf-8")
        written.append(file)
    return written


def as_text(schema: dict[str, Any]) -> str:
    """Return *schema* as it stands in its file."""
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def _member_docstrings(model: type[BaseModel]) -> dict[str, str]:
    """Return member -> the docstring that follows it in the class body."""
    body = ast.parse(textwrap.dedent(inspect.getsource(model))).body[0]
    texts: dict[str, str] = {}
    if not isinstance(body, ast.ClassDef):
        return texts
    for member, below in zip(body.body, body.body[1:], strict=False):
        if (
            isinstance(member, ast.AnnAssign)
            and isinstance(member.target, ast.Name)
            and isinstance(below, ast.Expr)
            and isinstance(below.value, ast.Constant)
            and isinstance(below.value.value, str)
        ):
            texts[member.target.id] = " ".join(below.value.value.split())
    return texts


if __name__ == "__main__":
    for path in write(Path(sys.argv[1] if len(sys.argv) > 1 else "config")):
        sys.stdout.write(f"{path}\n")
