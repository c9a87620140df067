"""What must hold between the fields of a project (service.md 1): pure, each finding with its place and its weight."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from agent.errors import RequestInvalid, UserError
from agent.kit import marked_yaml
from agent.model.project import GIT_TYPES, Artifacts, Project, Source, WebhookFilter
from agent.objects.location import parse_object
from agent.settings.problems import Loc, did_you_mean, shown
from agent.settings.references import reference
from agent.source.accounts import is_secret_arn
from agent.source.credentials import INSECURE_TYPES
from agent.source.url import holds_password
from agent.triggers import timetable
from agent.triggers.hooks import scope
from agent.triggers.hooks.approval import ROLES
from agent.triggers.patterns import compile_pattern


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong (`fatal`: the project cannot be used) or odd, at *loc* in camelCase."""

    loc: Loc
    message: str
    fatal: bool = True


def findings(project: Project) -> list[Finding]:
    """Return all that is wrong or odd with *project*."""
    return [finding for check in _CHECKS for finding in check(project)]


_NO_LOCATION = frozenset({"NO_SOURCE", "CODEPIPELINE"})
_ENVIRONMENTS = (
    "LINUX_CONTAINER",
    "ARM_CONTAINER",
    "LINUX_GPU_CONTAINER",
    "LINUX_EC2",
    "ARM_EC2",
    "LINUX_LAMBDA_CONTAINER",
    "ARM_LAMBDA_CONTAINER",
)
_OTHER_SYSTEMS = (
    "WINDOWS_CONTAINER",
    "WINDOWS_SERVER_2019_CONTAINER",
    "WINDOWS_SERVER_2022_CONTAINER",
    "WINDOWS_EC2",
    "MAC_ARM",
)
_COMPUTE_TYPES = (
    *(f"BUILD_GENERAL1_{size}" for size in ("SMALL", "MEDIUM", "LARGE", "XLARGE", "2XLARGE")),
    *(f"BUILD_LAMBDA_{size}GB" for size in (1, 2, 4, 8, 10)),
    "ATTRIBUTE_BASED_COMPUTE",
    "CUSTOM_INSTANCE_TYPE",
)
_FILTERS = (
    "EVENT",
    "BASE_REF",
    "HEAD_REF",
    "ACTOR_ACCOUNT_ID",
    "FILE_PATH",
    "COMMIT_MESSAGE",
    "WORKFLOW_NAME",
    "TAG_NAME",
    "RELEASE_NAME",
    "REPOSITORY_NAME",
    "ORGANIZATION_NAME",
)
_EVENTS = (
    "PUSH",
    "PULL_REQUEST_CREATED",
    "PULL_REQUEST_UPDATED",
    "PULL_REQUEST_REOPENED",
    "PULL_REQUEST_MERGED",
    "PULL_REQUEST_CLOSED",
    "RELEASED",
    "PRERELEASED",
    "WORKFLOW_JOB_QUEUED",
)
_RETENTION_DAYS = (
    *(1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731),
    *(1096, 1827, 2192, 2557, 2922, 3288, 3653),
)
_ENDPOINT = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9_.\-]+):(\d{1,5})")


def _sources(project: Project) -> Iterator[Finding]:
    yield from _source(project.source, ("source",))
    for index, source in enumerate(project.secondary_sources):
        yield from _source(source, ("secondarySources", index))
    identifiers = [source.source_identifier for source in project.secondary_sources]
    yield from _identifiers(identifiers, "secondarySources", "sourceIdentifier")
    for index, version in enumerate(project.secondary_source_versions):
        if version.source_identifier not in identifiers:
            advice = did_you_mean(version.source_identifier, [name for name in identifiers if name])
            yield Finding(
                ("secondarySourceVersions", index, "sourceIdentifier"),
                f"no secondary source is called {version.source_identifier!r}{advice}",
            )
    if project.source_version and project.source.type == "S3" and (project.source.location or "").endswith("/"):
        yield Finding(("sourceVersion",), "Source version should be empty for S3 folder source location")


def _source(source: Source, loc: Loc) -> Iterator[Finding]:
    if source.type == "CODEPIPELINE" and loc != ("source",):
        yield Finding((*loc, "type"), "a pipeline names its further input artifacts itself: remove this source")
    elif source.type not in _NO_LOCATION and not source.location:
        yield Finding((*loc, "location"), f"location is missing: a source of type {source.type} needs it")
    elif source.type == "S3":
        yield from _object(source.location or "", (*loc, "location"))
    yield from _auth(source, loc)
    if source.insecure_ssl and source.type in GIT_TYPES - INSECURE_TYPES:
        kinds = ", ".join(sorted(INSECURE_TYPES))
        yield Finding((*loc, "insecureSsl"), f"insecureSsl holds for {kinds} only; it is ignored here", fatal=False)
    if source.type == "NO_SOURCE" and loc == ("source",) and not _is_inline(source.buildspec):
        yield Finding((*loc, "buildspec"), "a project without source needs its buildspec written out here")
    if source.location and holds_password(source.location):
        yield Finding(
            (*loc, "location"),
            "the address holds a password, which everybody who may read this file sees; use a credential instead",
            fatal=False,
        )


