"""CodePipeline, played from botocore's service model: strict about every shape, and with the states of a job.

A job is Queued, then Dispatched under a nonce to whoever polls, then InProgress for whoever acknowledges it, then
Succeeded, Failed or TimedOut. One that nobody acknowledges is Queued again after a while, and its nonce is old.
"""

from __future__ import annotations

import json
import re
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any

import botocore.session

from tests.fakes.loopback import listening

MODEL = botocore.session.get_session().get_service_model("codepipeline")
ACCOUNT = "123456789012"
BUILD = {"category": "Build", "owner": "Custom", "provider": "Own", "version": "1"}
Json = dict[str, Any]


class Refused(Exception):
    """An answer with an error code."""

    def __init__(self, code: str, message: str = "") -> None:
        super().__init__(message or code)
        self.code = code


@dataclass
class Job:
    """A job, and what was told of it. `told` is the input of the last PutJob...Result that was taken."""

    id: str
    data: Json
    state: str = "Queued"
    nonce: str = ""
    since: float = 0.0
    told: Json = field(default_factory=dict)
    successor: str | None = None


def check(shape: Any, value: Any, place: str = "") -> None:
    """Raise ValidationException unless *value* is what *shape* says, with no member more."""
    kinds = {"structure": dict, "map": dict, "list": list, "string": str, "integer": int, "boolean": bool}
    kind = shape.type_name
    if not isinstance(value, kinds[kind]) or (kind == "integer" and isinstance(value, bool)):
        raise Refused("ValidationException", f"{place}: expected {kind}, not {value!r}")
    if kind == "structure":
        unknown, lacking = set(value) - set(shape.members), set(shape.required_members) - set(value)
        if unknown or lacking:
            raise Refused("ValidationException", f"{place}: unknown {sorted(unknown)}, missing {sorted(lacking)}")
        for name, member in value.items():
            check(shape.members[name], member, f"{place}.{name}")
        return
    check_size(shape, value, place)
    for index, one in enumerate(value if kind == "list" else ()):
        check(shape.member, one, f"{place}[{index}]")
    for key, one in value.items() if kind == "map" else ():
        check(shape.key, key, f"{place} key")
        check(shape.value, one, f"{place}.{key}")


def check_size(shape: Any, value: Any, place: str) -> None:
    """Raise ValidationException unless *value* is within the limits of its shape, of its words and of its pattern."""
    rules = shape.metadata
    size = value if shape.type_name == "integer" else 0 if shape.type_name == "boolean" else len(value)
    if size < rules.get("min", size) or size > rules.get("max", size):
        raise Refused("ValidationException", f"{place}: {size} is not within {rules}")
    if shape.type_name == "string":
        if shape.enum and value not in shape.enum:
            raise Refused("ValidationException", f"{place}: {value!r} is none of {shape.enum}")
        if "pattern" in rules and not re.fullmatch(rules["pattern"], value):
            raise Refused("ValidationException", f"{place}: {value!r} is not {rules['pattern']}")


def artifact(name: str, bucket: str, key: str, revision: str | None = None) -> Json:
    """Return an artifact as a job has it."""
    place = {"type": "S3", "s3Location": {"bucketName": bucket, "objectKey": key}}
    return {"name": name, "location": place, **({"revision": revision} if revision else {})}


