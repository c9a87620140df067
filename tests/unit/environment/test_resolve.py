"""Layers of variables (buildspec.md 6; cases 51 to 54)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import pytest

from agent.buildspec.plan import VariablesPlan
from agent.environment.resolve import choose, exportable, resolve
from agent.errors import VariableUnresolved
from agent.model.project import EnvironmentVariable

Kind = Literal["PLAINTEXT", "PARAMETER_STORE", "SECRETS_MANAGER"]


def variable(name: str, value: str, kind: Kind = "PLAINTEXT") -> EnvironmentVariable:
    return EnvironmentVariable(name=name, value=value, type=kind)


class Store:
    """A `SecretSource` that remembers what it was asked."""

    def __init__(self, **values: str) -> None:
        self.values = values
        self.asked: list[tuple[str, ...]] = []

    def __call__(self, references: Sequence[str]) -> dict[str, str]:
        self.asked.append(tuple(references))
        for name in references:
            if name not in self.values:
                raise VariableUnresolved(f"parameter does not exist: {name}")
        return {name: self.values[name] for name in references}


def test_the_start_override_beats_the_project_and_the_project_the_buildspec() -> None:
    plan = VariablesPlan(plain={"V": "a"})
    project, override = [variable("V", "b")], [variable("V", "c")]
    for layers, value in ((([], []), "a"), (([], project), "b"), ((override, project), "c")):
        assert resolve(choose(layers[0], layers[1], plan), Store(), Store()).variables == {"V": value}


def test_only_the_winner_of_a_name_is_resolved() -> None:
    parameters, secrets = Store(), Store()
    plan = VariablesPlan(parameter_store={"A": "/none"}, secrets_manager={"B": "none"})
    project = [variable("A", "plain"), variable("B", "/none", "PARAMETER_STORE")]
    override = [variable("B", "over")]
    found = resolve(choose(override, project, plan), parameters, secrets)
    assert found.variables == {"A": "plain", "B": "over"}
    assert (parameters.asked, secrets.asked, found.secrets) == ([], [], frozenset())


def test_each_store_is_asked_once_for_all_and_its_values_are_to_be_masked() -> None:
    parameters, secrets = Store(**{"/p": "hato", "/e": ""}), Store(**{"db:pw": "s3cret"})
    plan = VariablesPlan(parameter_store={"P": "/p", "Q": "/p", "E": "/e"}, plain={"X": "open"})
    choices = choose([], [variable("S", "db:pw", "SECRETS_MANAGER")], plan)
    found = resolve(choices, parameters, secrets)
    assert choices.has_parameters
    assert found.variables == {"X": "open", "P": "hato", "Q": "hato", "E": "", "S": "s3cret"}
    assert found.secrets == {"hato", "s3cret"}
    assert (parameters.asked, secrets.asked) == ([("/p", "/e")], [("db:pw",)])
    assert found.references is not None
    assert found.references["P"].value == "/p"
    assert "hato" not in repr(found)


def test_a_value_is_taken_literally() -> None:
    """Case 52."""
    plan = VariablesPlan(plain={"PATH": "$PATH:/x"})
    assert resolve(choose([], [], plan), Store(), Store()).variables["PATH"] == "$PATH:/x"


def test_within_the_buildspec_secrets_beat_parameters_beat_values_with_a_warning() -> None:
    plan = VariablesPlan(plain={"V": "1"}, parameter_store={"V": "/p"}, secrets_manager={"V": "s"})
    choices = choose([], [], plan)
    assert choices.by_name["V"].variable.type == "SECRETS_MANAGER"
    assert choices.warnings == ("V is set twice in the buildspec; the last value is used",)


def test_names_of_the_agent_and_names_that_no_shell_knows_are_warned_of() -> None:
    plan = VariablesPlan(plain={"CODEBUILD_X": "1", "bad-name": "2", "1X": "3", "CODEBUILD_CONFIG_AUTO_DISCOVER": "t"})
    project = [variable("NUL", "a\0b"), variable("2X", "x"), variable("CODEBUILD_Y", "y")]
    choices = choose([], project, plan)
    assert list(choices.by_name) == ["CODEBUILD_X", "CODEBUILD_CONFIG_AUTO_DISCOVER", "CODEBUILD_Y"]
    told = [warning.split(" ")[0] for warning in choices.warnings]
    assert told == ["NUL:", "'2X'", "CODEBUILD_Y:"], "of names in the buildspec its reader has warned already"


def test_a_missing_parameter_is_the_users_mistake() -> None:
    with pytest.raises(VariableUnresolved, match="parameter does not exist: /none"):
        resolve(choose([], [], VariablesPlan(parameter_store={"P": "/none"})), Store(), Store())


def test_secrets_and_names_of_aws_are_not_exported() -> None:
    plan = VariablesPlan(parameter_store={"P": "/p"}, plain={"V": "1"})
    project = [variable("S", "x", "SECRETS_MANAGER")]
    allowed, warnings = exportable(["V", "LATER", "P", "S", "AWS_KEY", "V", "a b"], choose([], project, plan))
    assert allowed == ("V", "LATER")
    assert len(warnings) == 4
