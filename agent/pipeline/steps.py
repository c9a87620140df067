"""The steps of a build's route, in their order. Each looks for its finished work, then attaches, then starts."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from agent.buildlog.transcript import LogTotals
from agent.buildspec.make import make_plan
from agent.container import breakpoints, driver
from agent.container.engine import Engine
from agent.container.image import ensure_image, pull_reference
from agent.container.limits import limits_for, share_of_processes
from agent.container.spec import ContainerSpec, Mount
from agent.environment.builtin import BuildFacts, builtin_variables, compose
from agent.environment.resolve import resolve
from agent.errors import EngineUnavailable
from agent.kit.files import write_atomic
from agent.kit.logging import get_logger
from agent.model.build import Build, LogRecord
from agent.model.phase import PhaseContext, PhaseType
from agent.model.project import Source, SourceVersion
from agent.model.status import Status
from agent.pipeline import (
    caching,
    commands,
    deaths,
    handover,
    judgement,
    landing,
    lines,
    localcache,
    logins,
    masks,
    preflight,
    reporting,
    rerun,
    roles,
    runtimes,
    uploads,
    vpc,
)
from agent.pipeline.job import Job
from agent.pipeline.places import MOUNTED, read_buildspec, source_dirs
from agent.pipeline.prefetch import Prefetch
from agent.source.sources import Revision
from agent.source.version import pinned

_log = get_logger("pipeline")


def provision(job: Job) -> None:
    """PROVISIONING: have the image, and a container whose driver waits for its plan."""
    build, tools, paths = job.build, job.tools, job.paths
    rerun.clear(job, reclaim)
    roles.admit(job)
    job.container = tools.engine.find(build.id)
    if job.container is None or not paths.control.is_dir():
        vpc.check(job)
        preflight.ahead(job)
        if warning := tools.guard.check(build.project.environment.privileged_mode):
            job.say(warning)
        for directory in (paths.workspace, paths.scratch, paths.secrets, paths.handed):
            directory.mkdir(parents=True, exist_ok=True, mode=0o755 if directory is paths.workspace else 0o700)
        masks.invite(paths)
        driver.prepare_control(paths.control)
        if build.project.agent.debug:
            breakpoints.allow(paths.control, build.id)
        image = have_image(job)
        localcache.take(job, image)
        if job.prefetch is None and not job.has_plan:
            job.prefetch = Prefetch(partial(_fetch_primary, job), lambda: job.unwanted)
            job.prefetch.start()
        deaths.note(job)
        job.container = tools.engine.create(container_spec(job, image))
    tools.engine.start(job.container)
    tools.guard.see(job.container)
    roles.enter(job, job.container)
    preflight.inside(job)


def have_image(job: Job) -> str:
    """Make the build's image present; return the name under which it is."""
    environment, tools = job.build.project.environment, job.tools
    reference = ensure_image(
        tools.engine,
        environment.image,
        policy=job.build.project.agent.pull,
        login=lambda reference: tools.login(environment, reference),
        progress=job.progress,
        rewrites=tools.rewrites,
        pulling=tools.images.pulling,
    )
    tools.images.had(reference)
    return reference


def container_spec(job: Job, image: str) -> ContainerSpec:
    """Return what is asked of the engine; nothing in it is secret (service.md 1.6)."""
    build, project = job.build, job.build.project
    environment = project.environment
    resources, pids = project.agent.resources, share_of_processes()
    limits = limits_for(environment.compute_type, resources, environment.compute_configuration, pids=pids)
    git_sources = (project.source, *project.secondary_sources)
    return ContainerSpec(
        build_id=build.id,
        agent_id=job.tools.agent_id,
        image=image,
        command=driver.COMMAND,
        working_dir="/",
        mounts=(
            Mount(job.paths.control, driver.CONTROL_TARGET),
            Mount(job.paths.control / "user", driver.USER_TARGET),
            Mount(job.paths.handed, driver.SECRETS_TARGET),
            Mount(job.paths.workspace, f"{build.source_root}/{MOUNTED}"),
            *(Mount(path, str(path), read_only=True) for path in job.tools.sources.mounts(git_sources)),
            *localcache.mounts(job),
        ),
        tmpfs={driver.SCRATCH_TARGET: driver.SCRATCH_OPTIONS},
        network=project.agent.network,
        memory=limits.memory,
        cpus=limits.cpus,
        pids=limits.pids,
        privileged=environment.privileged_mode,
        cgroup_parent=job.tools.guard.parent(),
    )


