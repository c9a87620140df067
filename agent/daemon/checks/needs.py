"""Needs: every permission of AWS that settings and projects ask for, as statements of a policy; pure.

The Sids are those of aws/agent-policy.yml, so that what is missing is found there.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from agent.buildlog.cloudwatch import stream_name
from agent.container.image import ecr_registry
from agent.environment.secrets_manager import parse_reference
from agent.errors import UserError
from agent.model.project import Project, Source
from agent.objects.location import BucketLocation, parse_location, parse_object
from agent.source.url import parse

WRITE = ("s3:PutObject", "s3:AbortMultipartUpload", "s3:ListMultipartUploadParts")
KEY = ("kms:DescribeKey", "kms:GenerateDataKey", "kms:Decrypt")
_LOGS = ("logs:CreateLogGroup", "logs:CreateLogStream", "logs:PutLogEvents", "logs:GetLogEvents")
_QUEUE = ("sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:ChangeMessageVisibility", "sqs:GetQueueAttributes")
_IMAGE = ("ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer", "ecr:BatchCheckLayerAvailability")
_JOBS = ("AcknowledgeJob", "GetJobDetails", "PutJobSuccessResult", "PutJobFailureResult")


@dataclass(frozen=True)
class Account:
    """Whose permissions are looked at: `principal` is the ARN of a role or a user."""

    partition: str
    region: str
    id: str
    principal: str = ""

    def arn(self, service: str, resource: str, *, everywhere: bool = False) -> str:
        """Return an ARN of this account and region; *everywhere*: of none."""
        place = "::" if everywhere else f"{self.region}:{self.id}:"
        return f"arn:{self.partition}:{service}:{place}{resource}"


@dataclass(frozen=True)
class Need:
    """Actions on one resource that *who* (a project, a setting) cannot do without; *context* holds condition keys."""

    sid: str
    actions: tuple[str, ...]
    resource: str
    who: str
    context: tuple[tuple[str, str], ...] = ()

    @property
    def statement(self) -> dict[str, Any]:
        """The statement of a policy that allows it."""
        return statement(self.sid, self.actions, [self.resource], self.context)


@dataclass(frozen=True)
class Told:
    """What of agent.yml takes permissions."""

    queue: str | None = None
    bus: str | None = None
    topic: str | None = None
    namespace: str | None = None
    action: tuple[str, str, str] | None = None
    """Category, provider and version of the action type."""


def statement(
    sid: str, actions: Iterable[str], resources: Iterable[str], context: Sequence[tuple[str, str]] = ()
) -> dict[str, Any]:
    """Return a statement that allows *actions* on *resources*, where *context* holds. Pure."""
    found: dict[str, Any] = {
        "Sid": sid,
        "Effect": "Allow",
        "Action": sorted(set(actions)),
        "Resource": sorted(set(resources)),
    }
    if context:
        found["Condition"] = {"StringEquals": dict(context)}
    return found


def key_statement(account: Account) -> dict[str, Any]:
    """Return the statement that a key's own policy needs. Pure."""
    principal = account.principal or account.arn("iam", "root").replace(f":{account.region}:", "::")
    return {
        "Sid": "AllowBuildspecd",
        "Effect": "Allow",
        "Principal": {"AWS": principal},
        "Action": list(KEY),
        "Resource": "*",
    }


def needs(told: Told, projects: Iterable[Project], account: Account) -> list[Need]:
    """Return all that settings and *projects* need, each once for each resource and project."""
    found = [*_of_settings(told, account)]
    for project in projects:
        found += _of_project(project, account)
    return list(dict.fromkeys(found))


def _of_settings(told: Told, account: Account) -> Iterator[Need]:
    if told.queue:
        owner, _, name = told.queue.rpartition("/")
        number = owner.rpartition("/")[2]
        arn = f"arn:{account.partition}:sqs:{account.region}:{number or account.id}:{name}"
        yield Need("ReadEvents", _QUEUE, arn, "queue.url")
    if told.bus:
        arn = told.bus if told.bus.startswith("arn:") else account.arn("events", f"event-bus/{told.bus}")
        yield Need("TellOfBuilds", ("events:PutEvents",), arn, "events.bus")
    if told.topic:
        yield Need("TellTopicsOfBuilds", ("sns:Publish",), told.topic, "events.topic")
    if told.namespace:
        condition = (("cloudwatch:namespace", told.namespace),)
        yield Need("CountBuilds", ("cloudwatch:PutMetricData",), "*", "metrics.namespace", condition)
    if told.action:
        category, provider, version = told.action
        arn = account.arn("codepipeline", f"actiontype:Custom/{category}/{provider}/{version}")
        yield Need("TakePipelineJobs", ("codepipeline:PollForJobs",), arn, "pipeline.action")
        jobs = tuple(f"codepipeline:{name}" for name in _JOBS)
        yield Need("DoPipelineJobs", jobs, "*", "pipeline.action")


def _of_project(project: Project, account: Account) -> Iterator[Need]:
    yield from _logs(project, account)
    yield from _stores(project, account)
    for source in (project.source, *project.secondary_sources):
        yield from _source(source, project.name, account)
    if project.service_role:
        yield Need("AssumeRolesOfBuilds", ("sts:AssumeRole", "sts:TagSession"), project.service_role, project.name)
    if project.encryption_key:
        yield Need("EncryptWithProjectKeys", KEY, key_arn(project.encryption_key, account), project.name)
    yield from _variables(project, account)
    registry = ecr_registry(project.environment.image)
    if registry is not None:
        yield Need("PullImages", ("ecr:GetAuthorizationToken",), "*", project.name)
        repository = project.environment.image.partition("/")[2].partition("@")[0].partition(":")[0]
        arn = f"arn:{account.partition}:ecr:{registry.region}:{registry.account}:repository/{repository}"
        yield Need("PullImages", _IMAGE, arn, project.name)


