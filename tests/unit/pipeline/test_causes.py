"""Each cause of a build that ends badly is produced by what really happens: the words are those of the real tools."""

from __future__ import annotations

import errno
import re
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from botocore import exceptions as botocore

from agent.aws import AwsRefused, translated
from agent.buildspec.location import buildspec_missing
from agent.container.journal import Failure
from agent.container.lookout import Survey
from agent.container.refusal import pull_error, refused_start
from agent.container.spec import ContainerState
from agent.errors import (
    ArtifactsMissing,
    AwsUnavailable,
    BuildspecdError,
    BuildspecInvalid,
    DiskFull,
    EngineUnavailable,
    GuardMissing,
    ImageUnavailable,
    PreflightFailed,
    ReportInvalid,
    RoleRefused,
    UploadRefused,
    UserError,
    VariableUnresolved,
    VpcMismatch,
)
from agent.kit.dial import Answer, Hop
from agent.model.cause import EXPLANATIONS, INTERRUPTED_BY, SUPERSEDED_BY, Cause, of_stop
from agent.model.phase import PhaseType
from agent.pipeline import preflight
from agent.pipeline.deaths import Evidence, death, stopped
from agent.pipeline.job import timed_out_in
from agent.pipeline.judgement import why
from agent.source.archive import unpack
from agent.source.failures import explain

PAGE = Path(__file__).parents[3] / "docs" / "FAILURES.md"
URL = "https://git.example/a.git"
ELSEWHERE = {Cause.DISK_QUOTA_EXCEEDED}
"""Produced, and tested, by whoever watches what builds write."""


def of_aws(code: str, text: str, http: int = 400) -> Cause:
    """Return the cause of what AWS answers so."""
    answer = {"Error": {"Code": code, "Message": text}, "ResponseMetadata": {"HTTPStatusCode": http}}
    return of(lambda: raising(botocore.ClientError(answer, "Operation")))  # type: ignore[arg-type]


def missed(hop: Hop) -> Cause:
    return preflight.failure([Answer("db:1", hop=hop)], Survey((), ""), "host").cause


def of(act: Callable[[], object]) -> Cause:
    """Return the cause of what *act* raises."""
    with pytest.raises(BuildspecdError) as caught, translated("s3"):
        act()
    return caught.value.cause


def raising(error: BaseException) -> None:
    """Raise *error*."""
    raise error


def pull(text: str, status: int | None = 500) -> Cause:
    """Return the cause of a pull of which the engine says so."""
    return pull_error("x:1", text, status).cause


def start(text: str, exit_code: int = 127) -> Cause:
    """Return the cause of a start of which the engine says so."""
    error = refused_start("c", f"OCI runtime create failed: runc create failed: {text}", exit_code)
    assert error is not None
    return error.cause


def dead(*, exit_code: int = 137, oom: bool = False, error: str = "", evidence: Evidence = Evidence()) -> Cause:
    """Return the cause of a container that ended like that."""
    return death(ContainerState("c", False, True, exit_code, oom, error), evidence).cause


RESOLVE = "Failed to resolve 's3.example' ([Errno -2] Name or service not known)"
DENIED = "User: arn:aws:iam::1:role/ci is not authorized to perform: {} on resource: x"

