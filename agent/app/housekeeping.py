"""Housekeeping: what keeps the host's disks in order, wired."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from agent.app.workshop import Workshop
from agent.cache.local import Slot
from agent.daemon.calendar import Calendar
from agent.daemon.diskwatch import DiskLimits, DiskWatch
from agent.daemon.estate import Estate
from agent.daemon.imagesweep import sweep_images
from agent.daemon.janitor import Chore, Janitor
from agent.daemon.ledgersweep import sweep_ledger
from agent.daemon.mirrorsweep import sweep_mirrors
from agent.daemon.retention import Keep
from agent.errors import BuildspecdError
from agent.kit.logging import get_logger
from agent.model.build import Build
from agent.pipeline.job import Job
from agent.pipeline.steps import reclaim_tree
from agent.settings.live import LiveConfiguration
from agent.store.builds import Builds

_log = get_logger("app")
SHED_IMAGES_SECONDS = 3600.0
"""An image of ours that a build had within the last hour stays also when the disk is full: the next one wants it."""


class Housekeeping:
    """The services that keep the host's disks in order, and what they say of builds that are asked for."""

    def __init__(
        self,
        workshop: Workshop,
        estate: Estate,
        live: LiveConfiguration,
        jobs: Callable[[], Mapping[str, Job]],
    ) -> None:
        self._root: Path | None = None
        """Where the engine keeps its data, as soon as it has said so."""
        self._workshop = workshop
        self._estate = estate
        self._live = live
        self.janitor = Janitor(
            estate.agent_id,
            workshop.database,
            workshop.engine,
            estate.builds,
            estate.secrets,
            self._reclaim,
            workshop.clock,
            workshop.caches,
            keep=lambda: Keep(**live.settings.retention.model_dump()),
            calendar=Calendar(workshop.clock, estate.state / "clock"),
            # In the order in which they are done without when the disk is full.
            chores=(
                Chore(shed=lambda _, __: workshop.spares.shed()),
                Chore(sweep=self._sweep_ledger),
                Chore(sweep=self._sweep_mirrors),
                Chore(sweep=self._sweep_images, shed=self._shed_images),
            ),
        )
        self.watch = DiskWatch(
            disks=self.disks,
            jobs=jobs,
            limits=lambda: DiskLimits(**live.settings.disk.model_dump()),
            shed=self.janitor.ask_for_room,
            upkeep=workshop.upkeep,
            agent_id=estate.agent_id,
            clock=workshop.clock,
        )

    @property
    def services(self) -> tuple[Janitor, DiskWatch]:
        """What is to be run."""
        return self.janitor, self.watch

    def kept_workspace(self, build: Build) -> str | None:
        """Return where the workspace of a build lies that has ended; None when it is not kept."""
        workspace = self._estate.of_build(build.uuid).workspace
        return str(workspace) if build.complete and workspace.is_dir() else None

    def disks(self) -> tuple[Path, ...]:
        """Return where builds write."""
        return (self._estate.state,) if self._root is None else (self._estate.state, self._root)

    def _sweep_ledger(self, now: float, _: Keep) -> None:
        sweep_ledger(self._workshop.ledger, self._workshop.aws, now)

    def _sweep_mirrors(self, now: float, keep: Keep) -> None:
        sources, builds = self._workshop.sources, Builds(self._workshop.database).open()
        try:
            used = {
                path
                for build in builds
                for path in sources.mounts((build.project.source, *build.project.secondary_sources))
            }
        except BuildspecdError as error:  # a credential cannot be read now, and with it the name of a mirror is unknown
            _log.warning("mirrors are swept later", error=error.message)
            return
        sweep_mirrors(sources.mirrors, used, keep.mirrors and now - keep.mirrors, quiet=not builds)

    def _sweep_images(self, now: float, keep: Keep) -> None:
        self._root = self._workshop.upkeep.root()
        if keep.images is not None:
            sweep_images(self._workshop.images, self._workshop.upkeep, now - keep.images)

    def _shed_images(self, now: float, _: Callable[[], bool]) -> None:
        if self._live.settings.retention.images is not None:
            sweep_images(self._workshop.images, self._workshop.upkeep, now - SHED_IMAGES_SECONDS)

    def _reclaim(self, path: Path) -> None:
        """Remove what a build left, in its directory or in a cache; its image helps where its files are root's."""
        uuid = path.name if path.parent == self._estate.builds else path.parent.name
        known = Builds(self._workshop.database).matching(uuid)
        image = known[0].project.environment.image if known else Slot(path.parent).image
        reclaim_tree(self._workshop.engine, path, image, self._workshop.settings.images.rewrite)
