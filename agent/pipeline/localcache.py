"""Local cache: what of a project's LOCAL cache one build sees, and when it has it (buildspec.md 11.5)."""

from __future__ import annotations

from collections.abc import Mapping

from agent.cache.local import SCRIPT, directory_of, folder_of, tell
from agent.container.driver import CONTROL_TARGET, Expanded, Expansion
from agent.container.spec import Mount
from agent.container.words import quote, variables_only
from agent.kit.files import write_atomic
from agent.kit.logging import get_logger
from agent.model.build import CacheRecord
from agent.model.project import Project
from agent.pipeline.job import Job
from agent.pipeline.places import MOUNTED, source_dirs

_log = get_logger("pipeline")
TARGET = "/codebuild/local-cache/custom"
"""Where the container sees the directories that LOCAL_CUSTOM_CACHE keeps."""
DOCKER_TARGET = "/var/lib/docker"


def keeps_custom(project: Project) -> bool:
    """Whether the directories that the buildspec names are kept on this host."""
    return project.cache.type == "LOCAL" and "LOCAL_CUSTOM_CACHE" in project.cache.modes


def keeps_docker(project: Project) -> bool:
    """Whether the layers of the build's own Docker daemon are kept on this host."""
    wanted = project.cache.type == "LOCAL" and "LOCAL_DOCKER_LAYER_CACHE" in project.cache.modes
    return wanted and project.environment.privileged_mode


def take(job: Job, image: str) -> None:
    """Have a slot of the project's caches, before the container of *image* is made; without room it goes on cold."""
    project = job.build.project
    if keeps_custom(project):
        write_atomic(job.paths.control / SCRIPT.name, SCRIPT.read_bytes(), sync=False)
    if keeps_custom(project) or keeps_docker(project):
        try:
            job.tools.caches.take(project.name, job.build.id, image)
        except OSError as error:
            _log.warning("no local cache for a build", build=job.build.id, error=str(error))


def mounts(job: Job) -> tuple[Mount, ...]:
    """Return what the container sees of the slot that the build has taken."""
    project = job.build.project
    slot = job.tools.caches.held(project.name, job.build.id) if project.cache.type == "LOCAL" else None
    if slot is None:
        return ()
    custom = (Mount(slot.custom, TARGET),) if keeps_custom(project) else ()
    return (*custom, Mount(slot.docker, DOCKER_TARGET)) if keeps_docker(project) else custom


def give_back(job: Job) -> None:
    """Let another build have the slot; the container must be gone. Safe when the build has none."""
    project = job.build.project
    if slot := job.tools.caches.held(project.name, job.build.id) if project.cache.type == "LOCAL" else None:
        job.tools.caches.free(slot, job.build.id)


def links(job: Job) -> tuple[Expansion, ...]:
    """Return what the driver runs before INSTALL so that the cache's paths become symlinks into the slot."""
    plan = job.plan.cache
    if plan is None or not keeps_custom(job.build.project):
        return ()
    script, sources = f"{CONTROL_TARGET}/{SCRIPT.name}", f"{job.build.source_root}/{MOUNTED}"
    checkouts = [place.container for place in source_dirs(job.build).values()]

    def command(path: str) -> str:
        before = ("/bin/sh", script, TARGET, folder_of(path))
        return " ".join((*map(quote, before), variables_only(directory_of(path)), *map(quote, (sources, *checkouts))))

    return tuple(Expansion(f"link {index}", command(path)) for index, path in enumerate(plan.paths))


def restore(job: Job, found: Mapping[str, Expanded]) -> CacheRecord:
    """Say what the project's LOCAL cache does for this build; *found* is what came of the driver's expansions."""
    project, plan = job.build.project, job.plan.cache
    if "LOCAL_DOCKER_LAYER_CACHE" in project.cache.modes and not keeps_docker(project):
        job.say("warning: LOCAL_DOCKER_LAYER_CACHE needs environment.privilegedMode; Docker layers are not kept")
    if plan is None or not plan.paths:
        if plan is None:
            job.say("Cache is not defined in the buildspec")
        job.say("Skip cache due to: no paths specified to be cached")
        return CacheRecord()
    if not keeps_custom(project):
        job.say("Skip cache due to: the project's LOCAL cache has no mode LOCAL_CUSTOM_CACHE")
        return CacheRecord()
    given = {"key": plan.key, "fallback-keys": plan.fallback_keys, "action": plan.action != "both"}
    ignored = [f"cache.{name}" for name, value in given.items() if value]
    if ignored:
        job.say(f"warning: {', '.join(ignored)}: without effect on a LOCAL cache")
    expanded = [found[f"path {index}"].value for index in range(len(plan.paths))]
    for path in expanded:
        job.say(f"Expanded cache path {path or ''}")
    outcome = tell([found[f"link {index}"].value for index in range(len(plan.paths))], job.say)
    return CacheRecord(restored=outcome.restored)
