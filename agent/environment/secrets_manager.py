"""Secrets Manager: the reference syntax of CodeBuild, and the values behind it (buildspec.md 6.4)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from agent.aws import Aws, AwsRefused, translated
from agent.errors import VariableUnresolved
from agent.kit.heed import patiently
from agent.model.cause import Cause

CODE = "Secrets Manager Error"
_ARN_FIELDS = 7
_OPTIONAL_PARTS = 3
_SYNTAX = "write SECRET-ID[:JSON-KEY[:VERSION-STAGE[:VERSION-ID]]]"


@dataclass(frozen=True)
class SecretReference:
    """`<secret-id>[:<json-key>[:<version-stage>[:<version-id>]]]`, taken apart; an empty part is None."""

    secret_id: str
    json_key: str | None = None
    stage: str | None = None
    version_id: str | None = None


def parse_reference(text: str) -> SecretReference:
    """Return the parts of a reference; of an ARN the first seven fields are the id. Raises `VariableUnresolved`."""
    fields = text.split(":")
    length = _ARN_FIELDS if fields[0] == "arn" else 1
    if len(fields) < length or not all(fields[:length]):
        raise _wrong(f"secret reference {text!r} is incomplete", _SYNTAX)
    rest = fields[length:]
    if len(rest) > _OPTIONAL_PARTS:
        raise _wrong(f"secret reference {text!r} has too many parts", _SYNTAX)
    key, stage, version = (*(part or None for part in rest), None, None, None)[:_OPTIONAL_PARTS]
    if stage and version:
        raise _wrong(f"secret reference {text!r} names both a version stage and a version id", "give one of the two")
    return SecretReference(":".join(fields[:length]), key, stage, version)


class SecretsManager:
    """A `SecretSource` on Secrets Manager. A secret that several references share is read once a call."""

    def __init__(self, aws: Aws) -> None:
        self._aws = aws

    def __call__(self, references: Sequence[str]) -> dict[str, str]:
        """Return the value of each reference; raises `VariableUnresolved`, `AwsUnavailable`."""
        parsed = {text: parse_reference(text) for text in references}
        read: dict[tuple[str, str | None, str | None], str] = {}
        values: dict[str, str] = {}
        for text, reference in parsed.items():
            place = (reference.secret_id, reference.stage, reference.version_id)
            if place not in read:
                read[place] = self._read(reference)
            values[text] = _pick(read[place], reference)
        return values

    def _read(self, reference: SecretReference) -> str:
        wanted = {"SecretId": reference.secret_id}
        if reference.version_id:
            wanted["VersionId"] = reference.version_id
        elif reference.stage:
            wanted["VersionStage"] = reference.stage
        try:
            with translated("secretsmanager:GetSecretValue"):
                answer = patiently(lambda: self._aws.client("secretsmanager").get_secret_value(**wanted))
        except AwsRefused as error:
            hint = error.hint or "check the secret's name and region, and allow secretsmanager:GetSecretValue"
            raise _wrong(f"{error.reason}: {error.text}\n{error.trace}".rstrip(), hint, error.finer) from error
        if "SecretString" not in answer:
            raise _wrong(f"secret {reference.secret_id} is binary", "store it as text; a variable cannot hold bytes")
        return str(answer["SecretString"])


def _pick(secret: str, reference: SecretReference) -> str:
    """Return the whole secret, or the value of one of its keys; one that is not a text is given as JSON."""
    if reference.json_key is None:
        return secret
    try:
        content = json.loads(secret)
    except ValueError:
        content = None
    if not isinstance(content, dict):
        raise _wrong(
            f"secret {reference.secret_id} is not a JSON object, so it has no key {reference.json_key!r}",
            "drop the key from the reference, or store the secret as JSON",
        )
    if reference.json_key not in content:
        raise _wrong(f"secret {reference.secret_id} has no key {reference.json_key!r}", "check the JSON key")
    value = content[reference.json_key]
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _wrong(message: str, hint: str, cause: Cause | None = None) -> VariableUnresolved:
    return VariableUnresolved(message, code=CODE, hint=hint, cause=cause)
