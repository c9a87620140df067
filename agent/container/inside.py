"""Inside: a socket that listens on the loopback of a container's own network, and belongs to us.

So a build in a network of its own finds its credentials at 127.0.0.1, as one in the host's network does. Who may enter
namespaces does it himself, on a thread that ends with it. A daemon that is not root has a throw-away container do it:
that joins the network of the build's, runs the Python of this host from read-only mounts in an image that has no file,
and hands the socket back through a Unix socket.
"""

from __future__ import annotations

import ctypes
import io
import os
import socket
import sys
import tarfile
import threading
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

from agent.container.docker import connect, translated
from agent.container.spec import AGENT_LABEL, BUILD_LABEL
from agent.errors import EngineUnavailable

IMAGE = "buildspecd/nothing:1"
"""An image without any file, made where it is missing."""
LOOPBACK = "127.0.0.1"
_NEW_NET = 0x40000000
_PATIENCE_SECONDS = 60.0
_BACKLOG = 1024
"""How many wait to be let in: a build that knocks all the time is not to keep others from the line."""
_MEMORY = 256 << 20
_DIRECTORIES = ("usr", "lib", "lib64", "etc", "dev", "proc", "sys", "tmp", "handover")
_SCRIPT = f"""
import socket, sys
s = socket.socket()
s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
s.bind(("{LOOPBACK}", int(sys.argv[1])))
s.listen({_BACKLOG})
u = socket.socket(socket.AF_UNIX)
u.connect("/handover/s")
socket.send_fds(u, [b"!"], [s.fileno()])
"""


class Inside:
    """Opens sockets in the networks of containers. *room* is a directory of ours for handing them over."""

    def __init__(self, agent_id: str, room: Path, *, base_url: str | None = None, enter: bool = True) -> None:
        """*enter* False: namespaces are never entered, whatever this process may do."""
        self._agent_id = agent_id
        self._room = room
        self._base_url = base_url
        self._enter = enter

    def listen(self, container: str, port: int) -> socket.socket:
        """Return a socket that listens on *port* of the container's loopback. Raises `EngineUnavailable`."""
        with translated("opening a socket inside a container"), closing(connect(self._base_url, 30.0)) as client:
            state: Any = client.inspect_container(container)
            process = int(state["State"].get("Pid") or 0)
            if not process:
                raise EngineUnavailable(f"container {container[:12]} does not run", hint="was it removed?")
            listener = self._entered(state["Id"], process, port) if self._enter else None
            return listener or self._handed(client, state["Id"], port)

    def _entered(self, container: str, process: int, port: int) -> socket.socket | None:
        """Enter the network of *process*; None where we may not, or where its id means another process to us."""
        try:
            network = os.open(f"/proc/{process}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return None
        try:
            try:
                if container not in Path(f"/proc/{process}/cgroup").read_text():
                    return None  # now that its network is held: another's process cannot have taken its place since
            except OSError:
                return None
            return _listening_in(network, port)
        except PermissionError:
            return None
        except OSError as error:
            raise _taken(container, port, error) from error
        finally:
            os.close(network)

    def _handed(self, client: Any, container: str, port: int) -> socket.socket:
        """Have a throw-away container do it."""
        _require_image(client)
        with self._table() as (table, place):
            helper: Any = client.create_container(**_asked_for(client, self._agent_id, container, place, port))
            try:
                client.start(helper["Id"])
                return self._received(client, helper["Id"], table, container, port)
            finally:
                client.remove_container(helper["Id"], force=True, v=True)

    @contextmanager
    def _table(self) -> Iterator[tuple[socket.socket, Path]]:
        """Yield a Unix socket that listens in a directory of its own, for as long as the block runs."""
        place = self._room / uuid.uuid4().hex[:12]
        place.mkdir(mode=0o700, parents=True)
        directory = os.open(place, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            with socket.socket(socket.AF_UNIX) as table:
                table.bind(f"/proc/self/fd/{directory}/s")  # the name of a socket has 107 bytes at most
                table.listen(1)
                yield table, place
        finally:
            os.close(directory)
            (place / "s").unlink(missing_ok=True)
            place.rmdir()

    def _received(self, client: Any, helper: str, table: socket.socket, container: str, port: int) -> socket.socket:
        """Return the socket that the helper hands over; it ends soon after, whatever comes of it."""
        ended = threading.Thread(target=_knock_when_over, args=(client, helper, table.getsockname()), daemon=True)
        ended.start()
        table.settimeout(_PATIENCE_SECONDS)
        try:
            line, _ = table.accept()
            with line:
                line.settimeout(_PATIENCE_SECONDS)
                _, handles, _, _ = socket.recv_fds(line, 1, 1)
        except OSError as error:
            raise _taken(container, port, error) from error
        if not handles:
            raise _taken(container, port, OSError("nothing was handed over"))
        found = socket.socket(fileno=handles[0])
        found.set_inheritable(False)  # git and others are started at any moment
        listens = found.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
        if not listens or found.family != socket.AF_INET or found.getsockname() != (LOOPBACK, port):
            found.close()
            raise _taken(container, port, OSError("what was handed over is another socket"))
        return found


def listening(port: int) -> socket.socket:
    """Return a socket that listens on *port* of this thread's loopback. Raises `OSError`."""
    found = socket.socket()
    try:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind((LOOPBACK, port))
        found.listen(_BACKLOG)
    except OSError:
        found.close()
        raise
    return found


def _listening_in(network: int, port: int) -> socket.socket:
    """Do it on a thread that enters *network*, and never does anything else."""
    found: list[socket.socket | OSError] = []

    def work() -> None:
        if ctypes.CDLL(None, use_errno=True).setns(network, _NEW_NET) != 0:
            found.append(OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno())))
            return
        try:
            found.append(listening(port))
        except OSError as error:
            found.append(error)

    thread = threading.Thread(target=work, name="inside", daemon=True)
    thread.start()
    thread.join()
    if isinstance(found[0], OSError):
        raise found[0]
    return found[0]


