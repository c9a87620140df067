"""Toolbox: the capabilities that every build shares, handed in by the composition root."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from agent.aws import Aws, Proxies
from agent.cache.local import LocalCaches
from agent.container.engine import Engine
from agent.container.spec import RegistryLogin
from agent.environment.known_images import KnownImages
from agent.environment.resolve import SecretSource
from agent.environment.roles import RoleWish
from agent.errors import UserError
from agent.kit.clock import Clock
from agent.model.build import Build
from agent.model.place import VpcPolicy
from agent.model.project import Environment
from agent.objects.store import ObjectStore
from agent.pipeline.surroundings import HostLookout, Locate, Lookout, nowhere
from agent.source.sources import Sources


class OpenStore(Protocol):
    """Opens the store at a location; with *proxies*, through them and not the way of everything else."""

    def __call__(self, location: str, proxies: Proxies | None = None) -> ObjectStore: ...


class Handover(Protocol):
    """Opens a bucket with the credentials that CodePipeline gives for the job of a build, asked for anew each time.

    Raises `AwsRefused` (the job is over) and `AwsUnavailable`.
    """

    def __call__(self, build: Build, bucket: str, proxies: Proxies | None = None) -> ObjectStore: ...


def no_handover(build: Build, bucket: str, proxies: Proxies | None = None) -> ObjectStore:
    """For those who do no jobs of a pipeline."""
    raise UserError(f"{build.project.name}: nobody handed over the artifacts in {bucket}", hint="start its pipeline")


class Admission(Protocol):
    """What a build with a service role was given: a token, to be masked, and the variables that lead SDKs there."""

    @property
    def token(self) -> str: ...

    @property
    def variables(self) -> Mapping[str, str]: ...


class Roles(Protocol):
    """Serves builds the credentials of their service roles (`RoleDesk`).

    `admit` assumes the role, and gives the same answer again after a restart; `enter` follows each start of a
    container; `aws_of` is for what we do in the build's name. They raise `RoleRefused`, `AwsRefused`, `Unavailable`.
    """

    def admit(self, wish: RoleWish, network: str) -> Admission: ...

    def enter(self, wish: RoleWish, container: str) -> None: ...

    def aws_of(self, wish: RoleWish, network: str) -> Aws: ...

    def dismiss(self, wish: RoleWish) -> None: ...


class Guarded(Protocol):
    """Keeps builds from the credentials of this host (`daemon/guarding.py`)."""

    def parent(self) -> str | None:
        """Return the cgroup in which containers are kept, None where they need not be. Raises `EngineUnavailable`."""
        ...

    def check(self, privileged: bool) -> str:
        """Return what the log should say of it. Raises `GuardMissing` when no build may run without the guard."""
        ...

    def see(self, container: str) -> None:
        """Raise `GuardMissing` when a container that was started is not where it has to be."""
        ...


class Unguarded:
    """For those who guard nothing."""

    def parent(self) -> str | None:
        return None

    def check(self, privileged: bool) -> str:
        return ""

    def see(self, container: str) -> None: ...


class ImageBook(Protocol):
    """Knows which images on the host are ours to remove."""

    def pulling(self, reference: str) -> None:
        """Take note of an image that is about to be pulled, and was not on the host."""
        ...

    def had(self, reference: str) -> None:
        """Take note that a build has the image."""
        ...


class NoImageBook:
    """For those who remove no images."""

    def pulling(self, reference: str) -> None: ...

    def had(self, reference: str) -> None: ...


@dataclass(frozen=True)
class Toolbox:
    """Everything here may be used by several builds at once. Times in seconds.

    `retry_pauses` lie between two tries of a step whose fault may pass by itself. `owner` is (uid, gid) of a daemon
    that is not root, to whom builds give their files back. `artifacts_to` is where `buildspecd run --artifacts` wants
    the files, unpacked, instead of the project's own destination.
    """

    clock: Clock
    engine: Engine
    rewrites: Mapping[str, str]
    login: Callable[[Environment, str], RegistryLogin | None]
    sources: Sources
    parameters: SecretSource
    secrets: SecretSource
    open_store: OpenStore
    agent_id: str
    region: str
    caches: LocalCaches
    owner: tuple[int, int] | None = None
    stop_grace: float = 10.0
    retry_pauses: tuple[float, ...] = (1.0, 5.0, 15.0)
    log_patience: float = 8.0
    artifacts_to: Path | None = None
    uploads: bool = True
    images: ImageBook = field(default_factory=NoImageBook)
    keep_failed: Callable[[], bool] = lambda: False
    """Whether workspaces of builds that do not succeed are kept for a while."""
    handover: Handover = no_handover
    lookout: Lookout = field(default_factory=HostLookout)
    """Connects to what a build needs, from the network that it has."""
    vpc: VpcPolicy = "warn"
    """What follows where the host does not stand in the VPC of a project that does not say it itself."""
    locate: Locate = nowhere
    """Says where this host stands."""
    roles: Roles | None = None
    """None: service roles are not assumed (`buildspecd run`)."""
    guard: Guarded = field(default_factory=Unguarded)
    known_images: KnownImages = field(default_factory=KnownImages)
