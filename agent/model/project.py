"""Project: what to build and how, in the members of CodeBuild's own `CreateProject` (service.md 1)."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, ConfigDict, Field

from agent.model.duration import Duration
from agent.model.shape import Shape

GIT_TYPES = frozenset(
    {"GIT", "CODECOMMIT", "GITHUB", "GITHUB_ENTERPRISE", "BITBUCKET", "GITLAB", "GITLAB_SELF_MANAGED"}
)
"""Source types that are fetched with git. `GIT` is ours: any URL that git understands."""

EVERY_REPOSITORY = "CODEBUILD_DEFAULT_WEBHOOK_SOURCE_LOCATION"
"""Location of a source whose repository each event of a webhook names (`scopeConfiguration`)."""

Identifier = Annotated[str, Field(pattern=r"^[A-Za-z0-9_]{1,127}$")]
ProjectName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9\-_]{1,149}$")]


class GitSubmodules(Shape):
    """CodeBuild's `GitSubmodulesConfig`."""

    fetch_submodules: bool


class SourceAuth(Shape):
    """CodeBuild's `SourceAuth`: which credential opens the source."""

    type: Literal["OAUTH", "CODECONNECTIONS", "SECRETS_MANAGER"]
    resource: str | None = None


class BuildStatusConfig(Shape):
    """How the commit status is called and where it links to."""

    context: str | None = None
    target_url: str | None = None


class Source(Shape):
    """CodeBuild's `ProjectSource`. `GIT` (any URL) and `DIRECTORY` (a working tree, copied) are ours."""

    type: Literal[
        "GIT",
        "DIRECTORY",
        "CODECOMMIT",
        "CODEPIPELINE",
        "GITHUB",
        "GITLAB",
        "GITLAB_SELF_MANAGED",
        "S3",
        "BITBUCKET",
        "GITHUB_ENTERPRISE",
        "NO_SOURCE",
    ]
    location: str | None = None
    git_clone_depth: int = Field(default=0, ge=0)
    git_submodules_config: GitSubmodules | None = None
    buildspec: str | None = None
    auth: SourceAuth | None = None
    report_build_status: bool = False
    build_status_config: BuildStatusConfig | None = None
    insecure_ssl: bool = False
    source_identifier: Identifier | None = None


class SourceVersion(Shape):
    """The version of one secondary source."""

    source_identifier: Identifier
    source_version: str


class Artifacts(Shape):
    """CodeBuild's `ProjectArtifacts`. `location` is a bucket, or `file:///dir` where there is no AWS account."""

    type: Literal["S3", "NO_ARTIFACTS", "CODEPIPELINE"]
    location: str | None = None
    path: str = ""
    namespace_type: Literal["NONE", "BUILD_ID"] = "NONE"
    name: str | None = None
    packaging: Literal["NONE", "ZIP"] = "NONE"
    override_artifact_name: bool = False
    encryption_disabled: bool = False
    artifact_identifier: Identifier | None = None
    bucket_owner_access: Literal["NONE", "READ_ONLY", "FULL"] | None = None


class Cache(Shape):
    """CodeBuild's `ProjectCache`. `location` is `bucket/prefix`, or `file:///dir`."""

    type: Literal["NO_CACHE", "S3", "LOCAL"] = "NO_CACHE"
    location: str | None = None
    modes: tuple[Literal["LOCAL_SOURCE_CACHE", "LOCAL_DOCKER_LAYER_CACHE", "LOCAL_CUSTOM_CACHE"], ...] = ()
    cache_namespace: str | None = None


class EnvironmentVariable(Shape):
    """One variable of a project or of a start request. Of the two secret types the value is a reference."""

    name: str = Field(min_length=1)
    value: str
    type: Literal["PLAINTEXT", "PARAMETER_STORE", "SECRETS_MANAGER"] = "PLAINTEXT"


class RegistryCredential(Shape):
    """A Secrets Manager secret `{"username": ..., "password": ...}` that opens a private registry."""

    credential: str
    credential_provider: Literal["SECRETS_MANAGER"] = "SECRETS_MANAGER"


class ComputeConfiguration(Shape):
    """CodeBuild's `ComputeConfiguration`; memory and disk in GiB."""

    v_cpu: int | None = Field(default=None, alias="vCpu")
    memory: int | None = None
    disk: int | None = None
    machine_type: str | None = None
    instance_type: str | None = None


