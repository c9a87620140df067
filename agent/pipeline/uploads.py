"""Uploads: what a build leaves behind on purpose: artifacts and exported variables."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from agent.artifacts.destination import deliver, unpack_to
from agent.artifacts.key import artifact_key
from agent.artifacts.select import select
from agent.aws import Proxies
from agent.buildspec.plan import ArtifactPlan
from agent.container.driver import Expanded, read_expansions
from agent.errors import Unavailable, UploadRefused, UserError
from agent.kit.beyond import Beyond
from agent.model.build import ArtifactRecord, ExportedVariable
from agent.model.cause import Cause
from agent.model.project import Artifacts
from agent.objects.store import ObjectStore
from agent.pipeline import caching, handover, proxy
from agent.pipeline.commands import after_expansions
from agent.pipeline.job import Job
from agent.pipeline.places import source_tree

_EXPORT = "export "


def publish_variables(job: Job) -> None:
    """Store the values of `exported-variables` as they stood after POST_BUILD (buildspec.md 6.5)."""
    names = job.plan.variables.exported
    found = _expanded(job)
    exported = tuple(
        ExportedVariable(name=name, value=value)
        for name in names
        if (value := (found.get(_EXPORT + name) or Expanded("unset")).value) is not None
    )
    for name in names:
        if found.get(_EXPORT + name, Expanded("ok")).state == "unset":
            job.say(f"warning: exported-variables: {name} is not set")
    job.build = job.recorder.save(job.build.evolve(exported=exported))


def upload(job: Job) -> None:
    """Deliver the primary and the secondary artifacts."""
    plan, project = job.plan, job.build.project
    handover.check_outputs(job.build, plan)
    if plan.artifacts is not None:
        record = _one(job, plan.artifacts, project.artifacts)
        job.build = job.recorder.save(job.build.evolve(artifacts=record))
    elif project.artifacts.type != "NO_ARTIFACTS" and job.tools.uploads:
        job.say("warning: the project has artifacts, but the buildspec has no section `artifacts`")
    settings = {item.artifact_identifier: item for item in project.secondary_artifacts}
    records = []
    for secondary in plan.secondary_artifacts:
        where = settings.get(handover.written(job.build, secondary.identifier))
        if where is None and job.tools.artifacts_to is None:
            job.say(f"warning: the project has no secondary artifact {secondary.identifier}; it is left out")
            continue
        record = _one(job, secondary, where or Artifacts(type="S3", artifact_identifier=secondary.identifier))
        records += [record] if record else []
    job.build = job.recorder.save(job.build.evolve(secondary_artifacts=tuple(records)))


def _one(job: Job, artifact: ArtifactPlan, settings: Artifacts) -> ArtifactRecord | None:
    into = job.tools.artifacts_to
    if into is None and (settings.type == "NO_ARTIFACTS" or not job.tools.uploads):
        return None
    found = _expanded(job)
    chosen = expanded_plan(artifact, found)
    with tempfile.TemporaryDirectory(prefix="artifact-", dir=job.paths.scratch) as scratch:
        fetch, links = (lambda path: _fetch(job, path)), caching.linked(job)
        beyond = Beyond(source_tree(job), fetch, Path(scratch), linked=links)
        selection = select(chosen, beyond, job.say, keep_links=artifact.enable_symlinks and settings.packaging == "ZIP")
        if into is not None:
            target = into / artifact.identifier if artifact.identifier else into
            unpack_to(selection, target)
            return ArtifactRecord(location=target.as_uri(), artifact_identifier=artifact.identifier)
        proxies = proxy.for_artifacts(job.build, job.plan, job.tools)
        with _in_codebuilds_words():
            store, key, encryption_key = _destination(job, chosen, settings, proxies)
            return deliver(
                selection,
                settings,
                store,
                key=key,
                build_arn=job.build.arn,
                encryption_key=encryption_key,
                scratch=Path(scratch),
            )


def _destination(
    job: Job, chosen: ArtifactPlan, settings: Artifacts, proxies: Proxies | None
) -> tuple[ObjectStore, str, str | None]:
    """Return the store, the key in it, and the KMS key: the project's, or those that a pipeline's job names."""
    build = job.build
    if settings.type == "CODEPIPELINE":
        output = handover.output_for(build, settings)
        own_key = build.pipeline.encryption_key if build.pipeline else None
        return job.tools.handover(build, output.bucket, proxies), output.key, own_key
    key = artifact_key(
        settings,
        project=build.project.name,
        build_uuid=build.uuid,
        override=chosen.name,
        s3_prefix=chosen.s3_prefix,
    )
    return job.tools.open_store(settings.location or "", proxies), key, build.project.encryption_key


@contextmanager
def _in_codebuilds_words() -> Iterator[None]:
    """Have what goes wrong with an upload begin as CodeBuild begins it (buildspec.md 10.6)."""
    try:
        yield
    except (UploadRefused, Unavailable) as error:
        error.message = f"Error uploading artifacts: {error.message}"
        raise


def expanded_plan(artifact: ArtifactPlan, found: Mapping[str, Expanded]) -> ArtifactPlan:
    """Return *artifact* with its texts as the build's shell expanded them. Raises `UserError` where that failed."""
    owner = artifact.identifier or ""

    def text(name: str) -> str:
        result = found.get(f"{owner} {name}", Expanded("failed"))
        if result.value is None:
            raise UserError(
                f"artifacts: {name} cannot be evaluated",
                hint="look at the variables and commands in it",
                cause=Cause.BUILDSPEC_INVALID,
            )
        return result.value

    return artifact.evolve(
        files=tuple(text(f"file {index}") for index in range(len(artifact.files))),
        exclude_paths=tuple(text(f"exclude {index}") for index in range(len(artifact.exclude_paths))),
        base_directory=text("base") if artifact.base_directory else None,
        s3_prefix=text("prefix") if artifact.s3_prefix else None,
        name=text("name") if artifact.name else None,
    )


def _expanded(job: Job) -> dict[str, Expanded]:
    """Return what the driver evaluated after POST_BUILD; the same list, in the same order, as the plan gave it."""
    return read_expansions(job.paths.control, "after", after_expansions(job))


def _fetch(job: Job, path: str) -> Iterator[bytes] | None:
    return job.tools.engine.copy_out(job.container, path) if job.container else None
