"""Settings: every value of agent.yml, with its meaning, unit and default. Frozen."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, model_validator

from agent.model.duration import Duration
from agent.notify.sns import WANTED as RULE_EVENTS
from agent.settings.credentials import Credential
from agent.settings.housekeeping import DiskSettings, RetentionSettings
from agent.settings.roles import RolesSettings
from agent.settings.section import Section
from agent.triggers.hooks.sns import is_topic

DEFAULT_FILE = Path("/etc/buildspecd/agent.yml")
"""Where agent.yml lies unless `--config` or `BUILDSPECD_CONFIG` says otherwise."""

_LISTEN = re.compile(r"(?P<host>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9_.\-]+):(?P<port>\d{1,5})")


def default_runtime_dir(environ: Mapping[str, str] | None = None) -> Path:
    """Return a directory in memory that this user may write: systemd's, root's, the session's, or shared memory."""
    environ = os.environ if environ is None else environ
    if given := environ.get("RUNTIME_DIRECTORY"):
        return Path(given.partition(":")[0])
    if os.geteuid() == 0:
        return Path("/run/buildspecd")
    if session := environ.get("XDG_RUNTIME_DIR"):
        return Path(session) / "buildspecd"
    return Path(f"/dev/shm/buildspecd-{os.geteuid()}")  # noqa: S108  # memory, so that no secret reaches a disk


def _listen_address(text: str) -> str:
    match = _LISTEN.fullmatch(text)
    if match is None or int(match["port"]) > 65535:
        raise ValueError(f"expected HOST:PORT such as 127.0.0.1:8470 or [::1]:8470, not {text!r}")
    return text


def _event_source(text: str) -> str:
    if text.startswith("aws."):
        raise ValueError("EventBridge keeps sources that start with 'aws.' for AWS itself")
    return text


def _topic(text: str) -> str:
    if not is_topic(text):
        raise ValueError(f"expected the ARN of a topic, arn:aws:sns:REGION:ACCOUNT:NAME, not {text!r}")
    return text


def _rule_event(text: str) -> str:
    if text not in RULE_EVENTS:
        raise ValueError(f"expected one of {', '.join(RULE_EVENTS)}, not {text!r}")
    return text


def _http_url(text: str) -> str:
    if not re.fullmatch(r"https?://[^\s/]+\S*", text):
        raise ValueError(f"expected an http:// or https:// address, not {text!r}")
    return text


def _inner_path(text: str) -> str:
    if text.startswith("/") or ".." in text.split("/"):
        raise ValueError(f"expected a directory in the repository, not {text!r}")
    return text


class AwsSettings(Section):
    """How AWS is reached. Without any of these, botocore's own rules hold (environment, profile, instance role)."""

    region: str | None = None
    """Region such as `eu-central-1`; null: that of the environment, the profile or the instance."""
    profile: str | None = None
    """Profile of `~/.aws/config`; null: botocore's own search."""
    endpoint_url: Annotated[str, AfterValidator(_http_url)] | None = None
    """Address that stands in for every AWS service (tests, private gateways); null: AWS's own."""


class HttpSettings(Section):
    """The HTTP listener."""

    listen: Annotated[str, AfterValidator(_listen_address)] = "127.0.0.1:8470"
    """`HOST:PORT` for the API, hooks, metrics and health. Port 0: any free one."""

    @property
    def host(self) -> str:
        """The address to bind, without brackets."""
        return self.listen.rpartition(":")[0].strip("[]")

    @property
    def port(self) -> int:
        """The TCP port to bind."""
        return int(self.listen.rpartition(":")[2])


class BuildsSettings(Section):
    """How builds run on this host."""

    max_concurrent: int = Field(default=2, ge=1, le=1000)
    """Builds that run at once on this host; the others wait in the queue."""
    stop_grace: Duration = Field(default=10.0, ge=0, le=3600)
    """How long the processes of a stopped or timed-out build have between TERM and KILL."""


class HostSettings(Section):
    """What is done when this host goes away."""

    watch_interruptions: Literal["auto", "off"] = "auto"
    """`auto`: where an EC2 metadata service answers, it is asked every 5 seconds for Spot interruptions and for what
    Auto Scaling wants with the instance; `off`: never."""
    lifecycle_hook: str | None = Field(default=None, min_length=1, max_length=255)
    """Name of the lifecycle hook of the Auto Scaling group that is answered; null: each on the end of an instance."""
    vpc: Literal["require", "warn", "ignore"] = "warn"
    """Where this host does not stand in the VPC of a project's `vpcConfig`: its builds fail, their log says so, or
    nothing. `agent.vpc` of a project wins. A change is taken up after a restart."""
    lifecycle_grace: Duration = Field(default=3600.0, ge=0, le=172800)
    """How long running builds may go on after Auto Scaling wants the instance, while its lifecycle hook waits."""