def log_group(project: Project) -> str | None:
    """Return the log group that builds of *project* write to, where AWS is in sight; None: they write to none. Pure."""
    wanted = project.logs_config.cloud_watch_logs
    return None if wanted and wanted.status == "DISABLED" else stream_name(project.name, "", wanted)[0]


def _logs(project: Project, account: Account) -> Iterator[Need]:
    group = log_group(project)
    if group is not None:
        retains = ("logs:PutRetentionPolicy",) if project.agent.log_retention_days else ()
        arn = account.arn("logs", f"log-group:{group}")
        yield Need("WriteBuildLogs", (_LOGS[0], *retains), arn, project.name)
        yield Need("WriteBuildLogs", _LOGS[1:], f"{arn}:log-stream:*", project.name)


def places(project: Project) -> dict[str, BucketLocation]:
    """Return the buckets that *project* writes to, by what it writes: artifacts, cache, log. Pure."""
    given = {f"artifacts of {project.name}": project.artifacts.location if project.artifacts.type == "S3" else None}
    for one in project.secondary_artifacts:
        given[f"artifacts {one.artifact_identifier} of {project.name}"] = one.location if one.type == "S3" else None
    given[f"cache of {project.name}"] = project.cache.location if project.cache.type == "S3" else None
    logs = project.logs_config.s3_logs
    given[f"log of {project.name}"] = logs.location if logs and logs.status == "ENABLED" else None
    found: dict[str, BucketLocation] = {}
    for what, text in given.items():
        try:
            place = parse_location(text) if text else None
        except UserError:  # what is wrong with the project is said by the check of the configuration
            continue
        if isinstance(place, BucketLocation):
            found[what] = place
    return found


def _stores(project: Project, account: Account) -> Iterator[Need]:
    for what, place in places(project).items():
        bucket = account.arn("s3", place.bucket, everywhere=True)
        objects = f"{bucket}/{place.prefix}/*" if place.prefix else f"{bucket}/*"
        actions = (*WRITE, "s3:GetObject") if what.startswith("cache") else WRITE
        yield Need("StoreArtifactsCachesLogs", actions, objects, project.name)
        listing = ("s3:ListBucket",) if what.startswith("cache") else ()
        yield Need("ListCaches", (*listing, "s3:ListBucketMultipartUploads"), bucket, project.name)


def _source(source: Source, who: str, account: Account) -> Iterator[Need]:
    try:
        if source.type == "S3" and source.location and not source.location.startswith("file:"):
            place = parse_object(source.location)
            bucket = account.arn("s3", place.store.partition("/")[0], everywhere=True)
            key = f"{place.key}*" if place.is_prefix else place.key
            yield Need("ReadSources", ("s3:GetObject", "s3:GetObjectVersion"), f"{bucket}/{key}", who)
            yield Need("ListSources", ("s3:ListBucket",), bucket, who)
        elif source.type == "CODECOMMIT" and source.location:
            url = parse(source.location)[0]
            name = url.path.rpartition("/")[2]
            arn = f"arn:{account.partition}:codecommit:{url.codecommit_region or account.region}:{account.id}:{name}"
            yield Need("PullRepositories", ("codecommit:GitPull",), arn, who)
    except UserError:
        return


def _variables(project: Project, account: Account) -> Iterator[Need]:
    """Yield what this host reads for *project*: variables are the service role's to read, where there is one."""
    for variable in () if project.service_role else project.environment.environment_variables:
        if variable.type == "PARAMETER_STORE":
            yield Need("ReadParameters", ("ssm:GetParameters",), parameter_arn(variable.value, account), project.name)
        elif variable.type == "SECRETS_MANAGER":
            yield from _secret(variable.value, project.name, account)
    if project.environment.registry_credential:
        yield from _secret(project.environment.registry_credential.credential, project.name, account)


def _secret(reference: str, who: str, account: Account) -> Iterator[Need]:
    try:
        name = parse_reference(reference).secret_id
    except UserError:
        return
    arn = name if name.startswith("arn:") else account.arn("secretsmanager", f"secret:{name}-??????")
    yield Need("ReadSecrets", ("secretsmanager:GetSecretValue",), arn, who)


def parameter_arn(reference: str, account: Account) -> str:
    """Return the ARN of a parameter that is given by name, path or ARN, with a selector or without. Pure."""
    if reference.startswith("arn:"):
        return ":".join(reference.split(":")[:6])
    return account.arn("ssm", f"parameter/{reference.partition(':')[0].lstrip('/')}")


def key_arn(key: str, account: Account) -> str:
    """Return the ARN of a key that is given by ARN, id or alias. Pure."""
    if key.startswith("arn:"):
        return key
    return account.arn("kms", key if key.startswith("alias/") else f"key/{key}")


def merged(statements: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Return one policy of *statements*: those of one Sid and the same actions become one. Pure."""
    found: dict[tuple[str, str, str], dict[str, Any]] = {}
    for one in statements:
        kind = (str(one["Sid"]), str(one["Action"]), str(one.get("Condition")))
        known = found.setdefault(kind, {**one, "Resource": []})
        known["Resource"] = sorted({*known["Resource"], *one["Resource"]})
    return {"Version": "2012-10-17", "Statement": _named_apart(list(found.values()))}


def _named_apart(statements: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Give each statement a Sid of its own: IAM refuses a policy that has one twice."""
    seen: dict[str, int] = {}
    for one in statements:
        number = seen[one["Sid"]] = seen.get(one["Sid"], 0) + 1
        if number > 1:
            one["Sid"] = f"{one['Sid']}{number}"
    return statements
