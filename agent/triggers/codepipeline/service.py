"""JobService: what a job worker asks of CodePipeline, in our own words and errors (service.md 9.3)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from agent.aws import Aws, AwsRefused, Keys, translated
from agent.model.pipelinejob import Failure, HandedArtifact, PipelineJob

PATIENCE_SECONDS = 15.0
"""Below the time that a daemon has for its end."""
_GONE = frozenset({"JobNotFoundException", "InvalidJobStateException"})
_TAKEN = frozenset({"InvalidNonceException"})
_ACCESS = (
    "allow codepipeline:PollForJobs on the action type, and codepipeline:AcknowledgeJob, GetJobDetails, "
    "PutJobSuccessResult and PutJobFailureResult, for the role of this host (aws/agent-policy.yml)"
)
_HINTS = {
    "ActionTypeNotFoundException": "`buildspecd pipeline install` creates the action type; check pipeline.action and "
    "aws.region in agent.yml",
    "AccessDeniedException": _ACCESS,
    "AccessDenied": _ACCESS,
}


@dataclass(frozen=True)
class ActionType:
    """The custom action whose jobs are done. Its owner is always `Custom`."""

    category: str
    provider: str
    version: str

    def wire(self) -> dict[str, str]:
        """Return it as the API writes it."""
        return {"category": self.category, "owner": "Custom", "provider": self.provider, "version": self.version}

    def __str__(self) -> str:
        return f"Custom/{self.category}/{self.provider}/{self.version}"


@dataclass(frozen=True)
class Offer:
    """A job as it was handed out. `nonce` names this handing out; `token` is what we gave to go on in another job."""

    job: PipelineJob
    nonce: str
    configuration: Mapping[str, str] = field(default_factory=dict)
    token: str | None = None


@dataclass(frozen=True)
class Success:
    """What CodePipeline is told of a job that went well; with `token` it comes again, under another id."""

    summary: str
    execution: str
    percent: int = 100
    variables: Mapping[str, str] = field(default_factory=dict)
    token: str | None = None


class JobGone(AwsRefused):
    """CodePipeline does not want to hear of this job any more: it is over, or was given up."""


class JobTaken(AwsRefused):
    """The job has been handed out anew since: somebody else's, or to be asked for again."""


class JobService:
    """Any thread may call it. Raises `AwsRefused` and `AwsUnavailable`; of one job also `JobGone`.

    *patience* is for how many seconds a call waits to hear something.
    """

    def __init__(self, aws: Aws, patience: float = PATIENCE_SECONDS) -> None:
        self._aws, self._patience = aws, patience

    def poll(self, kind: ActionType, most: int, pool: str | None) -> list[Offer]:
        """Return up to *most* jobs that wait; they are ours once acknowledged, and are handed out again if not."""
        query = {"queryParam": {"Pool": pool}} if pool else {}
        with _explained(f"asking for jobs of {kind}"):
            answer = self._client(attempts=1).poll_for_jobs(actionTypeId=kind.wire(), maxBatchSize=most, **query)
        return [_offer(job) for job in answer.get("jobs", ())]

    def acknowledge(self, job: str, nonce: str) -> str:
        """Take the job; return its status, which is InProgress for whoever has it. Raises `JobTaken`."""
        with _explained(f"acknowledging job {job}"):
            return str(self._client().acknowledge_job(jobId=job, nonce=nonce).get("status", ""))

    def check(self, job: str) -> None:
        """Raise `JobGone` when CodePipeline has given the job up."""
        self._details(job)

    def keys(self, job: str) -> Keys:
        """Return credentials for the artifacts of the job, new ones each time."""
        given = self._details(job).get("data", {}).get("artifactCredentials", {})
        if not given.get("accessKeyId") or not given.get("secretAccessKey"):
            raise AwsRefused(
                f"job {job} has no credentials for its artifacts",
                reason="NoCredentials",
                text="CodePipeline gave none",
                hint="look at the role of the pipeline",
            )
        return Keys(given["accessKeyId"], given["secretAccessKey"], given.get("sessionToken"))

    def succeed(self, job: str, result: Success) -> None:
        """Tell that the job went well, or goes on in another one."""
        details = {"summary": result.summary, "externalExecutionId": result.execution}
        more: dict[str, Any] = {"continuationToken": result.token} if result.token else {}
        if result.variables and not result.token:
            more["outputVariables"] = dict(result.variables)
        with _explained(f"telling the success of job {job}"):
            self._client().put_job_success_result(
                jobId=job, executionDetails={**details, "percentComplete": result.percent}, **more
            )

    def fail(self, job: str, failure: Failure) -> None:
        """Tell that the job failed."""
        details = {"type": failure.type, "message": failure.message}
        if failure.execution:
            details["externalExecutionId"] = failure.execution
        with _explained(f"telling the failure of job {job}"):
            self._client().put_job_failure_result(jobId=job, failureDetails=details)

    def _details(self, job: str) -> dict[str, Any]:
        with _explained(f"looking at job {job}"):
            details: dict[str, Any] = self._client().get_job_details(jobId=job).get("jobDetails", {})
        return details

    def _client(self, attempts: int = 2) -> Any:
        return self._aws.client("codepipeline", attempts=attempts, patience=self._patience)


@contextmanager
def _explained(doing: str) -> Iterator[None]:
    try:
        with translated(doing):
            yield
    except AwsRefused as error:
        kind = JobGone if error.reason in _GONE else JobTaken if error.reason in _TAKEN else AwsRefused
        raise kind(
            error.message,
            reason=error.reason,
            text=error.text,
            hint=error.hint or _HINTS.get(error.reason, ""),
            trace=error.trace,
            cause=error.cause,
        ) from None  # what the call was about may hold credentials


def _offer(job: Any) -> Offer:
    """Return a job without its credentials, which are asked for when they are needed."""
    data = job.get("data", {})
    context = data.get("pipelineContext", {})
    return Offer(
        job=PipelineJob(
            id=job["id"],
            pipeline=context.get("pipelineName") or "unknown",
            pipeline_arn=context.get("pipelineArn"),
            execution=context.get("pipelineExecutionId"),
            stage=context.get("stage", {}).get("name", ""),
            action=context.get("action", {}).get("name", ""),
            inputs=_artifacts(data.get("inputArtifacts", ())),
            outputs=_artifacts(data.get("outputArtifacts", ())),
            encryption_key=(data.get("encryptionKey") or {}).get("id"),
        ),
        nonce=job.get("nonce", ""),
        configuration=data.get("actionConfiguration", {}).get("configuration", {}),
        token=data.get("continuationToken"),
    )


def _artifacts(given: Any) -> tuple[HandedArtifact, ...]:
    places = [(one, one.get("location", {}).get("s3Location", {})) for one in given]
    return tuple(
        HandedArtifact(
            name=one.get("name", ""),
            bucket=place.get("bucketName", ""),
            key=place.get("objectKey", ""),
            revision=one.get("revision"),
        )
        for one, place in places
    )