CAUSES: list[tuple[Cause, Callable[[], Cause]]] = [
    (Cause.COMMAND_FAILED, lambda: why(Failure("commands", 1, 1))[0]),
    (Cause.COMMAND_NOT_FOUND, lambda: why(Failure("commands", 1, 127))[0]),
    (Cause.COMMAND_NOT_FOUND, lambda: why(Failure("finally", 1, 126))[0]),
    (Cause.BUILDSPEC_INVALID, lambda: why(Failure(reason="no-user"))[0]),
    (Cause.IMAGE_UNUSABLE, lambda: why(Failure(reason="no-switch"))[0]),
    (Cause.OUT_OF_MEMORY, lambda: dead(oom=True)),
    (Cause.OUT_OF_MEMORY, lambda: dead(oom=True, evidence=Evidence("engine"))),
    (Cause.HOST_RESTARTED, lambda: dead(oom=True, evidence=Evidence("host"))),
    (Cause.HOST_RESTARTED, lambda: death(None, Evidence("host")).cause),
    (Cause.ENGINE_RESTARTED, lambda: death(None, Evidence("engine")).cause),
    (Cause.ENGINE_RESTARTED, lambda: dead(evidence=Evidence("engine"))),
    (Cause.ENGINE_RESTARTED, lambda: dead(exit_code=255)),
    (Cause.ENGINE_RESTARTED, lambda: stopped(Evidence("engine")).cause),
    (Cause.CONTAINER_REMOVED, lambda: death(None).cause),
    (
        Cause.CONTAINER_REMOVED,
        lambda: death(replace(ContainerState("c", False, True, 137, False), removing=True)).cause,
    ),
    (Cause.CONTAINER_KILLED, lambda: dead()),
    (Cause.CONTAINER_KILLED, lambda: stopped(Evidence()).cause),
    (Cause.IMAGE_UNUSABLE, lambda: dead(exit_code=127)),
    (Cause.IMAGE_UNUSABLE, lambda: start('exec: "/bin/sh": stat /bin/sh: no such file or directory: unknown')),
    (Cause.IMAGE_UNUSABLE, lambda: start("exec /bin/sh: exec format error", 1)),
    (Cause.CONTAINER_REFUSED, lambda: start('error mounting "/h" to rootfs at "/x": not a directory: unknown')),
    (Cause.HOST_DISK_FULL, lambda: start("mkdir /run/x: no space left on device", 128)),
    (Cause.BUILDSPEC_MISSING, lambda: buildspec_missing("/src/buildspec.yml", default=True).cause),
    (Cause.PROJECT_INVALID, lambda: UserError("x").cause),
    (Cause.TIMED_OUT_QUEUED, lambda: timed_out_in(PhaseType.QUEUED)),
    (Cause.TIMED_OUT_PROVISIONING, lambda: timed_out_in(PhaseType.PROVISIONING)),
    (Cause.TIMED_OUT_SOURCE, lambda: timed_out_in(PhaseType.DOWNLOAD_SOURCE)),
    (Cause.TIMED_OUT_COMMANDS, lambda: timed_out_in(PhaseType.PRE_BUILD)),
    (Cause.STOPPED_BY_USER, lambda: of_stop("Build was stopped by ada")),
    (Cause.SUPERSEDED, lambda: of_stop(f"{SUPERSEDED_BY}build 7 of the same branch")),
    (Cause.HOST_INTERRUPTED, lambda: of_stop(f"{INTERRUPTED_BY}a Spot instance is taken back")),
    (Cause.IMAGE_NOT_FOUND, lambda: pull("manifest for x:1 not found: manifest unknown", 404)),
    (Cause.IMAGE_NOT_FOUND, lambda: pull("invalid reference format", 400)),
    (Cause.IMAGE_NOT_FOUND, lambda: ImageUnavailable("image x is not on the host").cause),
    (Cause.IMAGE_DENIED, lambda: pull("pull access denied for x, repository does not exist or may require", 404)),
    (Cause.IMAGE_DENIED, lambda: pull("Head https://r/v2/x: no basic auth credentials")),
    (Cause.IMAGE_DENIED, lambda: pull("unauthorized: incorrect username or password")),
    (Cause.IMAGE_RATE_LIMITED, lambda: pull("toomanyrequests: You have reached your pull rate limit")),
    (Cause.IMAGE_RATE_LIMITED, lambda: pull("unauthorized", 429)),
    (Cause.DNS_FAILED, lambda: pull("dial tcp: lookup r.example: no such host")),
    (Cause.DNS_FAILED, lambda: pull("dial tcp: lookup r.example on 10.0.0.2:53: server misbehaving")),
    (Cause.REGISTRY_UNAVAILABLE, lambda: pull("net/http: TLS handshake timeout")),
    (Cause.REGISTRY_UNAVAILABLE, lambda: pull("received unexpected HTTP status: 503 Service Unavailable")),
    (Cause.HOST_DISK_FULL, lambda: pull("write /var/lib/docker/tmp/x: no space left on device")),
    (Cause.SOURCE_NOT_FOUND, lambda: explain(f"fatal: repository '{URL}/' not found", URL).cause),
    (Cause.SOURCE_NOT_FOUND, lambda: explain("fatal: couldn't find remote ref refs/heads/gone", URL).cause),
    (Cause.SOURCE_DENIED, lambda: explain(f"fatal: Authentication failed for '{URL}/'", URL).cause),
    (Cause.SOURCE_DENIED, lambda: explain("Host key verification failed.", URL).cause),
    (Cause.SOURCE_INVALID, lambda: explain("error: invalid path '../x'", "").cause),
    (Cause.DNS_FAILED, lambda: explain(f"fatal: unable to access '{URL}/': Could not resolve host: git", URL).cause),
    (Cause.DNS_FAILED, lambda: explain("ssh: Could not resolve hostname git: Name or service not known", URL).cause),
    (Cause.GIT_UNAVAILABLE, lambda: explain("fatal: unable to access: error: 503", URL).cause),
    (Cause.GIT_UNAVAILABLE, lambda: explain("Failed to connect to git port 443: Connection refused", URL).cause),
    (Cause.HOST_DISK_FULL, lambda: explain("fatal: write error: No space left on device", "").cause),
    (Cause.CREDENTIALS_EXPIRED, lambda: of_aws("ExpiredToken", "The provided token has expired.")),
    (Cause.CREDENTIALS_EXPIRED, lambda: of_aws("ExpiredTokenException", "The security token ... is expired")),
    (Cause.CREDENTIALS_EXPIRED, lambda: of_aws("InvalidSignatureException", "Signature expired: 2026 is now earlier")),
    (Cause.CREDENTIALS_MISSING, lambda: of_aws("InvalidClientTokenId", "The security token ... is invalid", 403)),
    (Cause.CREDENTIALS_MISSING, lambda: of(lambda: raising(botocore.NoCredentialsError()))),
    (Cause.KMS_DENIED, lambda: of_aws("KMS.DisabledException", "arn:aws:kms:eu-west-1:1:key/k is disabled.")),
    (Cause.KMS_DENIED, lambda: of_aws("AccessDenied", DENIED.format("kms:GenerateDataKey"), 403)),
    (Cause.AWS_DENIED, lambda: of_aws("AccessDeniedException", DENIED.format("logs:PutLogEvents"))),
    (Cause.AWS_UNAVAILABLE, lambda: of_aws("SlowDown", "Please reduce your request rate.", 503)),
    (Cause.AWS_UNAVAILABLE, lambda: of_aws("ThrottlingException", "Rate exceeded")),
    (Cause.AWS_UNAVAILABLE, lambda: AwsUnavailable("x").cause),
    (
        Cause.DNS_FAILED,
        lambda: of(lambda: raising(botocore.EndpointConnectionError(endpoint_url="https://s3", error=RESOLVE))),
    ),
    (Cause.HOST_DISK_FULL, lambda: of(lambda: raising(OSError(errno.ENOSPC, "No space left on device")))),
    (Cause.DNS_FAILED, lambda: missed(Hop.NAME)),
    (Cause.PREFLIGHT_NO_ROUTE, lambda: missed(Hop.ROUTE)),
    (Cause.PREFLIGHT_REFUSED, lambda: missed(Hop.REFUSED)),
    (Cause.PREFLIGHT_TIMED_OUT, lambda: missed(Hop.SILENCE)),
    (Cause.PREFLIGHT_FAILED, lambda: missed(Hop.OTHER)),
    (Cause.VPC_MISMATCH, lambda: VpcMismatch("x").cause),
    (Cause.PREFLIGHT_FAILED, lambda: PreflightFailed("x").cause),
    (Cause.BUILDSPEC_INVALID, lambda: BuildspecInvalid("x").cause),
    (Cause.VARIABLE_UNRESOLVED, lambda: VariableUnresolved("x").cause),
    (Cause.ARTIFACTS_MISSING, lambda: ArtifactsMissing("x").cause),
    (Cause.ROLE_DENIED, lambda: RoleRefused("x").cause),
    (Cause.GUARD_MISSING, lambda: GuardMissing("x").cause),
    (Cause.REPORT_INVALID, lambda: ReportInvalid("x").cause),
    (Cause.UPLOAD_DENIED, lambda: UploadRefused("x").cause),
    (Cause.ENGINE_UNAVAILABLE, lambda: EngineUnavailable("x").cause),
    (Cause.HOST_DISK_FULL, lambda: DiskFull("x").cause),
    (Cause.INTERNAL_ERROR, lambda: BuildspecdError("x").cause),
]
SEEN_WHOLE = {Cause.RUNTIME_SETUP_FAILED, Cause.STATE_DAMAGED}
"""Produced by whole builds: tests/parity/test_runtimes.py, tests/restart/test_between_steps.py."""


