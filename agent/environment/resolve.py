"""Layers of variables in CodeBuild's order; of each name the winner alone is resolved (buildspec.md 6)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from agent.buildspec.plan import VariablesPlan
from agent.model.project import EnvironmentVariable

Layer = Literal["override", "project", "buildspec"]

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_RESERVED = "CODEBUILD_"
_USER_SETTABLE = frozenset({"CODEBUILD_CONFIG_AUTO_DISCOVER", "CODEBUILD_CONFIG_AUTO_DISCOVER_DIR"})


class SecretSource(Protocol):
    """Reads parameters or secrets, all in one call.

    Returns reference -> value for every reference given. Raises `VariableUnresolved` (the user's mistake, with
    CodeBuild's status code) or `AwsUnavailable`. Any thread may call it.
    """

    def __call__(self, references: Sequence[str]) -> dict[str, str]: ...


@dataclass(frozen=True)
class Choice:
    """The variable that won its name, and the layer that it came from."""

    layer: Layer
    variable: EnvironmentVariable


@dataclass(frozen=True)
class Choices:
    """All winners, in the order of their first mention, weakest layer first; and what the log should say."""

    by_name: dict[str, Choice]
    warnings: tuple[str, ...] = ()

    @property
    def has_parameters(self) -> bool:
        """Whether `Decrypting parameter store environment variables` belongs in the log (buildspec.md 6.3)."""
        return any(choice.variable.type == "PARAMETER_STORE" for choice in self.by_name.values())

    def references(self, kind: Literal["PARAMETER_STORE", "SECRETS_MANAGER"]) -> tuple[str, ...]:
        """Return the distinct references of one kind."""
        values = (choice.variable.value for choice in self.by_name.values() if choice.variable.type == kind)
        return tuple(dict.fromkeys(values))


@dataclass(frozen=True, repr=False)
class Environment:
    """The resolved variables. `secrets` are the values to mask; `repr` shows names only."""

    variables: dict[str, str]
    secrets: frozenset[str] = frozenset()
    warnings: tuple[str, ...] = ()
    references: dict[str, EnvironmentVariable] | None = None
    """Name -> parameter name or secret reference, of the variables that came from one."""

    def __repr__(self) -> str:
        return f"Environment({', '.join(self.variables)})"


def choose(
    overrides: Sequence[EnvironmentVariable], project: Sequence[EnvironmentVariable], plan: VariablesPlan
) -> Choices:
    """Return the winner of each name: start-build override, then project, then buildspec (buildspec.md 6.1).

    Within the buildspec `secrets-manager` beats `parameter-store` beats `variables`. Names that no shell knows and
    values with a NUL are left out, names of the agent's own (6.1) are kept, with a warning each; of the names in the
    buildspec its reader has warned already.
    """
    warnings: list[str] = []
    winners: dict[str, Choice] = {}
    for choice in _from_weak_to_strong(overrides, project, plan):
        if warning := _complaint(choice.variable):
            if choice.layer != "buildspec" or _NAME.fullmatch(choice.variable.name):
                warnings.append(warning)
            continue
        earlier = winners.get(choice.variable.name)
        if earlier and earlier.layer == choice.layer:
            warnings.append(
                f"{choice.variable.name} is set twice in the {_title(choice.layer)}; the last value is used"
            )
        winners[choice.variable.name] = choice
    warnings += [
        f"{name}: names that start with {_RESERVED} are reserved for the build agent"
        for name, winner in winners.items()
        if name.startswith(_RESERVED) and name not in _USER_SETTABLE and winner.layer != "buildspec"
    ]
    return Choices(winners, tuple(dict.fromkeys(warnings)))


def resolve(choices: Choices, parameters: SecretSource, secrets: SecretSource) -> Environment:
    """Return the values of *choices*; each source is asked at most once, and only if somebody refers to it.

    Raises `VariableUnresolved` or `AwsUnavailable`.
    """
    known: dict[str, Mapping[str, str]] = {}
    if names := choices.references("PARAMETER_STORE"):
        known["PARAMETER_STORE"] = parameters(names)
    if names := choices.references("SECRETS_MANAGER"):
        known["SECRETS_MANAGER"] = secrets(names)
    variables: dict[str, str] = {}
    references: dict[str, EnvironmentVariable] = {}
    for name, choice in choices.by_name.items():
        variable = choice.variable
        if variable.type == "PLAINTEXT":
            variables[name] = variable.value
        else:
            references[name] = variable
            variables[name] = known[variable.type][variable.value]
    hidden = frozenset(variables[name] for name in references if variables[name])
    return Environment(variables, hidden, choices.warnings, references)


def exportable(names: Sequence[str], choices: Choices) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return which of the buildspec's `exported-variables` may be published, and a warning for each that may not.

    Refused are variables from Parameter Store or Secrets Manager, at any layer, and names starting `AWS_`
    (buildspec.md 6.5). A name that the build has not set is left out later, by whoever captures the values.
    """
    allowed: list[str] = []
    warnings: list[str] = []
    for name in dict.fromkeys(names):
        choice = choices.by_name.get(name)
        if choice is not None and choice.variable.type != "PLAINTEXT":
            warnings.append(f"exported-variables: {name} comes from a secret store and is not exported")
        elif name.startswith("AWS_"):
            warnings.append(f"exported-variables: {name} is not exported, like every name that starts with AWS_")
        elif not _NAME.fullmatch(name):
            warnings.append(f"exported-variables: {name!r} is not the name of a variable")
        else:
            allowed.append(name)
    return tuple(allowed), tuple(warnings)


def _from_weak_to_strong(
    overrides: Sequence[EnvironmentVariable], project: Sequence[EnvironmentVariable], plan: VariablesPlan
) -> Iterator[Choice]:
    for name, value in plan.plain.items():
        yield Choice("buildspec", EnvironmentVariable.model_construct(name=name, value=value, type="PLAINTEXT"))
    for name, value in plan.parameter_store.items():
        yield Choice("buildspec", EnvironmentVariable.model_construct(name=name, value=value, type="PARAMETER_STORE"))
    for name, value in plan.secrets_manager.items():
        yield Choice("buildspec", EnvironmentVariable.model_construct(name=name, value=value, type="SECRETS_MANAGER"))
    yield from (Choice("project", variable) for variable in project)
    yield from (Choice("override", variable) for variable in overrides)


def _complaint(variable: EnvironmentVariable) -> str:
    if not _NAME.fullmatch(variable.name):
        return f"{variable.name!r} is not a name that a shell can hold; the variable is left out"
    if "\0" in variable.value:
        return f"{variable.name}: the value holds a NUL byte; the variable is left out"
    return ""


def _title(layer: Layer) -> str:
    return {"override": "start request", "project": "project", "buildspec": "buildspec"}[layer]