def check_out(job: Job) -> None:
    """DOWNLOAD_SOURCE: every source at one exact commit, and the buildspec turned into the plan."""
    build, project = job.build, job.build.project
    for line in lines.OPENING:
        job.say(line)
    places = source_dirs(build)
    revision = _primary(job)
    landing.land(landing.berth(job, None), job.paths.workspace, places[None].below)
    versions = {item.source_identifier: item.source_version for item in project.secondary_source_versions}
    for source in project.secondary_sources:
        identifier = source.source_identifier or ""
        found = _fetch(job, source, versions.get(identifier))
        landing.land(landing.berth(job, identifier), job.paths.workspace, places[identifier].below)
        if found.version:
            versions[identifier] = found.version
    job.build = job.recorder.save(fetched(build, revision, versions))
    for line in lines.sources_there({name: place.container for name, place in places.items()}):
        job.say(line)
    text, name, location = read_buildspec(job)
    job.say(f"YAML location is {location}")
    plan = make_plan(text, name=name, location=location)
    write_atomic(job.paths.plan, plan.model_dump_json().encode())
    for line in lines.plan_read(plan):
        job.say(line)
    for line in lines.higher_timeout((project.source, *project.secondary_sources)):
        job.say(line)


def fetched(build: Build, revision: Revision, versions: Mapping[str, str]) -> Build:
    """Return *build* with what its sources turned out to be: commit and ref of git's, version ids of S3's. Pure."""
    named = tuple(SourceVersion(source_identifier=name, source_version=value) for name, value in versions.items())
    return build.evolve(
        resolved_source_version=revision.sha,
        source_ref=build.source_ref or revision.ref,
        source_version=revision.version or build.source_version,
        project=build.project.evolve(secondary_source_versions=named),
    )


def _fetch(job: Job, source: Source, version: str | None) -> Revision:
    directory = landing.berth(job, source.source_identifier)
    return job.tools.sources.fetch(
        source,
        version,
        directory,
        job.say,
        check=job.check,
        scratch=job.paths.scratch,
        certificate=job.build.project.environment.certificate,
        fetcher=handover.fetcher(job, source),
    )


def _fetch_primary(job: Job, say: Callable[[str], None], check: Callable[[], None]) -> Revision:
    build, scratch = job.build, job.paths.scratch
    directory = landing.berth(job, None)
    version = pinned(build.source_version, build.resolved_source_version)
    return job.tools.sources.fetch(
        build.project.source,
        version,
        directory,
        say,
        ref=build.source_ref,
        check=check,
        scratch=scratch,
        certificate=build.project.environment.certificate,
        fetcher=handover.fetcher(job, build.project.source),
    )


def _primary(job: Job) -> Revision:
    head_start, job.prefetch = job.prefetch, None
    return (head_start and head_start.result(job.say)) or _fetch_primary(job, job.say, job.check)


def resolve_environment(job: Job) -> None:
    """DOWNLOAD_SOURCE: the variables of the build, into a file on a tmpfs that the driver reads once."""
    build = job.build
    choices = commands.choices_of(job)
    job.say("Processing environment variables")
    if choices.has_parameters:
        job.say("Decrypting parameter store environment variables")
    for warning in choices.warnings:
        job.say(f"warning: {warning}")
    environment = resolve(choices, *roles.stores(job))
    job.lay_log()
    masks.keep(job, environment.secrets)
    places = source_dirs(build)
    facts = BuildFacts(job.tools.region, {name: place.container for name, place in places.items()})
    builtins = builtin_variables(build, facts) | roles.variables(job, environment.variables)
    variables = compose(environment, builtins)
    set_up = runtimes.choose(job, have_container(job), variables)
    gitconfig = logins.hand_out(job)
    driver.write_environment(job.paths.handed / driver.ENVIRONMENT_FILE, variables)
    commands.write_plan(job, set_up, gitconfig)
    runtimes.keep(job, set_up)
    if not set_up:  # else the driver says it
        job.say(f"Moving to directory {places[None].container}")


def have_container(job: Job) -> str:
    """Return the container, made anew if it was lost while nobody looked, or waits with another version's driver."""
    container = job.container or job.tools.engine.find(job.build.id)
    if container is not None and driver.is_foreign(job.paths.control):
        job.tools.engine.remove(container)
        container = None
    if container is None:
        driver.forget(job.paths.control)
        provision(job)
    return container or job.container or ""


def restore_cache(job: Job) -> None:
    """DOWNLOAD_SOURCE: put back what an earlier build saved; a cache never fails a build."""
    if job.container is None and not commands.lives(job):
        provision_anew(job)
    preflight.settle(job)
    know_secrets(job)
    caching.restore(job)
    for line in lines.phases_found(job.plan):
        job.say(line)


def run_phases(job: Job) -> None:
    """INSTALL to POST_BUILD: let the driver go, or attach to it, and follow what it does until its end."""
    know_secrets(job)
    commands.run(job, start_over)


def know_secrets(job: Job) -> None:
    """Have the values that must not be shown, also after the host was started anew."""
    if not masks.are_known(job):
        masks.keep(job, resolve(commands.choices_of(job), *roles.stores(job)).secrets)
        logins.renew(job)


def start_over(job: Job) -> None:
    """Do again what a lost container took with it, for a build of which no command had begun."""
    provision_anew(job)
    caching.restore(job)


def provision_anew(job: Job) -> None:
    """Replace a container that is dead or gone, and whatever its driver had written and read."""
    dead = job.container or job.tools.engine.find(job.build.id)
    if dead:
        job.tools.engine.remove(dead)
    driver.forget(job.paths.control)
    provision(job)
    if not (job.paths.handed / driver.ENVIRONMENT_FILE).exists():
        resolve_environment(job)


