"""A build with something in every place, and what a whole build tells."""

from __future__ import annotations

from agent.model.build import ArtifactRecord, Build, ExportedVariable, LogRecord
from agent.model.event import BuildEvent
from agent.model.phase import PhaseContext, PhaseType
from agent.model.project import (
    Cache,
    Environment,
    EnvironmentVariable,
    FileSystem,
    Project,
    Source,
    SourceVersion,
    VpcConfig,
)
from agent.model.status import Status
from tests.unit.store.samples import NOON, a_build, a_project, finished, left, started

FAILURE = PhaseContext(
    status_code="COMMAND_EXECUTION_ERROR",
    message="Error while executing command: make test. Reason: exit status 2",
)


def a_full_project() -> Project:
    """Return a project with something in every place that an event tells of."""
    return a_project(
        "web",
        source=Source(
            type="GITHUB", location="https://alice:s3cret@github.com/acme/web.git", buildspec="ci/buildspec.yml"
        ),
        secondary_sources=(Source(type="S3", location="acme-inputs/data.zip", source_identifier="data"),),
        secondary_source_versions=(SourceVersion(source_identifier="data", source_version="v7"),),
        cache=Cache(type="S3", location="acme-cache/web"),
        environment=Environment(
            image="aws/codebuild/standard:7.0",
            privileged_mode=True,
            environment_variables=(
                EnvironmentVariable(name="STAGE", value="test"),
                EnvironmentVariable(name="DB_PASSWORD", value="/prod/db/password", type="PARAMETER_STORE"),
                EnvironmentVariable(name="TOKEN", value="ci/token:key", type="SECRETS_MANAGER"),
            ),
        ),
        timeout_in_minutes=30.5,
        vpc_config=VpcConfig(vpc_id="vpc-1", subnets=("subnet-1", "subnet-2"), security_group_ids=("sg-1",)),
        file_system_locations=(
            FileSystem(location="fs-1.efs.us-west-2.amazonaws.com:/", mount_point="/mnt/efs", identifier="efs"),
        ),
    )


def a_full_build() -> Build:
    """Return a build that waits in the queue, with something in every place."""
    return a_build(
        7,
        project=a_full_project(),
        source_version="refs/heads/main",
        overrides=(EnvironmentVariable(name="STAGE", value="hunter2"),),
        exported=(ExportedVariable(name="VERSION", value="1.2.3"),),
        artifacts=ArtifactRecord(location="arn:aws:s3:::acme-out/web.zip", md5sum="d41d", sha256sum="e3b0"),
        secondary_artifacts=(ArtifactRecord(location="arn:aws:s3:::acme-out/docs", artifact_identifier="docs"),),
        logs=LogRecord(group_name="/aws/codebuild/web", stream_name="00000007-0000-4000-8000-000000000000"),
    )


def told_by(build: Build, status: Status = Status.SUCCEEDED, red: PhaseType = PhaseType.BUILD) -> list[BuildEvent]:
    """Return all events of a build, whose phase *red* ends with *status*; each phase takes 1.5 seconds."""
    events = [started(build)]
    at = build.start_time
    for kind in list(PhaseType)[1:-1]:
        at += 1.5
        build = build.entered(kind, at)
        bad = kind is red and status is not Status.SUCCEEDED
        event = left(build, at, status if bad else Status.SUCCEEDED, FAILURE if bad else None)
        events.append(event)
        build = event.build
    final = Status.FAILED if status is Status.TIMED_OUT else status
    return [*events, finished(build, at, final)]


def a_red_phase() -> BuildEvent:
    """Return the event that the BUILD phase of the full build failed."""
    build = a_full_build().left(NOON, Status.SUCCEEDED)
    build = build.entered(PhaseType.PROVISIONING, NOON).left(NOON + 3.9, Status.SUCCEEDED)
    return left(build.entered(PhaseType.BUILD, NOON + 3.9), NOON + 30.9, Status.FAILED, FAILURE)


def a_red_end() -> BuildEvent:
    """Return the event that the full build has failed."""
    return finished(a_red_phase().build, NOON + 31, Status.FAILED)