class Fleet(Shape):
    """Reserved capacity; accepted, and without meaning on a host of one's own."""

    fleet_arn: str | None = None


class DockerServer(Shape):
    """AWS's remote Docker server; accepted, and without meaning on a host of one's own."""

    compute_type: str | None = None
    security_group_ids: tuple[str, ...] = ()
    status: dict[str, str] | None = None


class Environment(Shape):
    """CodeBuild's `ProjectEnvironment`: the image, its size, its variables."""

    type: str = "LINUX_CONTAINER"
    image: str = Field(min_length=1)
    compute_type: str = "BUILD_GENERAL1_SMALL"
    compute_configuration: ComputeConfiguration | None = None
    fleet: Fleet | None = None
    environment_variables: tuple[EnvironmentVariable, ...] = ()
    privileged_mode: bool = False
    certificate: str | None = None
    registry_credential: RegistryCredential | None = None
    image_pull_credentials_type: Literal["CODEBUILD", "SERVICE_ROLE"] | None = None
    docker_server: DockerServer | None = None
    host_kernel: str | None = None


class CloudWatchLogs(Shape):
    """CodeBuild's `CloudWatchLogsConfig`; `stream_name` is a prefix of the stream."""

    status: Literal["ENABLED", "DISABLED"]
    group_name: str | None = None
    stream_name: str | None = None


class S3Logs(Shape):
    """CodeBuild's `S3LogsConfig`; `location` is `bucket/prefix`, an ARN, or `file:///dir`."""

    status: Literal["ENABLED", "DISABLED"]
    location: str | None = None
    encryption_disabled: bool = False
    bucket_owner_access: Literal["NONE", "READ_ONLY", "FULL"] | None = None


class LogsConfig(Shape):
    """Where the log goes. Absent members mean: CloudWatch where AWS is in reach, S3 not."""

    cloud_watch_logs: CloudWatchLogs | None = None
    s3_logs: S3Logs | None = Field(default=None, alias="s3Logs")


class VpcConfig(Shape):
    """The VPC that the host is expected to stand in."""

    vpc_id: str | None = None
    subnets: tuple[str, ...] = ()
    security_group_ids: tuple[str, ...] = ()


class FileSystem(Shape):
    """CodeBuild's `ProjectFileSystemLocation` (EFS)."""

    type: Literal["EFS"] = "EFS"
    location: str | None = None
    mount_point: str | None = None
    identifier: str | None = None
    mount_options: str | None = None


class Tag(Shape):
    """A tag of the project."""

    key: str
    value: str = ""


class WebhookFilter(Shape):
    """One condition of a filter group."""

    type: str
    pattern: str
    exclude_matched_pattern: bool = False


class PullRequestBuildPolicy(Shape):
    """CodeBuild's `PullRequestBuildPolicy`: which pull requests wait for a comment of somebody who may approve."""

    requires_comment_approval: Literal["DISABLED", "ALL_PULL_REQUESTS", "FORK_PULL_REQUESTS"]
    approver_roles: tuple[str, ...] | None = None


class ScopeConfiguration(Shape):
    """CodeBuild's `ScopeConfiguration`: whose repositories a webhook tells of. `domain` is a host of one's own."""

    name: str = Field(min_length=1)
    domain: str | None = None
    scope: Literal["GITHUB_ORGANIZATION", "GITHUB_GLOBAL", "GITLAB_GROUP"]


class Webhook(Shape):
    """Which changes start a build; holds for polled changes too. `secret` is a reference (`env:NAME`)."""

    secret: str | None = None
    filter_groups: tuple[tuple[WebhookFilter, ...], ...] = ()
    branch_filter: str | None = None
    build_type: str | None = None
    scope_configuration: ScopeConfiguration | None = None
    pull_request_build_policy: PullRequestBuildPolicy | None = None


class Resources(Shape):
    """Limits of the build container, in place of those of `computeType`. `memory` in MiB, `cpus` in CPUs.

    `pids`: how many processes and threads; of itself a quarter of what the host can have.
    """

    cpus: float | None = Field(default=None, gt=0)
    memory: int | None = Field(default=None, ge=16)
    pids: int | None = Field(default=None, ge=32)


def schedules(value: object) -> object:
    """Take one for a list of one, and a text for its expression."""
    entries = [value] if isinstance(value, str | dict) else value
    if not isinstance(entries, list | tuple):
        return entries
    return [{"cron": entry} if isinstance(entry, str) else entry for entry in entries]


