"""Handover: the buckets of a pipeline, opened for one build with the credentials of its job."""

from __future__ import annotations

from dataclasses import dataclass

from agent.aws import Aws, AwsRefused, Keys, Proxies
from agent.errors import AwsUnavailable
from agent.kit.clock import Clock
from agent.kit.heed import heed
from agent.kit.service import StopToken
from agent.model.build import Build
from agent.model.pipelinejob import StoredJob
from agent.objects.book import Book
from agent.objects.s3 import S3Store
from agent.objects.store import ObjectStore
from agent.store.pipelinejobs import PipelineJobs
from agent.triggers.codepipeline.service import JobGone, JobService

_LOOK_SECONDS = 0.5
_PATIENCE_SECONDS = 600.0
"""How long a job that was handed back is waited for, until it is handed out again."""


@dataclass(frozen=True)
class PipelineHandover:
    """Asks CodePipeline for credentials each time: they last an hour or so, and are kept nowhere but in clients."""

    service: JobService
    jobs: PipelineJobs
    aws: Aws
    book: Book
    clock: Clock

    def __call__(self, build: Build, bucket: str, proxies: Proxies | None = None) -> ObjectStore:
        """See `pipeline.toolbox.Handover`."""
        aws = self.aws.with_keys(self._keys(build))
        return S3Store(aws.through(proxies) if proxies else aws, bucket, "", self.book)

    def _keys(self, build: Build) -> Keys:
        job = self._job(build)
        try:
            return self.service.keys(job.job.id)
        except JobGone as error:
            raise AwsRefused(
                f"the pipeline gave up job {job.job.id} of this build: {error.text or error.reason}",
                reason=error.reason,
                text=error.text,
                hint="was the execution stopped, or did the action time out? release the change again",
            ) from None

    def _job(self, build: Build) -> StoredJob:
        """Return the job that the build is now; one that was handed back is waited for."""
        until = self.clock.monotonic() + _PATIENCE_SECONDS
        while True:
            job = self.jobs.of_build(build.id)
            if job is not None and job.state == "building":
                return job
            if job is None:
                raise AwsRefused(
                    f"no job of a pipeline belongs to build {build.id} any more",
                    reason="JobNotFoundException",
                    text="it is over",
                    hint="release the change again",
                )
            if self.clock.monotonic() >= until:
                raise AwsUnavailable(f"job {job.job.id} was handed back, and did not come again")
            heed()
            self.clock.wait(_LOOK_SECONDS, StopToken())