@pytest.mark.parametrize(
    ("expected", "produce"), CAUSES, ids=[f"{number}-{cause}" for number, (cause, _) in enumerate(CAUSES)]
)
def test_what_happens_has_its_cause(expected: Cause, produce: Callable[[], Cause]) -> None:
    assert produce() is expected


def test_every_cause_is_produced_by_something() -> None:
    assert {cause for cause, _ in CAUSES} | SEEN_WHOLE | ELSEWHERE == set(Cause)


def test_an_archive_that_cannot_be_unpacked_is_a_source_that_is_invalid(tmp_path: Path) -> None:
    into, file = tmp_path / "into", tmp_path / "source.zip"
    into.mkdir()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("../out", "x")
    for content in (file.read_bytes(), b"\x1f\x8b gzip"):
        file.write_bytes(content)
        assert of(lambda: unpack(file, into, archive="a", scratch=tmp_path)) is Cause.SOURCE_INVALID


def test_a_refusal_keeps_its_finer_cause_for_whoever_was_refused() -> None:
    refused = AwsRefused("x", reason="AccessDenied", text="x", cause=Cause.KMS_DENIED)
    assert UploadRefused("x", cause=refused.finer).cause is Cause.KMS_DENIED
    plain = AwsRefused("x", reason="AccessDenied", text="x")
    assert UploadRefused("x", cause=plain.finer).cause is Cause.UPLOAD_DENIED


