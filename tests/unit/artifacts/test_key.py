"""Keys of artifacts: the table of buildspec.md 10.4, cases 69 to 71."""

from __future__ import annotations

import pytest

from agent.artifacts.key import artifact_key
from agent.errors import UserError
from agent.model.project import Artifacts


def _key(override: str | None = None, s3_prefix: str | None = None, **members: object) -> str:
    settings = Artifacts.model_validate({"type": "S3", "location": "bucket", **members})
    return artifact_key(settings, project="web", build_uuid="uuid", override=override, s3_prefix=s3_prefix)


@pytest.mark.parametrize(
    ("members", "key"),
    [
        ({"packaging": "ZIP", "name": "x.zip", "path": "MyArtifacts"}, "MyArtifacts/x.zip"),
        ({"packaging": "ZIP", "name": "x.zip"}, "x.zip"),
        ({"packaging": "ZIP", "name": "x.zip", "path": "p", "namespaceType": "BUILD_ID"}, "p/uuid/x.zip"),
        ({"packaging": "ZIP", "name": "x.zip", "namespaceType": "BUILD_ID"}, "uuid/x.zip"),
        ({"packaging": "ZIP"}, "web"),
        ({"name": "out", "path": "P"}, "P/out"),
        ({"name": "out", "path": "P", "namespaceType": "BUILD_ID"}, "P/uuid/out"),
        ({"name": "/"}, ""),
        ({"name": "/", "path": "P", "namespaceType": "BUILD_ID"}, "P/uuid"),
        ({"name": "/a//b/", "path": "/P/"}, "P/a/b"),
        ({"artifactIdentifier": "docs"}, "docs"),
    ],
)
def test_the_key_follows_path_build_and_name(members: dict[str, object], key: str) -> None:
    assert _key(**members) == key


def test_the_name_of_the_buildspec_counts_only_with_the_override_switched_on() -> None:
    assert _key("v-2026", packaging="ZIP", name="x", overrideArtifactName=True) == "v-2026"
    assert _key("v-2026", packaging="ZIP", name="x") == "x"
    assert _key(None, name="x", overrideArtifactName=True) == "x"
    assert _key("builds/7/my", overrideArtifactName=True) == "builds/7/my"


def test_an_override_that_is_empty_is_an_error() -> None:
    with pytest.raises(UserError, match="empty"):
        _key(" \n", overrideArtifactName=True)


def test_the_prefix_of_the_buildspec_replaces_the_path_only_with_the_build_id() -> None:
    assert _key(None, "pre", path="P", namespaceType="BUILD_ID", name="n") == "pre/uuid/n"
    assert _key(None, "pre", path="P", name="n") == "P/n"


def test_a_key_that_leads_elsewhere_is_refused() -> None:
    with pytest.raises(UserError):
        _key("../../other", overrideArtifactName=True)
    with pytest.raises(UserError, match="ZIP needs a name"):
        _key(packaging="ZIP", name="/", path="P")