def _auth(source: Source, loc: Loc) -> Iterator[Finding]:
    auth = source.auth
    if auth is None:
        return
    if auth.type != "SECRETS_MANAGER":
        words = f"{auth.type} opens sources for AWS alone: an entry of `credentials` in agent.yml for its host is used"
        yield Finding((*loc, "auth", "type"), words, fatal=False)
    elif not is_secret_arn(auth.resource or ""):  # it may be a token: the message must not show it
        yield Finding(
            (*loc, "auth"), "resource must be the ARN of a secret: arn:aws:secretsmanager:REGION:ACCOUNT:secret:NAME"
        )


def _object(location: str, loc: Loc) -> Iterator[Finding]:
    try:
        parse_object(location)
    except UserError as error:
        yield Finding(loc, f"{error.message}: {error.hint}")


def _is_inline(buildspec: str | None) -> bool:
    """Whether a `buildspec` is a document or in S3, and not a path (service.md 1.3.1)."""
    if not buildspec:
        return False
    if buildspec.startswith("arn:") or "\n" in buildspec:
        return True
    try:
        root = marked_yaml.load(buildspec).root
    except marked_yaml.MarkedYamlError:
        return False
    return isinstance(root, marked_yaml.Mapping) and root.get("version") is not None


def _artifacts(project: Project) -> Iterator[Finding]:
    yield from _destination(project.artifacts, ("artifacts",))
    if (project.source.type == "CODEPIPELINE") != (project.artifacts.type == "CODEPIPELINE"):
        words = "source and artifacts are both of type CODEPIPELINE, or neither"
        yield Finding(("artifacts", "type"), words)
    for index, artifacts in enumerate(project.secondary_artifacts):
        yield from _destination(artifacts, ("secondaryArtifacts", index))
    identifiers = [artifacts.artifact_identifier for artifacts in project.secondary_artifacts]
    yield from _identifiers(identifiers, "secondaryArtifacts", "artifactIdentifier")


def _destination(artifacts: Artifacts, loc: Loc) -> Iterator[Finding]:
    if artifacts.type == "CODEPIPELINE" and loc != ("artifacts",):
        yield Finding((*loc, "type"), "a pipeline names its further output artifacts itself: remove this one")
    elif artifacts.type == "S3" and not artifacts.location:
        yield Finding((*loc, "location"), "location is missing: name a bucket, or a directory as file:///dir")


def _identifiers(identifiers: list[str | None], member: str, key: str) -> Iterator[Finding]:
    for index, name in enumerate(identifiers):
        if name is None:
            yield Finding((member, index), f"{key} is missing: every one of {member} needs a name of its own")
        elif name in identifiers[:index]:
            yield Finding((member, index, key), f"{name!r} stands twice in {member}")


def _stores(project: Project) -> Iterator[Finding]:
    cache, logs = project.cache, project.logs_config.s3_logs
    if cache.type == "S3" and not cache.location:
        yield Finding(("cache", "location"), "location is missing: name bucket/prefix, or a directory as file:///dir")
    if cache.type == "LOCAL" and not cache.modes:
        yield Finding(("cache", "modes"), "a LOCAL cache without modes keeps nothing", fatal=False)
    if logs is not None and logs.status == "ENABLED" and not logs.location:
        yield Finding(
            ("logsConfig", "s3Logs", "location"),
            "location is missing: name bucket/prefix, or a directory as file:///dir",
        )


def _environment(project: Project) -> Iterator[Finding]:
    environment = project.environment
    if environment.type in _OTHER_SYSTEMS:
        yield Finding(
            ("environment", "type"), f"{environment.type} cannot be built here: builds run in Linux containers"
        )
    elif environment.type not in _ENVIRONMENTS:
        yield Finding(("environment", "type"), _unknown(environment.type, _ENVIRONMENTS))
    if environment.compute_type not in _COMPUTE_TYPES:
        yield Finding(("environment", "computeType"), _unknown(environment.compute_type, _COMPUTE_TYPES))
    names = [variable.name for variable in environment.environment_variables]
    for index, name in enumerate(names):
        loc = ("environment", "environmentVariables", index, "name")
        if name in names[:index]:
            yield Finding(loc, f"the variable {name} stands twice; this one wins", fatal=False)
        if name.startswith("CODEBUILD_"):
            yield Finding(loc, f"{name}: names that start with CODEBUILD_ are the service's own", fatal=False)
    if project.file_system_locations:
        yield Finding(("fileSystemLocations",), "EFS file systems are not mounted into builds yet", fatal=False)


