"""Caching: the cache of a build, between its buildspec's paths and the project's store."""

from __future__ import annotations

from collections.abc import Iterator
from typing import IO

from agent.buildspec.plan import CachePlan
from agent.cache import restore as restoring
from agent.cache import save as saving
from agent.cache.local import linked_paths
from agent.cache.shelf import Shelf
from agent.cache.unarchive import Put
from agent.container.driver import Expanded, read_expansions
from agent.kit.beyond import Fetch
from agent.model.build import CacheRecord
from agent.objects.store import Encryption
from agent.pipeline import commands, localcache
from agent.pipeline.job import Job
from agent.pipeline.places import source_tree
from agent.pipeline.preparation import prepare


def restore(job: Job) -> None:
    """Put back what an earlier build saved. A cache never fails a build: what goes wrong is a line in the log."""
    wanted = job.build.project.cache
    if commands.holds(job.plan):
        prepare(job)
    if wanted.type == "LOCAL":
        record = localcache.restore(job, found_by_driver(job))
        job.build = job.recorder.save(job.build.evolve(cache=record))
        return
    generation = job.tools.caches.generation(job.build.project.name)
    job.build = job.build.evolve(cache=CacheRecord(generation=generation))
    plan = plan_of(job)
    if plan and not plan.key and job.plan.cache and job.plan.cache.key:
        job.say("warning: cache.key cannot be evaluated; nothing is cached")
    outcome = restoring.restore(shelf_of(job), plan, source_tree(job), job.paths.scratch, job.say, _put(job))
    record = job.build.cache.evolve(restored=outcome.restored, files=outcome.files)
    job.build = job.recorder.save(job.build.evolve(cache=record))


def save(job: Job) -> None:
    """Keep what the build left in the cache's paths, unless it is what was restored. A LOCAL cache is kept as it is."""
    if job.build.project.cache.type == "LOCAL":
        return
    saved = saving.save(shelf_of(job), plan_of(job), source_tree(job), job.paths.scratch, job.say, _fetch(job))
    job.build = job.recorder.save(job.build.evolve(cache=job.build.cache.evolve(saved=saved)))


def shelf_of(job: Job) -> Shelf | None:
    """Return where the project keeps its caches; None when it keeps none."""
    project = job.build.project
    if project.cache.type != "S3" or not project.cache.location:
        return None
    return Shelf(
        job.tools.open_store(project.cache.location),
        project.name,
        namespace=project.cache.cache_namespace,
        generation=job.build.cache.generation,
        encryption=Encryption(key=project.encryption_key),
    )


def plan_of(job: Job) -> CachePlan | None:
    """Return the `cache` section with its texts as the build's shell expanded them; a text that failed is left out.

    Without the key that it asks for, nothing is cached: the copy that everybody shares would be the wrong one.
    """
    plan = job.plan.cache
    if plan is None:
        return None
    found = found_by_driver(job)

    def texts(kind: str, count: int) -> tuple[str, ...]:
        values = (found[f"{kind} {index}"].value for index in range(count) if f"{kind} {index}" in found)
        return tuple(value for value in values if value)

    key = found["key"].value if "key" in found else None
    return plan.evolve(
        paths=texts("path", len(plan.paths)) if key or not plan.key else (),
        key=key,
        fallback_keys=texts("fallback", len(plan.fallback_keys)),
    )


def linked(job: Job) -> tuple[str, ...]:
    """Return the directories that are links into a LOCAL cache now, by the driver's word: not to be trusted."""
    wanted = localcache.links(job)
    found = found_by_driver(job) if wanted else {}
    return linked_paths([found[link.name].value for link in wanted])


def found_by_driver(job: Job) -> dict[str, Expanded]:
    """Return what the driver evaluated before INSTALL."""
    return read_expansions(job.paths.control, "before", commands.before_expansions(job))


def _put(job: Job) -> Put:
    def put(tar: IO[bytes]) -> None:
        if job.container:
            job.tools.engine.copy_in(job.container, "/", tar)

    return put


def _fetch(job: Job) -> Fetch:
    def fetch(path: str) -> Iterator[bytes] | None:
        return job.tools.engine.copy_out(job.container, path) if job.container else None

    return fetch
