"""
Everything that can go wrong, except a red build. A red build is a value.

* BuildspecdError              ours                          -> FAULT, exit 3
  x UserError                  the user can mend it          -> FAILED, never retried, exit 2 on the command line
    + UsageError               the command line makes no sense
    + SettingsInvalid          agent.yml or a project file
    + BuildspecInvalid         the buildspec                  YAML_FILE_ERROR
    + SourceNotFound           no such repository, branch, commit      CLIENT_ERROR
    + SourceRefused            the git server does not let us in       CLIENT_ERROR
    + ArtifactsMissing         nothing matched                CLIENT_ERROR
    + UploadRefused            bucket or key says no          CLIENT_ERROR
    + ImageUnavailable         no such image, or not for us   BUILD_CONTAINER_UNABLE_TO_PULL_IMAGE
    + VariableUnresolved       a parameter or secret          its own code
    + ProjectUnknown, BuildUnknown, ReportUnknown, RequestInvalid     what the control API was asked
    + OperationUnknown           likewise (web/codebuild.py)
    + AwsRefused                 AWS said no (aws.py)
    + JobGone, JobTaken          an AwsRefused: a pipeline's job is over, or somebody else's (triggers/codepipeline)
    + ContainerDied            the image cannot run a build, or memory ran out
    + PreflightFailed          something that the build needs cannot be reached
    + VpcMismatch              the host stands elsewhere than vpcConfig says       VPC_CLIENT_ERROR
    + RoleRefused              the project's service role cannot be assumed
    + ReportInvalid            a result file says nothing that can be understood    CLIENT_ERROR
  x Unavailable                something outside is down      -> retried, then FAULT
    + GitUnavailable, EngineUnavailable, AwsUnavailable, RegistryUnavailable
    + GuardMissing               builds would reach the host's own credentials, and must not
    + MirrorBroken               a GitUnavailable: the local copy is made anew (source/failures.py)
  x DaemonNotRunning           nobody listens on the control socket
  x StateDirBusy               another daemon owns the state directory
  x DiskFull                   no space left on the host
  x ContainerLost              the container is gone, and not by its own doing
  x StoreTooNew                the database was written by a newer version
  x BuildUnreadable            the record of one build is damaged
  x RulesRefused               the host's firewall does not take the guard's rules (container/imds.py)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from agent.model.cause import Cause
from agent.model.status import Status


class BuildspecdError(Exception):
    """Base of every error that we raise on purpose.

    `code` becomes the status code of the phase context, `hint` says what to do next, `cause` why a build ended badly.
    """

    status: ClassVar[Status] = Status.FAULT
    retry: ClassVar[bool] = False
    exit_code: ClassVar[int] = 3
    default_code: ClassVar[str] = "INTERNAL_ERROR"
    default_cause: ClassVar[Cause] = Cause.INTERNAL_ERROR

    def __init__(self, message: str, *, hint: str = "", code: str = "", cause: Cause | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.code = code or self.default_code
        self.cause = cause or self.default_cause


class UserError(BuildspecdError):
    """The user can mend it; asking again changes nothing."""

    status = Status.FAILED
    exit_code = 2
    default_code = "CLIENT_ERROR"
    default_cause = Cause.PROJECT_INVALID


class UsageError(UserError):
    """The command line makes no sense."""


@dataclass(frozen=True)
class Problem:
    """One mistake in a file. Lines and columns count from 1; 0 means that the place is unknown."""

    file: str
    line: int
    column: int
    message: str
    fatal: bool = True

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}: {self.message}"


class SettingsInvalid(UserError):
    """agent.yml or a project file is wrong; carries every mistake at once."""

    def __init__(self, problems: Sequence[Problem], *, hint: str = "") -> None:
        super().__init__("\n".join(map(str, problems)), hint=hint)
        self.problems = tuple(problems)


class BuildspecInvalid(UserError):
    """The buildspec cannot be used. `message` has CodeBuild's words for the first problem."""

    default_code = "YAML_FILE_ERROR"
    default_cause = Cause.BUILDSPEC_INVALID

    def __init__(
        self,
        message: str,
        problems: Sequence[Problem] = (),
        *,
        hint: str = "",
        code: str = "",
        cause: Cause | None = None,
    ) -> None:
        super().__init__(message, hint=hint, code=code, cause=cause)
        self.problems = tuple(problems)