def test_a_throttled_service_says_how_long_it_wants_to_be_left_alone() -> None:
    headers = {"HTTPStatusCode": 503, "HTTPHeaders": {"retry-after": "7"}}
    answer = {"Error": {"Code": "SlowDown", "Message": "x"}, "ResponseMetadata": headers}
    with pytest.raises(AwsUnavailable) as caught, translated("s3"):
        raise botocore.ClientError(answer, "PutObject")  # type: ignore[arg-type]
    assert caught.value.retry_after == 7


def test_a_start_that_the_runtime_fails_at_by_itself_is_no_fault_of_the_image() -> None:
    assert (
        refused_start("c", "OCI runtime create failed: container init: resource temporarily unavailable", 128) is None
    )
    assert refused_start("c", "context deadline exceeded") is None


def test_every_cause_is_explained_and_documented_and_nothing_else_is() -> None:
    assert set(EXPLANATIONS) == set(Cause)
    rows = re.findall(r"^\| `([A-Z_]+)` \| (\w+) \| ([^|]*) \| ([^|]*) \| ([^|]*) \| (.*) \|$", PAGE.read_text(), re.M)
    assert [name for name, *_ in rows] == [cause.value for cause in Cause]
    for name, whose, _, _, meaning, advice in rows:
        told = EXPLANATIONS[Cause(name)]
        assert (whose, meaning.strip(), advice.strip()) == (told.whose, told.meaning, told.advice), name