class GitSettings(Section):
    """How git servers are reached, and how their repositories are checked out."""

    ca_file: Path | None = None
    """PEM file of certificate authorities that git servers are believed by, beside the system's own; null: none."""
    spare_trees: Duration = Field(default=604800.0, ge=0, le=31536000)
    """How long a spare work tree of a repository of 2,000 files or more waits for the checkout that takes it, one a
    repository; 0: none are made, and such checkouts take two to three times as long."""


class PollSettings(Section):
    """Watching repositories by asking them."""

    every: Duration = Field(default=30.0, ge=1, le=604800)
    """Pause between two looks at a repository, for projects without `agent.poll` of their own."""
    slowest: Duration = Field(default=120.0, ge=0, le=604800)
    """Pause to which that grows where nothing happens for long (a fortieth of the time since the last change); not
    above `every`: it never grows. `agent.poll` of a project is taken as it stands."""


class ConfigSourceSettings(Section):
    """A git repository whose settings and projects this agent follows; the agent.yml of the host stays below them."""

    url: str | None = Field(default=None, min_length=1)
    """Address of the repository; null (here or for the whole section): the projects are those of `projects_dir`."""
    branch: str | None = Field(default=None, min_length=1)
    """Branch that is followed; null: the repository's default branch."""
    path: Annotated[str, AfterValidator(_inner_path)] = ""
    """Directory in the repository that holds `projects.d`, and an `agent.yml` if there is one; empty: the topmost."""


class QueueSettings(Section):
    """AWS events from SQS: CodeCommit and S3, through EventBridge or S3's own notifications."""

    url: Annotated[str, AfterValidator(_http_url)] | None = None
    """URL of the queue, which must lie in the region of `aws.region`; null (here or for the whole section): no queue is
    read."""
    wait: Duration = Field(default=20.0, ge=0, le=20)
    """How long one question waits for a message."""


class WebhooksSettings(Section):
    """Webhooks of git hosts, at `/hooks/github`, `/hooks/github_enterprise`, `/hooks/bitbucket` and `/hooks/gitlab`;
    AWS events that SNS delivers, at `/hooks/sns`."""

    allow_unsigned: bool = False
    """Whether a project with a `webhook` but no `secret` takes deliveries that nobody signed: whoever reaches the HTTP
    listener then starts its builds."""
    sns_topics: tuple[Annotated[str, AfterValidator(_topic)], ...] = ()
    """ARNs of the topics of Amazon SNS that may deliver to `/hooks/sns`; their subscriptions are confirmed. Empty: none
    may."""


class PipelineActionSettings(Section):
    """The custom action type whose jobs are done; `buildspecd pipeline install` creates it."""

    category: Literal["Build", "Test"] = "Build"
    """Category of the action: Build or Test."""
    provider: str | None = Field(default=None, min_length=1, max_length=35, pattern=r"^[0-9A-Za-z_-]+$")
    """Provider of the action; null: no pipeline is worked for. A change is taken up after a restart."""
    version: str = Field(default="1", min_length=1, max_length=9, pattern=r"^[0-9A-Za-z_-]+$")
    """Version of the action, a text."""


class PipelineSettings(Section):
    """Jobs of AWS CodePipeline, for which this agent is the job worker of a custom action."""

    action: PipelineActionSettings = PipelineActionSettings()
    """The action type."""
    pool: str | None = Field(default=None, min_length=1, max_length=20, pattern=r"^[0-9A-Za-z_-]+$")
    """Jobs whose action names this `Pool` are taken; null: those of every pool."""
    every: Duration = Field(default=5.0, ge=1, le=3600)
    """Pause between two questions for jobs while there are places for builds; without one nobody asks."""
    continue_after: Duration | None = Field(default=72000.0, ge=60, le=129600)
    """How long a build runs before its job is handed back with a continuation token, so that the action does not run
    out of its time (24 hours); null: never."""


class MetricsSettings(Section):
    """Figures of builds and of the agent, to CloudWatch and for Prometheus."""

    namespace: str | None = Field(default="buildspecd", min_length=1, max_length=255, pattern=r"^[0-9A-Za-z.\-_/#:]+$")
    """CloudWatch namespace; null (here or for the whole section): no metrics are sent, nor where AWS credentials are
    missing."""
    agent_name: str | None = Field(default=None, min_length=1, max_length=255, pattern=r"^[!-~]+$")
    """Value of the dimension `AgentName` of the agent's own figures (heartbeat, queue, disk); null: the host's name."""
    per_build: bool = False
    """Whether what a build uses (CPU, memory, storage) is sent for each build by itself, too, as CodeBuild does. Each
    figure of each build is then a metric that CloudWatch charges for."""
    prometheus: bool = True
    """Whether the HTTP listener shows the figures at `/metrics`, for Prometheus; with or without AWS."""


