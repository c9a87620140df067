"""DockerEngine: the one door to the Docker SDK; what Docker says no with becomes one of our errors."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from agent.container.asking import asked_for
from agent.container.driver import STOP_SIGNAL
from agent.container.patient import line_of
from agent.container.progress import PullProgress
from agent.container.refusal import pull_error, refused_start
from agent.container.spec import (
    AGENT_LABEL,
    BUILD_LABEL,
    ContainerSpec,
    ContainerState,
    EngineFacts,
    Mount,
    RegistryLogin,
    container_name,
)
from agent.errors import ContainerLost, EngineUnavailable, ImageUnavailable, UserError
from agent.kit.clock import Clock, SystemClock
from agent.kit.heed import heed, patiently
from agent.model.cause import Cause

if TYPE_CHECKING:
    from docker import APIClient

_NEVER = "0001-01-01T00:00:00Z"
_BUILTIN_NETWORKS = frozenset({"host", "bridge", "none", "default"})
_KILL_SECONDS = 60.0
_SHELL_SECONDS = 3600
_HINT = "is the Docker engine running, and may this user use its socket? try: docker info"
_TERM_TO_ALL = ["/bin/sh", "-c", "kill -TERM -1"]


class DockerEngine:
    """`Engine` on a Docker engine of API 1.41 or newer. Connects at the first call; safe to share between threads.

    *base_url* is where the engine listens; None: `DOCKER_HOST`, or the usual socket. *agent_id* marks the throw-away
    containers of `shell`, so that one which outlived a crash is found among `owned`. *timeout* is in seconds, for one
    answer of the engine.
    """

    def __init__(
        self, *, agent_id: str = "", base_url: str | None = None, timeout: float = 120.0, clock: Clock | None = None
    ) -> None:
        self._agent_id = agent_id
        self._base_url = base_url
        self._timeout = timeout
        self._clock = clock or SystemClock()
        self._lock = threading.Lock()
        self._connected: APIClient | None = None
        self._cpus: int | None = None

    def facts(self) -> EngineFacts:
        """See `Engine.facts`."""
        with translated("asking the engine about itself"):
            info = self._client.info()
            return EngineFacts(
                version=str(info.get("ServerVersion", "")),
                api_version=str(self._client.api_version),
                cpus=int(info.get("NCPU", 0)),
                memory=int(info.get("MemTotal", 0)),
                storage_driver=str(info.get("Driver", "")),
                cgroup_version=str(info.get("CgroupVersion", "1")),
                live_restore=bool(info.get("LiveRestoreEnabled", False)),
                cgroup_driver=str(info.get("CgroupDriver") or "cgroupfs"),
            )

    def mark(self) -> str:
        """See `Engine.mark`. An engine makes its bridge anew when it starts, unless it has kept running containers.

        Asked on a line of its own: an engine that goes down, and ends all containers first, still answers on old ones.
        """
        version = self._client.api_version
        with closing(connect(self._base_url, self._timeout, version)) as client:
            with translated("asking when the engine was started"):
                bridge = _found(client.inspect_network, "bridge")
            return str((bridge or {}).get("Created", ""))

    def has_image(self, reference: str) -> bool:
        """See `Engine.has_image`."""
        from docker.errors import APIError

        with translated(f"looking for image {reference}"):
            try:
                return _found(self._client.inspect_image, reference) is not None
            except APIError as error:
                if error.status_code == 400:
                    return False  # no name of an image at all; the pull will say so
                raise

    def image_ids(self) -> dict[str, str]:
        """See `Engine.image_ids`."""
        with translated("listing images"):
            images = self._client.images()
        return {tag: image["Id"] for image in images for tag in image.get("RepoTags") or () if tag != "<none>:<none>"}

    def pull(self, reference: str, login: RegistryLogin | None, progress: Callable[[str], None]) -> None:
        """See `Engine.pull`."""
        with line_of(connect(self._base_url, self._timeout)) as line:
            patiently(lambda: self._pull(line.client, reference, login, progress), abandon=line.cut)

    def _pull(
        self, client: APIClient, reference: str, login: RegistryLogin | None, progress: Callable[[str], None]
    ) -> None:
        from docker.errors import APIError

        auth = {"username": login.username, "password": login.password} if login else None
        layers = PullProgress(reference)
        with translated(f"pulling {reference}"):
            try:
                for event in client.pull(reference, stream=True, decode=True, auth_config=auth):
                    heed()
                    if "error" in event:
                        raise pull_error(reference, str(event["error"]))
                    line = layers.line(event, self._clock.monotonic())
                    if line:
                        progress(line)
            except APIError as error:
                raise pull_error(reference, str(error.explanation or error), error.status_code) from error

    def create(self, spec: ContainerSpec) -> str:
        """See `Engine.create`."""
        from docker.errors import APIError, NotFound

        name = container_name(spec.build_id)
        with translated(f"creating container {name}"):
            self._require_network(spec.network)
            try:
                return str(
                    self._client.create_container(**asked_for(self._client, spec, name, self._nano_cpus(spec.cpus)))[
                        "Id"
                    ]
                )
            except NotFound as error:
                raise ImageUnavailable(
                    f"image {spec.image} is not on the host", hint=f"try: docker pull {spec.image}"
                ) from error
            except APIError as error:
                if error.status_code == 409:
                    return self._existing(name, spec.build_id)
                if error.status_code == 400:
                    raise UserError(
                        f"the engine refuses the container: {error.explanation}",
                        hint="check environment and agent.resources of the project",
                        cause=Cause.CONTAINER_REFUSED,
                    ) from error
                if found := refused_start(name, str(error.explanation)):
                    raise found from error
                raise

    def start(self, container: str) -> None:
        """See `Engine.start`."""
        from docker.errors import APIError, NotFound

        with translated(f"starting container {container[:12]}"):
            try:
                self._client.start(container)
            except NotFound as error:
                if _found(self._client.inspect_container, container) is None:
                    raise ContainerLost(f"container {container[:12]} is gone", cause=Cause.CONTAINER_REMOVED) from error
                raise UserError(
                    f"container {container[:12]} cannot start: {error.explanation}", cause=Cause.CONTAINER_REFUSED
                ) from error
            except APIError as error:
                state = self.inspect(container)
                if state is not None and not state.running:
                    found = refused_start(container[:12], str(error.explanation or error), state.exit_code)
                    if found is not None:
                        raise found from error
                raise

    def inspect(self, container: str) -> ContainerState | None:
        """See `Engine.inspect`."""
        with translated(f"inspecting container {container[:12]}"):
            facts = _found(self._client.inspect_container, container)
        if facts is None:
            return None
        state = facts["State"]
        return ContainerState(
            id=facts["Id"],
            running=bool(state.get("Running")),
            started=state.get("StartedAt", _NEVER) != _NEVER,
            exit_code=int(state.get("ExitCode", 0)),
            oom_killed=bool(state.get("OOMKilled")),
            error=str(state.get("Error", "")),
            image=str(facts.get("Image", "")),
            variables=tuple(facts.get("Config", {}).get("Env") or ()),
            removing=state.get("Status") in ("removing", "dead"),
        )

    def find(self, build_id: str) -> str | None:
        """See `Engine.find`."""
        return next(iter(self._labelled(f"{BUILD_LABEL}={build_id}")), None)

    def owned(self, agent_id: str) -> dict[str, str]:
        """See `Engine.owned`."""
        return self._labelled(f"{AGENT_LABEL}={agent_id}", BUILD_LABEL)

    def terminate(self, container: str, grace: float) -> None:
        """See `Engine.terminate`."""
        with translated(f"ending container {container[:12]}"):
            if not self._is_ours(container) or not self._runs(container):
                return
            # PID 1 first: it must know before the command that it waits for ends, or it would go on with the next.
            _ignoring_conflicts(lambda: self._client.kill(container, STOP_SIGNAL))
            self._term_to_all(container)
            if self._wait(container, grace):
                return
            _ignoring_conflicts(lambda: self._client.kill(container, "SIGKILL"))
            if not self._wait(container, _KILL_SECONDS):
                raise EngineUnavailable(f"container {container[:12]} does not end", hint=_HINT)

    def remove(self, container: str) -> None:
        """See `Engine.remove`."""
        with translated(f"removing container {container[:12]}"):
            if not self._is_ours(container):
                return
            _ignoring_conflicts(lambda: self._client.remove_container(container, v=True, force=True))

    def copy_out(self, container: str, path: str) -> Iterator[bytes] | None:
        """See `Engine.copy_out`."""
        from docker.errors import NotFound

        with translated(f"copying {path} out of container {container[:12]}"):
            try:
                stream, _ = self._client.get_archive(container, path)
            except NotFound:
                return None
        return _translated_stream(stream, f"copying {path} out of container {container[:12]}")

    def copy_in(self, container: str, directory: str, tar: IO[bytes]) -> None:
        """See `Engine.copy_in`."""
        from docker.errors import APIError

        with translated(f"copying to {directory} in container {container[:12]}"):
            try:
                self._client.put_archive(container, directory, tar)
            except APIError as error:
                if error.status_code not in (400, 403, 404):
                    raise
                raise UserError(
                    f"cannot unpack to {directory} in the container: {error.explanation}",
                    hint=f"does {directory} exist in the image?",
                ) from error

    def shell(self, image: str, script: str, mounts: dict[str, str]) -> int:
        """See `Engine.shell`."""
        spec = ContainerSpec(
            build_id=f"shell:{uuid.uuid4()}",
            agent_id=self._agent_id,
            image=image,
            command=("/bin/sh", "-c", script),
            working_dir="/",
            mounts=tuple(Mount(Path(source), target) for source, target in mounts.items()),
            network="none",
        )
        container = self.create(spec)
        try:
            self.start(container)
            with translated(f"running a shell in {image}"):
                return int(self._client.wait(container, timeout=_SHELL_SECONDS)["StatusCode"])
        finally:
            self.remove(container)

    @property
    def _client(self) -> APIClient:
        with self._lock:
            if self._connected is None:
                self._connected = connect(self._base_url, self._timeout)
            return self._connected

    def _nano_cpus(self, cpus: float | None) -> int | None:
        """Return *cpus* as the engine wants it, cut to what the host has: it refuses more."""
        if cpus is None:
            return None
        if self._cpus is None:
            self._cpus = self.facts().cpus
        return int(min(cpus, self._cpus or cpus) * 1_000_000_000)

    def _require_network(self, network: str) -> None:
        if network in _BUILTIN_NETWORKS:
            return
        if _found(self._client.inspect_network, network) is None:
            raise UserError(
                f"there is no Docker network named {network}",
                cause=Cause.CONTAINER_REFUSED,
                hint=f"create it with: docker network create {network}, or change agent.network of the project",
            )

    def _existing(self, name: str, build_id: str) -> str:
        facts = _found(self._client.inspect_container, name)
        if facts is None:
            raise EngineUnavailable(f"container {name} was there and is gone", hint="try again")
        if (facts["Config"].get("Labels") or {}).get(BUILD_LABEL) != build_id:
            raise UserError(
                f"a container named {name} exists and is not ours",
                hint=f"remove it: docker rm {name}",
                cause=Cause.CONTAINER_REFUSED,
            )
        return str(facts["Id"])

    def _labelled(self, label: str, value_of: str = BUILD_LABEL) -> dict[str, str]:
        with translated("listing containers"):
            containers = self._client.containers(all=True, filters={"label": [label]})
        return {facts["Id"]: (facts.get("Labels") or {}).get(value_of, "") for facts in containers}

    def _is_ours(self, container: str) -> bool:
        """Whether it exists; raises when it exists and does not carry our label."""
        facts = _found(self._client.inspect_container, container)
        if facts is None:
            return False
        if BUILD_LABEL not in (facts["Config"].get("Labels") or {}):
            raise UserError(f"container {container[:12]} is not ours; it is left alone")
        return True

    def _runs(self, container: str) -> bool:
        return (state := self.inspect(container)) is not None and state.running

    def _term_to_all(self, container: str) -> None:
        """Best effort: a container that is just ending, or has no shell, refuses with all sorts of statuses."""
        from docker.errors import APIError

        with suppress(APIError):
            command = self._client.exec_create(container, _TERM_TO_ALL, user="0", stdout=False, stderr=False)
            self._client.exec_start(command["Id"], detach=True)

    def _wait(self, container: str, seconds: float) -> bool:
        """Return whether the container ended within *seconds*."""
        from docker.errors import NotFound
        from requests.exceptions import ConnectionError as Disconnected
        from requests.exceptions import ReadTimeout

        try:
            self._client.wait(container, timeout=max(seconds, 0.001))  # type: ignore[arg-type]  # fractions are fine
        except NotFound:
            return True
        except (ReadTimeout, Disconnected):
            return not self._runs(container)
        return True


def connect(base_url: str | None, timeout: float, version: str = "auto") -> APIClient:
    """Return a client that speaks *version*, without *base_url* to the engine that `DOCKER_HOST` names or the usual."""
    from docker import APIClient
    from docker.utils import kwargs_from_env

    settings: dict[str, Any] = {**kwargs_from_env(), "version": version, "timeout": timeout}
    if base_url is not None:
        settings["base_url"] = base_url
    with translated("connecting to the Docker engine"):
        return APIClient(**settings)


def _found(ask: Callable[[str], Any], name: str) -> Mapping[str, Any] | None:
    from docker.errors import NotFound

    with suppress(NotFound):
        answer: Mapping[str, Any] = ask(name)
        return answer
    return None


def _ignoring_conflicts(act: Callable[[], object]) -> None:
    """Do *act*, and take "it is gone", "it does not run" and "somebody else is removing it" for done."""
    from docker.errors import APIError

    try:
        act()
    except APIError as error:
        if error.status_code not in (404, 409):
            raise


@contextmanager
def translated(doing: str) -> Iterator[None]:
    """Turn what the SDK and the libraries below it raise into `EngineUnavailable`; our own errors pass."""
    from docker.errors import DockerException
    from requests.exceptions import RequestException
    from urllib3.exceptions import HTTPError

    try:
        yield
    except (DockerException, RequestException, HTTPError, ConnectionError, TimeoutError) as error:
        raise EngineUnavailable(f"{doing}: {error}", hint=_HINT) from error


def _translated_stream(stream: Iterator[bytes], doing: str) -> Iterator[bytes]:
    with translated(doing):
        yield from stream