def _webhook(project: Project) -> Iterator[Finding]:
    webhook = project.webhook
    if webhook is None:
        return
    if webhook.secret is not None:
        yield from _secret(webhook.secret)
    if webhook.build_type == "BUILD_BATCH":
        words = "BUILD_BATCH: a plain build is started instead, which ignores the section `batch`: no batch is run yet"
        yield Finding(("webhook", "buildType"), words, fatal=False)
    elif webhook.build_type not in (None, "BUILD"):
        yield Finding(("webhook", "buildType"), f"{webhook.build_type}: a plain build is started instead", fatal=False)
    if webhook.branch_filter:
        yield from _pattern(webhook.branch_filter, ("webhook", "branchFilter"))
    for group_index, group in enumerate(webhook.filter_groups):
        loc: Loc = ("webhook", "filterGroups", group_index)
        if not any(filter.type == "EVENT" for filter in group):
            yield Finding(loc, "a filter group needs a filter of type EVENT")
        for index, condition in enumerate(group):
            yield from _filter(condition, (*loc, index), strict=project.agent.strict_actor_match)


def _scope(project: Project) -> Iterator[Finding]:
    for loc, words, fatal in scope.complaints(project):
        yield Finding(loc, words, fatal)


def _approval(project: Project) -> Iterator[Finding]:
    policy = project.webhook.pull_request_build_policy if project.webhook else None
    for index, role in enumerate((policy and policy.approver_roles) or ()):
        if role not in ROLES:
            yield Finding(("webhook", "pullRequestBuildPolicy", "approverRoles", index), _unknown(role, ROLES))


def _secret(text: str) -> Iterator[Finding]:
    loc = ("webhook", "secret")
    try:
        found = reference(text)
    except ValueError as error:
        yield Finding(loc, f"{error}, which is how a secret is referred to")
        return
    if found.kind == "literal":
        yield Finding(
            loc,
            "the secret itself stands here; refer to it: env:NAME, file:/path, ssm:/name or secretsmanager:ID[:key]",
            fatal=False,
        )


def _filter(condition: WebhookFilter, loc: Loc, *, strict: bool) -> Iterator[Finding]:
    if condition.type not in _FILTERS:
        yield Finding((*loc, "type"), _unknown(condition.type, _FILTERS))
    elif condition.type == "EVENT":
        for event in (word.strip() for word in condition.pattern.split(",")):
            if event not in _EVENTS:
                yield Finding((*loc, "pattern"), _unknown(event, _EVENTS))
    else:
        yield from _pattern(condition.pattern, (*loc, "pattern"))
        lets_in = condition.type == "ACTOR_ACCOUNT_ID" and not condition.exclude_matched_pattern
        if lets_in and not _anchored(condition.pattern):
            words = "without ^ and $ this also lets in every account whose number contains it"
            if strict:
                words = f"{words}: on CodeBuild; here agent.strict_actor_match makes it fit the whole number"
            yield Finding((*loc, "pattern"), words, fatal=False)


def _anchored(pattern: str) -> bool:
    return all(part.startswith("^") and part.endswith("$") for part in pattern.split("|")) or (
        pattern.startswith("^(") and pattern.endswith(")$")
    )


def _pattern(pattern: str, loc: Loc) -> Iterator[Finding]:
    try:
        compile_pattern(pattern)
    except RequestInvalid as error:
        yield Finding(loc, f"not a regular expression: {error.message}")


def _options(project: Project) -> Iterator[Finding]:
    options = project.agent
    if options.log_retention_days not in (None, *_RETENTION_DAYS):
        days = ", ".join(map(str, _RETENTION_DAYS))
        yield Finding(("agent", "log_retention_days"), f"CloudWatch knows {days}, not {options.log_retention_days}")
    for index, endpoint in enumerate(options.preflight):
        match = _ENDPOINT.fullmatch(endpoint)
        if match is None or not 0 < int(match[2]) < 65536:
            yield Finding(
                ("agent", "preflight", index), f"expected HOST:PORT such as db.internal:5432, not {shown(endpoint)}"
            )


def _schedules(project: Project) -> Iterator[Finding]:
    names: list[str] = []
    for index, (name, schedule) in enumerate(timetable.named(project)):
        loc: Loc = ("agent", "schedule", index)
        try:
            timetable.find_zone(schedule.timezone)
        except ValueError as error:
            yield Finding((*loc, "timezone"), str(error))
        try:
            timetable.parse(schedule.cron)
        except ValueError as error:
            yield Finding((*loc, "cron"), str(error))
        if name in names:
            yield Finding((*loc, "name"), f"{name!r} stands twice among the schedules")
        names.append(name)


def _unknown(word: str, known: tuple[str, ...]) -> str:
    return f"expected one of {', '.join(known)}, not {shown(word)}{did_you_mean(word, known)}"


_CHECKS: tuple[Callable[[Project], Iterator[Finding]], ...] = (
    _sources,
    _artifacts,
    _stores,
    _environment,
    _webhook,
    _approval,
    _scope,
    _options,
    _schedules,
)