class EventsSettings(Section):
    """Events in the shape of CodeBuild's own, to EventBridge and to SNS."""

    bus: str | None = Field(default="default", min_length=1, max_length=1600)
    """Name or ARN of the event bus; null (here or for the whole section): no events are sent, nor where AWS credentials
    are missing."""
    source: Annotated[str, AfterValidator(_event_source)] = Field(default="buildspecd", min_length=1, max_length=256)
    """`source` of the events; rules match on it. AWS refuses those that start with `aws.`."""
    topic: Annotated[str, AfterValidator(_topic)] | None = None
    """ARN of a topic of Amazon SNS, standard or FIFO, that gets the same events directly; null: none does."""
    topic_events: tuple[Annotated[str, AfterValidator(_rule_event)], ...] = ()
    """Which events the topic gets, by the ids of CodeBuild's notification rules, such as
    `codebuild-project-build-state-failed`; empty: all."""


class ImagesSettings(Section):
    """Build images."""

    rewrite: dict[str, str] = Field(default={"aws/codebuild/": "public.ecr.aws/codebuild/"})
    """Start of an image name -> what stands in its place; the longest start that fits wins. The names of AWS's curated
    images cannot be pulled, their copies in the public gallery can."""


class LogSettings(Section):
    """The daemon's own log, on standard error. Logs of builds go elsewhere."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    """Least severe entry that is written."""
    format: Literal["auto", "json", "console"] = "auto"
    """`json`: one object a line; `console`: for eyes; `auto`: console on a terminal, else json."""


class Settings(Section):
    """Settings of one buildspecd agent. Relative paths start at the directory of the file."""

    state_dir: Path = Path("/var/lib/buildspecd")
    """Directory of the database, mirrors and workspaces. Docker must see it under the same path."""
    runtime_dir: Path = Field(default_factory=default_runtime_dir, json_schema_extra={"type": ["string", "null"]})
    """Directory in memory (tmpfs) for the secrets of running builds; null: systemd's RuntimeDirectory, /run/buildspecd
    for root, else $XDG_RUNTIME_DIR/buildspecd, else one in /dev/shm."""
    projects_dir: Path = Path("projects.d")
    """Directory of project files: *.yml, *.yaml, *.json."""
    config_source: ConfigSourceSettings = ConfigSourceSettings()
    """The git repository that settings and projects come from, if any."""
    aws: AwsSettings = AwsSettings()
    """How AWS is reached."""
    http: HttpSettings = HttpSettings()
    """The HTTP listener."""
    builds: BuildsSettings = BuildsSettings()
    """How builds run on this host."""
    host: HostSettings = HostSettings()
    """What is done when this host goes away."""
    roles: RolesSettings = RolesSettings()
    """What builds may do in AWS."""
    git: GitSettings = GitSettings()
    """How git servers are reached, and how their repositories are checked out."""
    credentials: tuple[Credential, ...] = ()
    """With what the repositories of each host are opened; CodeCommit needs nothing here: the role of this host does."""
    poll: PollSettings = PollSettings()
    """Watching repositories by asking them."""
    queue: QueueSettings = QueueSettings()
    """AWS events from SQS."""
    webhooks: WebhooksSettings = WebhooksSettings()
    """Webhooks of git hosts."""
    pipeline: PipelineSettings = PipelineSettings()
    """Jobs of AWS CodePipeline."""
    metrics: MetricsSettings = MetricsSettings()
    """Figures of builds and of the agent, to CloudWatch and for Prometheus."""
    events: EventsSettings = EventsSettings()
    """Events in the shape of CodeBuild's own, to EventBridge and to SNS."""
    images: ImagesSettings = ImagesSettings()
    """Build images."""
    retention: RetentionSettings = RetentionSettings()
    """What is kept of ended builds, and for how long."""
    disk: DiskSettings = DiskSettings()
    """How much of the disk builds may have."""
    log: LogSettings = LogSettings()
    """The daemon's own log."""

    @model_validator(mode="before")
    @classmethod
    def _null_is_off(cls, data: Any) -> Any:
        """Take `metrics`, `events` or `queue` that is null as off; other sections left empty keep their defaults."""
        if not isinstance(data, dict):
            return data
        data = {name: value for name, value in data.items() if name != "credentials" or value is not None}
        off = {"metrics": {"namespace": None}, "events": {"bus": None}, "queue": {"url": None}}
        return {name: off.get(name, value) if value is None else value for name, value in data.items()}

    def anchored(self, directory: Path) -> Settings:
        """Return the settings with every relative path made absolute, starting at *directory*."""
        paths = {name: directory / getattr(self, name) for name in ("state_dir", "runtime_dir", "projects_dir")}
        ca_file = self.git.ca_file and directory / self.git.ca_file
        credentials = tuple(
            entry.model_copy(update={"known_hosts": directory / entry.known_hosts}) if entry.known_hosts else entry
            for entry in self.credentials
        )
        git = self.git.model_copy(update={"ca_file": ca_file})
        return self.model_copy(update={**paths, "git": git, "credentials": credentials})


def setting_names(model: type[Section] = Settings, prefix: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """Return the path of every setting, `("builds", "max_concurrent")` for one, in the order of the schema."""
    names: list[tuple[str, ...]] = []
    for name, field in model.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, Section):
            names += setting_names(kind, (*prefix, name))
        else:
            names.append((*prefix, name))
    return names