def save_cache(job: Job) -> None:
    """POST_BUILD, its commands over: keep the cache, if the build is green."""
    if post_build_outcome(job)[0] is Status.SUCCEEDED and job.verdict is Status.IN_PROGRESS:
        caching.save(job)


def upload_artifacts(job: Job) -> None:
    """UPLOAD_ARTIFACTS: what the buildspec names goes to its destination; exported variables are published."""
    uploads.publish_variables(job)
    uploads.upload(job)


def collect_reports(job: Job) -> None:
    """UPLOAD_ARTIFACTS: what the result files of tests and coverage say becomes reports."""
    know_secrets(job)
    reporting.collect(job)


def finish(job: Job) -> None:
    """FINALIZING: nothing is left but the plan and the log, and the log is where it belongs."""
    try:
        make_room(job)
    finally:
        totals = job.transcript.close(job.tools.log_patience, hurry=job.letting_go)
        job.build = job.recorder.save(job.build.evolve(logs=log_record(job.build, totals)))


def make_room(job: Job) -> None:
    """Remove all of a build that has ended but its log; what an engine that is away prevents is left to the janitor."""
    if job.prefetch is not None:
        job.prefetch.abandon()  # it must not write into what is removed now
    roles.dismiss(job)
    shutil.rmtree(job.paths.secrets, ignore_errors=True)
    try:
        clear_away(job)
    except (EngineUnavailable, OSError) as error:  # the build is over, and good or bad without this
        _log.warning("the janitor will clear away this build", build=job.build.id, error=str(error))


def clear_away(job: Job) -> None:
    """Remove the container, and the directories that only a running build needs. Raises `EngineUnavailable`."""
    container = job.container or job.tools.engine.find(job.build.id)
    if container:
        job.tools.engine.remove(container)
    localcache.give_back(job)
    passing = (job.paths.control, job.paths.scratch)
    for directory in passing if job.keeps_workspace else (job.paths.workspace, *passing):
        reclaim(job, directory)
    for aside in job.paths.root.glob(".plan.json.*"):
        aside.unlink()


def log_record(build: Build, totals: LogTotals) -> LogRecord:
    """Return the record of a log with how it stands now; a sink that is not asked any more keeps its count."""
    return build.logs.evolve(
        bytes=totals.bytes,
        lines=totals.lines,
        delivered={**build.logs.delivered, **totals.delivered},
        delivered_lines={**build.logs.delivered_lines, **totals.delivered_lines},
        gaps=(*(gap for gap in build.logs.gaps if gap.sink not in totals.delivered), *totals.gaps),
        maybe_twice=(
            *(gap for gap in build.logs.maybe_twice if gap.sink not in totals.delivered),
            *totals.maybe_twice,
        ),
        problems=totals.problems,
    )


def reclaim(job: Job, directory: Path) -> None:
    """Remove a tree that the build wrote, as root maybe."""
    reclaim_tree(job.tools.engine, directory, job.build.project.environment.image, job.tools.rewrites)


def reclaim_tree(engine: Engine, directory: Path, image: str, rewrites: Mapping[str, str]) -> None:
    """Remove *directory*; what this user may not remove, a container of *image* may. Safe when it is not there.

    Raises `ImageUnavailable` where it would take an image that is not on the host, under neither of its names.
    """
    shutil.rmtree(directory, ignore_errors=True)
    if directory.exists() and image:
        present = image if engine.has_image(image) else pull_reference(image, rewrites)
        engine.shell(present, "rm -rf /reclaim/* /reclaim/.[!.]* /reclaim/..?*", {str(directory): "/reclaim"})
        shutil.rmtree(directory, ignore_errors=True)


def succeeded(_: Job) -> tuple[Status, PhaseContext]:
    """Return how the phase of a step that went well ends."""
    return Status.SUCCEEDED, PhaseContext()


def post_build_outcome(job: Job) -> tuple[Status, PhaseContext]:
    """Return how POST_BUILD's own commands ended, as the journal says."""
    return judgement.outcome_of(job, PhaseType.POST_BUILD)


def uploads_follow(job: Job) -> bool:
    """Whether UPLOAD_ARTIFACTS is met: the commands came to their end, uncut and without an ABORT."""
    last = job.build.phase(PhaseType.POST_BUILD)
    if last is None or last.phase_status not in (Status.SUCCEEDED, Status.FAILED):
        return False
    if not job.has_plan:
        return True  # it was there; that it cannot be read any more is for the step to say
    aborts = next(item for item in job.plan.phases if item.phase is PhaseType.POST_BUILD).on_failure.action == "ABORT"
    return not (aborts and last.phase_status is Status.FAILED)


def say_phase_end(job: Job, phase: PhaseType, status: Status, context: PhaseContext) -> None:
    """Write the lines that end *phase* into the log."""
    for line in lines.phase_end(phase, status, context):
        job.say(line)
