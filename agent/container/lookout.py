"""Lookout: what can be connected to from the network that a build has, and not from wherever this process stands.

In this order: from the network namespace of the container (as root on Linux); by a script inside the container, with
what its image has (the shipped unit may not enter namespaces, and on Docker Desktop there are none); from the host, and
then it says so.
"""

from __future__ import annotations

import os
import re
import socket
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agent.container.docker import connect, translated
from agent.kit import resolver
from agent.kit.dial import Answer, Hop, Resolve, dial
from agent.kit.heed import begun
from agent.kit.netns import inside
from agent.kit.resolver import Nameless, OpenSocket

PATIENCE_SECONDS = 5.0
"""How long all of them together may take: names, connections, whatever hangs."""
_GRACE_SECONDS = 0.5
_EXEC_SECONDS = 3.0
_ENGINE_SECONDS = 10.0
_LONGEST = 1 << 18
_HOPS = {"name": Hop.NAME, "route": Hop.ROUTE, "refused": Hop.REFUSED, "silence": Hop.SILENCE, "other": Hop.OTHER}
_MILLISECONDS = re.compile(r"[0-9]{1,6}(\.[0-9]{1,3})?")
_SCRIPT = Path(__file__).with_name("lookout.sh")


@dataclass(frozen=True)
class Survey:
    """What was seen: one answer for each target, in their order; the name servers that were asked; and `remark`, where
    it was looked from another network than the build's."""

    answers: tuple[Answer, ...]
    servers: str
    remark: str = ""


def from_host(targets: Sequence[str], patience: float = PATIENCE_SECONDS) -> Survey:
    """Look from this process's own network."""
    try:
        service = resolver.read(Path("/etc/resolv.conf").read_text(errors="replace"), "")
    except OSError:
        service = resolver.NameService(())
    return Survey(all_at_once(targets, _by_library(service.asked), socket.socket, patience), service.asked)


class DockerLookout:
    """Looks from containers of the engine at *base_url*; None: that of `DOCKER_HOST`, or the usual one.

    Without *enters* it leaves namespaces alone, as it has to where it may not enter them.
    """

    def __init__(self, base_url: str | None = None, *, enters: bool = True) -> None:
        self._base_url = base_url
        self._enters = enters
        self._lock = threading.Lock()
        self._connected: Any = None

    def shares(self, network: str) -> bool:
        """Whether a container in *network* sees what this process sees."""
        address = self._base_url or os.environ.get("DOCKER_HOST", "")
        return network == "host" and sys.platform == "linux" and (not address or address.startswith("unix:"))

    def at_once(self, container: str, targets: Sequence[str], patience: float = PATIENCE_SECONDS) -> Survey | None:
        """Look from the network of a running *container* without asking it for anything; None where that cannot be.

        Raises `EngineUnavailable`.
        """
        if not self._enters:
            return None
        with translated(f"inspecting container {container[:12]}"):
            facts = self._client.inspect_container(container)
        return _by_namespace(facts, targets, patience)

    def from_container(self, container: str, targets: Sequence[str], patience: float = PATIENCE_SECONDS) -> Survey:
        """Look from the network of a running *container*, whichever way there is. Raises `EngineUnavailable`."""
        found = self.at_once(container, targets, patience)
        if found is None:
            found = _by_script(self._client, container, targets, patience)
        if found is not None:
            return found
        seen = from_host(targets, patience)
        why = "from the host's network, not the build's: its image has neither python3 nor bash nor nc to look with"
        return Survey(seen.answers, seen.servers, why)

    @property
    def _client(self) -> Any:
        with self._lock:
            if self._connected is None:
                self._connected = connect(self._base_url, _ENGINE_SECONDS)
            return self._connected