def _taken(container: str, port: int, error: OSError) -> EngineUnavailable:
    return EngineUnavailable(
        f"the credentials of the role cannot be served inside container {container[:12]} (port {port}): {error}",
        hint="does the Docker engine run on this very host, and does something else have that port in the container?",
    )


def _knock_when_over(client: Any, helper: str, table: str) -> None:
    """Wake who waits at *table* once the helper has ended; one that did its work has knocked before."""
    with suppress(EngineUnavailable, OSError), translated("waiting for a helper"):
        client.wait(helper, timeout=int(_PATIENCE_SECONDS))
        with socket.socket(socket.AF_UNIX) as empty_handed:
            empty_handed.connect(table)


def _require_image(client: Any) -> None:
    if client.images(name=IMAGE, quiet=True):
        return
    blank = io.BytesIO()
    with tarfile.open(fileobj=blank, mode="w") as tar:
        for name in _DIRECTORIES:
            entry = tarfile.TarInfo(name)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o755
            tar.addfile(entry)
    repository, _, tag = IMAGE.partition(":")
    client.import_image_from_data(blank.getvalue(), repository=repository, tag=tag)


def _asked_for(client: Any, agent_id: str, container: str, place: Path, port: int) -> dict[str, Any]:
    """Return the arguments of `create_container`: this host's Python, and nothing that it could do."""
    programs = {one for one in ("/lib", "/lib64", "/etc/ld.so.cache") if Path(one).exists()}
    programs |= {sys.base_prefix} if not Path(sys.base_prefix).is_relative_to("/usr") else set()  # it runs, so it is
    mounts = {one: one for one in sorted({"/usr", *programs})} | {str(place): "/handover"}
    return {
        "image": IMAGE,
        "entrypoint": [os.path.realpath(sys.executable), "-I", "-S", "-c", _SCRIPT],
        "command": [str(port)],
        "user": f"{os.geteuid()}:{os.getegid()}",
        "labels": {BUILD_LABEL: f"shell:{uuid.uuid4()}", AGENT_LABEL: agent_id},
        "use_config_proxy": False,
        "host_config": client.create_host_config(
            network_mode=f"container:{container}",
            mounts=[
                {"Type": "bind", "Source": source, "Target": target, "ReadOnly": True}
                for source, target in mounts.items()
            ],
            cap_drop=["ALL"],
            security_opt=["no-new-privileges"],
            read_only=True,
            mem_limit=_MEMORY,
            pids_limit=16,
            log_config={"type": "none"},
        ),
    }
