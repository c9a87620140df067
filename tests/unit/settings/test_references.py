"""A secret in a file is a reference; those to this host are followed, and none is ever shown."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.errors import VariableUnresolved
from agent.settings.references import local_secret, reference


@pytest.mark.parametrize(
    ("text", "kind", "target"),
    [
        ("env:HOOK_SECRET", "env", "HOOK_SECRET"),
        ("file:/run/secret", "file", "/run/secret"),
        ("ssm:/web/hook", "ssm", "/web/hook"),
        ("secretsmanager:web:hook", "secretsmanager", "web:hook"),
        ("hunter2", "literal", "hunter2"),
        ("https://x", "literal", "https://x"),
    ],
)
def test_a_reference_is_told_from_a_literal(text: str, kind: str, target: str) -> None:
    found = reference(text)
    assert (found.kind, found.target) == (kind, target)
    assert target not in repr(found)


@pytest.mark.parametrize("text", ["env:", "env:1A", "file:relative", "ssm:", "secretsmanager:a b"])
def test_a_reference_that_cannot_be_right_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="expected"):
        reference(text)


def test_secrets_of_this_host_are_read(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text("from a file\n")
    assert local_secret(reference(f"file:{file}")).reveal() == "from a file"
    assert local_secret(reference("env:HOOK"), {"HOOK": "from outside"}).reveal() == "from outside"
    assert local_secret(reference("hunter2")).reveal() == "hunter2"


def test_a_secret_that_is_not_there_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "empty").write_text("\n")
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    (tmp_path / "large").write_bytes(b"x" * 70_000)
    for text in ("env:NONE", f"file:{tmp_path}/none", *(f"file:{tmp_path}/{n}" for n in ("empty", "binary", "large"))):
        with pytest.raises(VariableUnresolved) as caught:
            local_secret(reference(text), {})
        assert caught.value.hint
    with pytest.raises(ValueError, match="AWS side"):
        local_secret(reference("ssm:/x"))
