"""Handed: input artifacts of a pipeline, ZIPs that open with the credentials of its job (service.md 9.3)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from agent.aws import AwsRefused
from agent.errors import SourceNotFound, SourceRefused, UserError
from agent.model.pipelinejob import HandedArtifact
from agent.model.project import Source
from agent.objects.store import ObjectStore
from agent.source.bucket import fetch_archive
from agent.source.errand import Errand
from agent.source.names import Limits
from agent.source.sources import Fetcher, Revision

_MISSING = "did an earlier action of the pipeline make it? release the change again"
_DENIED = (
    "the credentials of the job do not open it: look at the policies of the pipeline's bucket and KMS key, and at the "
    "role of the pipeline, which needs s3:GetObject and kms:Decrypt"
)


def handed(open_store: Callable[[], ObjectStore], artifact: HandedArtifact, limits: Limits = Limits()) -> Fetcher:
    """Return what fetches *artifact*. It raises `SourceNotFound`, `SourceRefused`, `AwsUnavailable`, `OSError`."""

    def fetch(_: Source, __: str | None, workspace: Path, errand: Errand) -> Revision:
        named = f"input artifact {artifact.name}"
        try:
            fetch_archive(open_store(), artifact.key, None, workspace, errand, limits)
        except SourceNotFound as error:
            raise SourceNotFound(f"{named}: {error.message}", hint=_MISSING, cause=error.cause) from error
        except AwsRefused as error:
            absent = error.reason == "NoSuchBucket"
            raise (SourceNotFound if absent else SourceRefused)(
                f"{named}: {error.reason}: {error.text or 'no reason was given'}: {artifact.location}",
                hint=_MISSING if absent else _DENIED,
                cause=error.finer,
            ) from error
        except UserError as error:
            raise SourceRefused(f"{named}: {error.message}", hint=error.hint, cause=error.cause) from error
        return Revision(artifact.revision)

    return fetch
