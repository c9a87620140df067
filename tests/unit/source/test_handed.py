"""Input artifacts of a pipeline: what opens them, and what is said of those that do not open."""

from __future__ import annotations

from pathlib import Path
from typing import NoReturn

import pytest

from agent.aws import AwsRefused
from agent.errors import AwsUnavailable, BuildspecdError, SourceNotFound, SourceRefused
from agent.model.cause import Cause
from agent.model.pipelinejob import HandedArtifact
from agent.model.project import Source
from agent.objects.directory import DirectoryStore
from agent.objects.store import ObjectStore
from agent.source.errand import Errand, go_on
from agent.source.handed import handed
from agent.source.names import Limits
from agent.source.sources import Revision
from tests.unit.source.zips import Item, Zip

ARTIFACT = HandedArtifact(name="Source", bucket="b", key="shop/Source/abc", revision="v7")


class Place:
    def __init__(self, top: Path) -> None:
        self.workspace, self.scratch, self.bucket = top / "workspace", top / "scratch", top / "bucket"
        (self.bucket / "shop" / "Source").mkdir(parents=True)

    def put(self, data: bytes) -> None:
        (self.bucket / ARTIFACT.key).write_bytes(data)

    def fetch(self, store: ObjectStore | None = None, limits: Limits = Limits()) -> Revision:
        errand = Errand(lambda _: None, go_on, self.scratch)
        fetcher = handed(lambda: store or DirectoryStore(self.bucket), ARTIFACT, limits)
        return fetcher(Source(type="CODEPIPELINE"), None, self.workspace, errand)

    def refused(self, kind: type[BuildspecdError], **given: Limits) -> BuildspecdError:
        with pytest.raises(kind) as caught:
            self.fetch(**given)  # type: ignore[arg-type]
        assert caught.value.message.startswith("input artifact Source: ")
        assert caught.value.hint
        return caught.value


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_an_artifact_is_unpacked_and_its_revision_is_the_sources(place: Place) -> None:
    place.put(Zip([Item("a/b", b"text")]).bytes())
    assert place.fetch() == Revision("v7")
    assert (place.workspace / "a" / "b").read_bytes() == b"text"


def test_one_that_is_missing_is_no_zip_or_is_too_big_is_named(place: Place) -> None:
    assert "NoSuchKey" in place.refused(SourceNotFound).message
    place.put(b"\x1f\x8b" + b"x" * 600)
    assert "not a valid zip file" in place.refused(SourceRefused).message
    place.put(Zip([Item("a", b"x" * 2000)]).bytes())
    assert "bytes" in place.refused(SourceRefused, limits=Limits(size=1000)).message


@pytest.mark.parametrize(
    ("reason", "kind", "hint"),
    [
        ("AccessDenied", SourceRefused, "role of the pipeline"),
        ("InvalidToken", SourceRefused, "role of the pipeline"),
        ("NoSuchBucket", SourceNotFound, "release the change again"),
    ],
)
def test_a_refusal_of_the_jobs_credentials_speaks_of_the_pipeline_and_not_of_this_host(
    place: Place, reason: str, kind: type[BuildspecdError], hint: str
) -> None:
    class Refusing(DirectoryStore):
        def get(self, *_: object, **__: object) -> NoReturn:
            raise AwsRefused("no", reason=reason, text="no", cause=Cause.CREDENTIALS_MISSING)

    with pytest.raises(kind) as caught:
        place.fetch(Refusing(place.bucket))
    assert "arn:aws:s3:::b/shop/Source/abc" in caught.value.message
    assert hint in caught.value.hint


def test_credentials_that_expired_are_asked_for_again_by_another_try(place: Place) -> None:
    class Late(DirectoryStore):
        def get(self, *_: object, **__: object) -> NoReturn:
            raise AwsUnavailable("reading: ExpiredToken", cause=Cause.CREDENTIALS_EXPIRED)

    with pytest.raises(AwsUnavailable) as caught:
        place.fetch(Late(place.bucket))
    assert caught.value.retry