class SourceNotFound(UserError):
    """No such repository, branch, tag or commit."""

    default_cause = Cause.SOURCE_NOT_FOUND


class SourceRefused(UserError):
    """The git server does not let us in."""

    default_cause = Cause.SOURCE_DENIED


class ArtifactsMissing(UserError):
    """No file matched the artifact paths."""

    default_cause = Cause.ARTIFACTS_MISSING


class UploadRefused(UserError):
    """The bucket or the KMS key says no."""

    default_cause = Cause.UPLOAD_DENIED


class ImageUnavailable(UserError):
    """The image does not exist, or its registry does not let us in."""

    default_code = "BUILD_CONTAINER_UNABLE_TO_PULL_IMAGE"
    default_cause = Cause.IMAGE_NOT_FOUND


class VariableUnresolved(UserError):
    """A parameter or a secret that a variable refers to cannot be read."""

    default_cause = Cause.VARIABLE_UNRESOLVED


class RequestInvalid(UserError):
    """A request to the control API makes no sense (`InvalidInputException`)."""


class ProjectUnknown(UserError):
    """No project has that name (`ResourceNotFoundException`)."""


class BuildUnknown(UserError):
    """No build has that id (`ResourceNotFoundException`)."""


class ReportUnknown(UserError):
    """No report, or no report group, has that ARN (`ResourceNotFoundException`)."""


class ContainerDied(UserError):
    """The build container ended without finishing the build, by the user's doing (memory, image without `sh`)."""

    default_code = "BUILD_CONTAINER_DIED"
    default_cause = Cause.IMAGE_UNUSABLE


class PreflightFailed(UserError):
    """Something that the project says it needs cannot be reached from this host."""

    default_code = "PREFLIGHT_FAILED"
    default_cause = Cause.PREFLIGHT_FAILED


class VpcMismatch(UserError):
    """The host does not stand in the VPC that the project expects, or nobody can tell."""

    default_code = "VPC_CLIENT_ERROR"
    default_cause = Cause.VPC_MISMATCH


class RoleRefused(UserError):
    """The service role of the project cannot be assumed."""

    default_code = "ROLE_REFUSED"
    default_cause = Cause.ROLE_DENIED


class ReportInvalid(UserError):
    """A result file of tests or coverage says nothing that can be understood."""

    default_cause = Cause.REPORT_INVALID


class Unavailable(BuildspecdError):
    """Something outside is down; it may work later. `retry_after`: the seconds for which it asked to be left alone."""

    retry = True
    retry_after: float | None = None


class GitUnavailable(Unavailable):
    """The git server does not answer, or answers with an error of its own."""

    default_code = "GIT_UNAVAILABLE"
    default_cause = Cause.GIT_UNAVAILABLE


class EngineUnavailable(Unavailable):
    """The Docker engine does not answer."""

    default_code = "ENGINE_UNAVAILABLE"
    default_cause = Cause.ENGINE_UNAVAILABLE


class RegistryUnavailable(Unavailable):
    """The image registry does not answer, or limits our rate."""

    default_code = "BUILD_CONTAINER_UNABLE_TO_PULL_IMAGE"
    default_cause = Cause.REGISTRY_UNAVAILABLE


class AwsUnavailable(Unavailable):
    """An AWS service does not answer, or throttles."""

    default_code = "AWS_UNAVAILABLE"
    default_cause = Cause.AWS_UNAVAILABLE


class GuardMissing(Unavailable):
    """Builds are to run only where they cannot reach the host's own credentials, and here they could."""

    default_code = "GUARD_MISSING"
    default_cause = Cause.GUARD_MISSING


class DaemonNotRunning(BuildspecdError):
    """Nobody listens on the control socket."""


class StateDirBusy(BuildspecdError):
    """Another daemon owns the state directory."""


class DiskFull(BuildspecdError):
    """No space is left on the host."""

    default_code = "DISK_FULL"
    default_cause = Cause.HOST_DISK_FULL


class ContainerLost(BuildspecdError):
    """The build container is gone, and not by its own doing."""

    default_code = "CONTAINER_LOST"
    default_cause = Cause.CONTAINER_KILLED


class StoreTooNew(BuildspecdError):
    """The database was written by a newer version of buildspecd."""

    default_cause = Cause.STATE_DAMAGED


class BuildUnreadable(BuildspecdError):
    """The record of a build cannot be understood any more; the others are not concerned."""

    default_cause = Cause.STATE_DAMAGED
