"""Parameter Store: the values of parameters, ten to a call, decrypted (buildspec.md 6.3)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from agent.aws import Aws, AwsRefused, translated
from agent.errors import VariableUnresolved
from agent.kit.heed import patiently

CODE = "Decrypted Variables Error"
_BATCH = 10


class ParameterStore:
    """A `SecretSource` on SSM. A reference is a parameter's name, path or ARN; `:version` or `:label` may follow."""

    def __init__(self, aws: Aws) -> None:
        self._aws = aws

    def __call__(self, references: Sequence[str]) -> dict[str, str]:
        """Return the decrypted value of each parameter; raises `VariableUnresolved`, `AwsUnavailable`."""
        names = list(dict.fromkeys(references))
        values: dict[str, str] = {}
        for start in range(0, len(names), _BATCH):
            values |= self._read(names[start : start + _BATCH])
        for name in names:
            if name not in values:
                raise VariableUnresolved(
                    f"parameter does not exist: {name}",
                    code=CODE,
                    hint="create the parameter in this account and region, or correct its name",
                )
        return {name: values[name] for name in names}

    def _read(self, names: Sequence[str]) -> dict[str, str]:
        try:
            with translated("ssm:GetParameters"):
                answer = patiently(lambda: self._ask(names))
        except AwsRefused as error:
            raise VariableUnresolved(
                f"{error.reason}: {error.text}",
                code=CODE,
                hint=error.hint or "allow ssm:GetParameters, and kms:Decrypt for the key of a SecureString",
                cause=error.finer,
            ) from error
        wanted = set(names)
        return {key: value for key, value in _by_every_name(answer["Parameters"]) if key in wanted}

    def _ask(self, names: Sequence[str]) -> Any:
        return self._aws.client("ssm").get_parameters(Names=list(names), WithDecryption=True)


def _by_every_name(parameters: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, str]]:
    """AWS answers in an order of its own; find each parameter under whatever name it may have been asked for.

    Versions ascend, so that of several the newest is the one without a selector.
    """
    for parameter in sorted(parameters, key=lambda one: int(one.get("Version", 0))):
        selector = parameter.get("Selector") or ""
        for name in (parameter.get("Name"), parameter.get("ARN")):
            if name:
                plain = name.removesuffix(selector)
                yield f"{plain}:{parameter.get('Version')}", parameter["Value"]
                yield f"{plain}{selector}", parameter["Value"]