class CodePipeline:
    """The service. `calls` are the names of the operations that were asked for, in their order."""

    def __init__(self, *, redeliver_after: float = 60.0) -> None:
        self.jobs: dict[str, Job] = {}
        self.action_types: list[Json] = []
        self.calls: list[str] = []
        self.handed_out: list[str] = []
        self.refuse: dict[str, str] = {}
        """Operation -> the error code that it answers with."""
        self.redeliver_after = redeliver_after
        self.url = ""
        self._lock = threading.RLock()

    def offer(
        self,
        configuration: Json,
        inputs: list[Json],
        outputs: list[Json] | None = None,
        *,
        key: str | None = None,
        token: str | None = None,
    ) -> Job:
        """Have a job wait; return it."""
        data = {
            "actionTypeId": BUILD,
            "actionConfiguration": {"configuration": configuration},
            "pipelineContext": {
                "pipelineName": "shop",
                "pipelineArn": f"arn:aws:codepipeline:us-east-1:{ACCOUNT}:shop",
                "pipelineExecutionId": str(uuid.uuid4()),
                "stage": {"name": "Build"},
                "action": {"name": "Compile", "actionExecutionId": str(uuid.uuid4())},
            },
            "inputArtifacts": inputs,
            "outputArtifacts": outputs or [],
            **({"encryptionKey": {"id": key, "type": "KMS"}} if key else {}),
            **({"continuationToken": token} if token else {}),
        }
        job = Job(str(uuid.uuid4()), data)
        with self._lock:
            self.jobs[job.id] = job
        return job

    def redeliver(self) -> None:
        """Have every job that was handed out and not acknowledged wait again."""
        with self._lock:
            for job in self.jobs.values():
                if job.state == "Dispatched":
                    job.state = "Queued"

    def time_out(self, job: Job) -> None:
        """Give the job up."""
        with self._lock:
            job.state = "TimedOut"

    def last(self, job: Job) -> Job:
        """Return the job in which *job* goes on now."""
        while job.successor:
            job = self.jobs[job.successor]
        return job

    def answer(self, operation: str, given: Json) -> Json:
        """Return the answer to a call. Raises `Refused`."""
        if operation not in MODEL.operation_names:
            raise Refused("UnknownOperationException", operation)
        model = MODEL.operation_model(operation)
        with self._lock:
            self.calls.append(operation)
            if operation in self.refuse:
                raise Refused(self.refuse[operation])
            check(model.input_shape, given, operation)
            done: Json = getattr(self, f"_{operation}")(given) or {}
            if model.output_shape is not None:
                check(model.output_shape, done, f"{operation} answer")
            return done

    def _job(self, given: Json) -> Job:
        job = self.jobs.get(given["jobId"])
        if job is None:
            raise Refused("JobNotFoundException", f"there is no job {given['jobId']}")
        return job

    def _PollForJobs(self, given: Json) -> Json:  # noqa: N802 - the names of the service
        if given["actionTypeId"] != BUILD:
            raise Refused("ActionTypeNotFoundException")
        now, pool = time.monotonic(), given.get("queryParam", {}).get("Pool")
        jobs = []
        for job in self.jobs.values():
            if job.state == "Dispatched" and now >= job.since + self.redeliver_after:
                job.state = "Queued"
            own = job.data["actionConfiguration"]["configuration"].get("Pool")
            if job.state != "Queued" or (pool and own != pool) or len(jobs) >= given.get("maxBatchSize", 1):
                continue
            job.state, job.nonce, job.since = "Dispatched", uuid.uuid4().hex[:12], now
            jobs.append({"id": job.id, "nonce": job.nonce, "accountId": ACCOUNT, "data": self._data(job)})
        return {"jobs": jobs}

    def _data(self, job: Job) -> Json:
        session = f"ASIA{len(self.handed_out):012d}"
        self.handed_out.append(session)
        keys = {"accessKeyId": session, "secretAccessKey": f"secret-{session}", "sessionToken": f"token-{session}"}
        return {**job.data, "artifactCredentials": keys}

    def _AcknowledgeJob(self, given: Json) -> Json:  # noqa: N802
        job = self._job(given)
        if given["nonce"] != job.nonce or job.state == "Queued":
            raise Refused("InvalidNonceException")
        if job.state == "Dispatched":
            job.state = "InProgress"
        return {"status": job.state}

    def _GetJobDetails(self, given: Json) -> Json:  # noqa: N802
        job = self._job(given)
        if job.state != "InProgress":
            raise Refused("JobNotFoundException", f"job {job.id} is {job.state}")
        return {"jobDetails": {"id": job.id, "accountId": ACCOUNT, "data": self._data(job)}}

    def _PutJobSuccessResult(self, given: Json) -> None:  # noqa: N802
        job = self._ending(given)
        variables = given.get("outputVariables", {})
        if given.get("continuationToken"):
            if variables:
                raise Refused("ValidationException", "variables go with no continuation token")
            successor = Job(str(uuid.uuid4()), {**job.data, "continuationToken": given["continuationToken"]})
            self.jobs[successor.id] = successor
            job.successor = successor.id
        elif sum(len(name.encode()) + len(value.encode()) for name, value in variables.items()) > 122_880:
            raise Refused("OutputVariablesSizeExceededException")
        job.state, job.told = "Succeeded", given

    def _PutJobFailureResult(self, given: Json) -> None:  # noqa: N802
        job = self._ending(given)
        job.state, job.told = "Failed", given

    def _ending(self, given: Json) -> Job:
        job = self._job(given)
        if job.state != "InProgress":
            raise Refused("InvalidJobStateException", f"job {job.id} is {job.state}")
        return job

    def _CreateCustomActionType(self, given: Json) -> Json:  # noqa: N802
        kind = {"owner": "Custom", **{name: given[name] for name in ("category", "provider", "version")}}
        details = {name: given[name] for name in ("inputArtifactDetails", "outputArtifactDetails")}
        known = {
            "id": kind,
            "settings": given.get("settings", {}),
            "actionConfigurationProperties": given.get("configurationProperties", []),
            **details,
        }
        self.action_types.append(known)
        return {"actionType": known}

    def _ListActionTypes(self, given: Json) -> Json:  # noqa: N802
        """Return one on each page, so that all pages have to be asked for."""
        start = int(given.get("nextToken", "0"))
        more = {"nextToken": str(start + 1)} if start + 1 < len(self.action_types) else {}
        return {"actionTypes": self.action_types[start : start + 1], **more}


@contextmanager
def serving_codepipeline(**options: Any) -> Iterator[CodePipeline]:
    """Run one on a free port of the loopback."""
    service = CodePipeline(**options)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1  # head and body in one packet: else each answer waits for an acknowledgement

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
            operation = self.headers.get("X-Amz-Target", "").removeprefix(f"{MODEL.metadata['targetPrefix']}.")
            try:
                status, answer = 200, service.answer(operation, json.loads(body))
            except Refused as error:
                status, answer = 400, {"__type": error.code, "message": str(error)}
            data = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/x-amz-json-1.1")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: object) -> None:
            pass

    with listening(Handler) as service.url:
        yield service