class Schedule(Shape):
    """When a project is built without a change (service.md 3.9), and what of its request differs."""

    cron: str = Field(min_length=1)
    """`0 3 * * *`, or as AWS writes it: `cron(0 3 * * ? *)`, `rate(5 minutes)`."""
    timezone: str = "UTC"
    """Name in the IANA database, such as `Europe/Berlin`; a rate has none."""
    name: str | None = Field(default=None, pattern=r"^[A-Za-z0-9._\-]{1,64}$")
    """What the initiator `rule/NAME` says; None: `schedule-1`, by its place in the list."""
    source_version: str | None = None
    environment_variables: tuple[EnvironmentVariable, ...] = ()


class AgentOptions(Shape):
    """What only buildspecd has; stands under `agent:` in a project file, in snake_case like agent.yml."""

    model_config = ConfigDict(alias_generator=None)

    poll: Duration | None = Field(default=None, ge=0)
    """Seconds between two looks at the source; None: `poll.every` of agent.yml; 0: never."""
    schedule: Annotated[tuple[Schedule, ...], BeforeValidator(schedules)] = Field(default=(), max_length=50)
    """When it is built without a change; a list or one, each an object or its expression alone."""
    network: str = "host"
    """Network of the container: `host`, `bridge`, `none` or the name of a Docker network."""
    supersede: Literal["none", "queued", "running"] = "none"
    """Which older builds of the same branch a newer one stops."""
    max_concurrent: int | None = Field(default=None, ge=1)
    """Builds of this project that may run at once."""
    pull: Literal["always", "if-not-present", "never"] = "if-not-present"
    """When the image is pulled."""
    resources: Resources = Resources()
    """CPU and memory limits, in place of those of `computeType`."""
    log_retention_days: int | None = None
    """Retention that a log group gets when we create it; None: forever."""
    log_kms_key: str | None = None
    """ARN of the KMS key that a log group gets when we create it."""
    continue_fails_build: bool = True
    """Whether a phase that failed with `on-failure: CONTINUE` still fails the build (buildspec.md 4.5)."""
    debug: bool = False
    """Whether `codebuild-breakpoint` pauses the build, until somebody runs `codebuild-resume` in its container."""
    strict_actor_match: bool = True
    """Whether an ACTOR_ACCOUNT_ID pattern has to fit the whole id; false: it is searched for, as in CodeBuild."""
    skip_ci: bool = False
    """Whether `[skip ci]`, `[ci skip]` or `[no ci]` in its last commit's message keeps a push from being built."""
    preflight: tuple[str, ...] = Field(default=(), max_length=100)
    """`host:port` of what the build needs; connected to from its network before the first command."""
    vpc: Literal["require", "warn", "ignore"] | None = None
    """Where the host does not stand in the VPC of `vpcConfig`: builds fail, their log says so, or nothing; None:
    `host.vpc` of agent.yml."""
    rerun_lost: int = Field(default=0, ge=0, le=5)
    """How often a build starts over whose container was lost by a fault after its commands had begun."""


class Project(Shape):
    """CodeBuild's `Project`, and ours under `agent`."""

    name: ProjectName
    description: str | None = Field(default=None, max_length=255)
    source: Source
    secondary_sources: tuple[Source, ...] = Field(default=(), max_length=12)
    source_version: str | None = None
    secondary_source_versions: tuple[SourceVersion, ...] = ()
    artifacts: Artifacts = Artifacts(type="NO_ARTIFACTS")
    secondary_artifacts: tuple[Artifacts, ...] = Field(default=(), max_length=12)
    cache: Cache = Cache()
    environment: Environment
    service_role: str | None = None
    timeout_in_minutes: float = Field(default=60, gt=0, le=2160)
    queued_timeout_in_minutes: float = Field(default=480, gt=0, le=480)
    encryption_key: str | None = None
    tags: tuple[Tag, ...] = Field(default=(), max_length=50)
    vpc_config: VpcConfig | None = None
    badge_enabled: bool = False
    logs_config: LogsConfig = LogsConfig()
    file_system_locations: tuple[FileSystem, ...] = ()
    concurrent_build_limit: int | None = Field(default=None, ge=1)
    auto_retry_limit: int = Field(default=0, ge=0)
    webhook: Webhook | None = None
    agent: AgentOptions = AgentOptions()