def all_at_once(
    targets: Sequence[str],
    resolve: Resolve,
    open_socket: OpenSocket,
    patience: float,
    enter: Callable[[Callable[[], Answer]], Callable[[], Answer]] = lambda work: work,
) -> tuple[Answer, ...]:
    """Connect to all *targets* at the same time, each on a thread of its own behind *enter*. Raises `OSError` of it."""
    until = time.monotonic() + patience + _GRACE_SECONDS

    def errand(target: str) -> Callable[[], Answer]:
        return enter(lambda: dial(target, resolve, open_socket, patience))

    under_way = [(target, begun(errand(target), "preflight")) for target in targets]
    answers = []
    for target, answer in under_way:
        try:
            answers.append(answer.result(max(0.0, until - time.monotonic())))
        except TimeoutError:  # connecting ends by itself, what the library does with names does not
            answers.append(Answer(target, hop=Hop.NAME, said=f"no answer within {patience:g} s"))
    return tuple(answers)


def _by_library(servers: str) -> Resolve:
    def resolve(name: str, _: float) -> Sequence[str]:
        try:
            found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            words = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
            raise Nameless(f"{words} (asked: {servers})") from error
        return [str(place[0]) for *_, place in found]

    return resolve


def _by_namespace(facts: Any, targets: Sequence[str], patience: float) -> Survey | None:
    """Look from the container's own network; None where this process is not let in, or the container is elsewhere."""
    process, identity = int(facts["State"].get("Pid") or 0), str(facts["Id"])
    try:
        namespace = os.open(f"/proc/{process}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        if identity not in Path(f"/proc/{process}/mountinfo").read_text(errors="replace"):
            return None  # that process is of this machine, and the container of another
        resolv_conf, hosts = (Path(facts[name]).read_text() for name in ("ResolvConfPath", "HostsPath"))
        service = resolver.read(resolv_conf, hosts)

        def resolve(name: str, until: float) -> Sequence[str]:
            return resolver.resolve(name, service, socket.socket, until)

        begun(inside(namespace, lambda: None), "preflight").result(_EXEC_SECONDS)
        answers = all_at_once(targets, resolve, socket.socket, patience, lambda work: inside(namespace, work))
    except OSError:
        return None
    finally:
        os.close(namespace)
    return Survey(answers, service.asked)


def _by_script(client: Any, container: str, targets: Sequence[str], patience: float) -> Survey | None:
    """Have the container look for itself; None where its image has nothing to look with."""
    command = ["/bin/sh", "-c", _SCRIPT.read_text(), "lookout", f"{patience:g}", *targets]

    def ask() -> str:
        made = client.exec_create(container, command, user="0", stderr=False)
        printed = b""
        for piece in client.exec_start(made["Id"], stream=True):
            printed += piece
            if len(printed) > _LONGEST:
                break
        return printed.decode("utf-8", "replace")

    def told() -> str:
        with translated("looking out of a container"):
            return ask()

    try:
        return surveyed(targets, begun(told, "preflight").result(patience + _EXEC_SECONDS), patience)
    except TimeoutError:
        return None


def surveyed(targets: Sequence[str], printed: str, patience: float) -> Survey | None:
    """Return what lookout.sh printed, which comes from an image that nobody vouches for; None: it has no tool. Pure."""
    rows = [line.split("\t") for line in printed.splitlines()]
    servers = next((row[1] for row in rows if row[0] == "servers" and len(row) > 1), "")
    servers = " and ".join(word for word in servers[:200].split() if resolver.is_address(word))
    told = {row[0]: row for row in rows if len(row) == 5}
    if not told:
        return None
    return Survey(tuple(_answer(target, told.get(target), patience) for target in targets), servers)


def _answer(target: str, row: Sequence[str] | None, patience: float) -> Answer:
    if row is None:
        return Answer(target, hop=Hop.SILENCE, said=f"nothing comes back within {patience:g} s")
    _, word, address, spent, said = (text[:500] for text in row)
    address = address if resolver.is_address(address) else ""  # it becomes part of commands that are recommended
    said = "".join(letter if letter.isprintable() else " " for letter in said)
    if word == "ok":
        return Answer(target, address, float(spent) / 1000 if _MILLISECONDS.fullmatch(spent) else None)
    return Answer(target, address, hop=_HOPS.get(word, Hop.OTHER), said=said)
