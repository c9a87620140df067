"""Cloudcheck: all that AWS has to allow for the settings and projects of a host, asked for `buildspecd doctor`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache, partial

from agent.app.measures import probes
from agent.app.pipelines import action_type
from agent.aws import Aws, AwsRefused
from agent.container.image import RegistryLogins, ecr_registry
from agent.daemon.checks import host, network, trials
from agent.daemon.checks.check import Check, Progress, Question, examine
from agent.daemon.checks.clock import clock
from agent.daemon.checks.needs import Account, Need, Told, key_arn, log_group, needs, places
from agent.daemon.checks.permissions import Hasty, permissions, whoami, with_role
from agent.daemon.checks.roles import wish_of
from agent.daemon.intake import Identity
from agent.environment.roles import AssumedRoles
from agent.environment.secrets_manager import SecretsManager
from agent.environment.ssm import ParameterStore
from agent.errors import AwsUnavailable, BuildspecdError, RoleRefused
from agent.kit.clock import SystemClock
from agent.kit.heed import begun
from agent.model.project import Project
from agent.settings.schema import Settings
from agent.triggers.codepipeline.actiontype import ActionTypes
from agent.triggers.sqs import Queue

_WHO_SECONDS = 5.0
_READING = {"PARAMETER_STORE": "ssm:GetParameters", "SECRETS_MANAGER": "secretsmanager:GetSecretValue"}
_REMEDY = (
    "check the instance role, aws.endpoint_url, the network and the proxy; aws sts get-caller-identity asks the same"
)


def cloud(
    settings: Settings, aws: Hasty, projects: Sequence[Project], progress: Progress | None = None
) -> Iterator[Check]:
    """Look at all of AWS that *projects* need. Who we are is asked first: where nobody says, the rest is skipped."""
    if not aws.in_sight():
        yield Check("aws", "ok", "no credentials in sight: logs, artifacts and caches stay on this host")
        yield Check("clock", "skipped", "no AWS in sight to compare it with")
        return
    told = told_of(settings)
    urls = [aws.client(service).meta.endpoint_url for service in services(told, projects)]
    aside = begun(
        lambda: examine(
            [
                Question("connect", partial(network.endpoints, list(dict.fromkeys(urls)))),
                Question("clock", partial(clock, urls[0], SystemClock())),
            ],
            progress,
        ),
        "check",
    )
    who = begun(lambda: whoami(aws), "check")
    who.over.wait(_WHO_SECONDS)
    error = who.error if who.over.is_set() else TimeoutError()
    aside.over.wait()
    if error is not None:
        yield _unknown(error)
        yield from aside.answer()
        yield Check("permissions", "skipped", "they can be looked at once AWS says who this host is")
        return
    account, text = who.answer()
    yield Check("aws", "ok", text)
    yield from aside.answer()
    yield from examine([*_questions(settings, aws, account, told, projects)], progress)


def told_of(settings: Settings) -> Told:
    """Return what of *settings* takes permissions."""
    action = settings.pipeline.action
    return Told(
        queue=settings.queue.url,
        bus=settings.events.bus,
        topic=settings.events.topic,
        namespace=settings.metrics.namespace,
        action=(action.category, action.provider, action.version) if action.provider else None,
    )


def services(told: Told, projects: Sequence[Project]) -> list[str]:
    """Return the services that are asked for anything, as boto3 calls them; sts is the first."""
    wanted = {
        "logs": any(log_group(project) for project in projects),
        "s3": any(places(project) or project.source.type == "S3" for project in projects),
        "kms": any(project.encryption_key for project in projects),
        "ssm": any(_references(project, "PARAMETER_STORE") for project in projects),
        "secretsmanager": any(_references(project, "SECRETS_MANAGER") for project in projects),
        "sqs": told.queue,
        "events": told.bus,
        "sns": told.topic,
        "cloudwatch": told.namespace,
        "codepipeline": told.action,
    }
    return ["sts", *(name for name, needed in wanted.items() if needed)]


def _unknown(error: BaseException) -> Check:
    if isinstance(error, AwsUnavailable):
        return Check("aws", "fail", error.message, _REMEDY)
    if isinstance(error, BuildspecdError):
        return Check("aws", "fail", error.message, error.hint or _REMEDY)
    if isinstance(error, TimeoutError):
        return Check("aws", "fail", f"sts:GetCallerIdentity: no answer within {_WHO_SECONDS:g} s", _REMEDY)
    return Check("aws", "fail", f"sts:GetCallerIdentity: {type(error).__name__}: {error}", _REMEDY)


def _questions(
    settings: Settings, aws: Hasty, account: Account, told: Told, projects: Sequence[Project]
) -> Iterator[Question]:
    """Yield what is tried and simulated. The clients are made ahead: that takes a while, and no network."""
    wanted = needs(told, projects, account)
    for service in ("iam", *services(told, projects)):
        aws.client(service)
    yield Question("permissions", lambda: permissions(aws, with_role(account, aws), wanted), patience=10.0)
    if settings.queue.url:
        yield Question("queue", partial(host.queue, Queue(aws, settings.queue.url).waiting))
    for name, ask in probes(settings, aws).items():
        yield Question(name, partial(host.told, name, ask))
    if told.action:
        yield Question("pipeline", lambda: _pipeline(settings, aws))
    yield from _of_projects(settings, aws, with_role(account, aws), wanted, projects)


def _of_projects(
    settings: Settings, aws: Hasty, account: Account, wanted: Sequence[Need], projects: Sequence[Project]
) -> Iterator[Question]:
    @lru_cache
    def aws_in(region: str) -> Aws:
        if region == aws.region:
            return aws
        return Hasty(region=region, profile=settings.aws.profile, endpoint_url=settings.aws.endpoint_url)

    keys = {project.encryption_key: project.name for project in projects if project.encryption_key}
    for given, name in keys.items():
        aws_in(key_arn(given, account).split(":")[3]).client("kms")
        yield Question(f"key of {name}", partial(trials.key, f"key of {name}", given, aws_in, account))
    logins = RegistryLogins(aws_in, SystemClock())
    for project in projects:
        for what, place in places(project).items():
            yield Question(what, partial(trials.bucket, what, place, aws, account))
        name, own = f"log group of {project.name}", [need for need in wanted if need.who == project.name]
        if (group := log_group(project)) is not None:
            lines = next((need for need in own if "logs:PutLogEvents" in need.actions), None)
            yield Question(name, partial(trials.log_group, name, group, aws, lines))
        yield from _of_variables(project, aws, own)
        if ecr_registry(project.environment.image):
            name = f"image of {project.name}"
            yield Question(name, partial(_image, name, project.environment.image, logins))


def _image(name: str, reference: str, logins: RegistryLogins) -> Iterator[Check]:
    logins.login_for(reference)
    yield Check(name, "ok", f"the registry of {reference} lets this host in")


def _pipeline(settings: Settings, aws: Aws) -> Iterator[Check]:
    for found in ActionTypes(aws).check(action_type(settings), settings.pipeline.pool):
        yield Check(f"pipeline {found.name}", "ok" if found.ok else "fail", found.message, found.remedy)


def _of_variables(project: Project, aws: Aws, own: Sequence[Need]) -> Iterator[Question]:
    for kind, action in _READING.items():
        needed = [need for need in own if action in need.actions]
        if references := _variables(project, kind):
            name = f"variables of {project.name}"
            yield Question(name, partial(_values, name, project, aws, kind, references, needed))
        if kind == "SECRETS_MANAGER" and (given := project.environment.registry_credential):
            name = f"registry of {project.name}"
            yield Question(name, partial(trials.values, name, SecretsManager(aws), [given.credential], needed))


def _values(
    name: str, project: Project, aws: Aws, kind: str, references: Sequence[str], needs: Sequence[Need]
) -> Iterator[Check]:
    """Whether variables can be read by whoever reads them for a build: the service role, where there is one."""
    if role := project.service_role:
        assumed = AssumedRoles(aws)
        try:
            aws = assumed.through(assumed(wish_of(project, role, Identity(aws.region, aws.account).arn)))
        except (AwsRefused, RoleRefused):
            yield Check(name, "skipped", f"they are read as {role}, which cannot be assumed")
            return
    read = ParameterStore(aws) if kind == "PARAMETER_STORE" else SecretsManager(aws)
    yield from trials.values(name, read, references, () if role else needs)


def _variables(project: Project, kind: str) -> list[str]:
    given = (variable.value for variable in project.environment.environment_variables if variable.type == kind)
    return list(dict.fromkeys(given))


def _references(project: Project, kind: str) -> list[str]:
    registry = project.environment.registry_credential if kind == "SECRETS_MANAGER" else None
    return [*_variables(project, kind), *([registry.credential] if registry else ())]
