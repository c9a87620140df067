"""What is asked of Docker for one container, in the words of its API."""

from __future__ import annotations

from typing import Any

from agent.container.driver import STOP_SIGNAL
from agent.container.spec import AGENT_LABEL, BUILD_LABEL, ContainerSpec, Mount

_NO_LOG: Any = {"type": "none"}


def asked_for(client: Any, spec: ContainerSpec, name: str, nano_cpus: int | None) -> dict[str, Any]:
    """Return the arguments of `create_container` for *spec*; *client* says how its API wants them."""
    return {
        "image": spec.image,
        "name": name,
        # As entry point, not as command: so the image's own is set aside.
        "entrypoint": [spec.command[0]],
        "command": list(spec.command[1:]),
        "user": "0",
        "working_dir": spec.working_dir,
        "labels": {BUILD_LABEL: spec.build_id, AGENT_LABEL: spec.agent_id},
        "stop_signal": STOP_SIGNAL,
        # An image's health check would run its command beside the build.
        "healthcheck": {"test": ["NONE"]},
        # The client's own proxy settings may hold passwords, and would show in `docker inspect`.
        "use_config_proxy": False,
        "host_config": client.create_host_config(
            network_mode=spec.network,
            mounts=[_bind(mount) for mount in spec.mounts],
            tmpfs=dict(spec.tmpfs),
            mem_limit=spec.memory,
            # The same number: no swap, so a build that needs too much ends at once, and not the host.
            memswap_limit=spec.memory,
            nano_cpus=nano_cpus,
            privileged=spec.privileged,
            # With it a build reads off the host's interfaces what others say, credentials of builds and of the host.
            cap_drop=["NET_RAW"] if spec.network == "host" and not spec.privileged else None,
            pids_limit=-1 if spec.pids is None else spec.pids,
            log_config=_NO_LOG,
            cgroup_parent=spec.cgroup_parent,
        ),
    }


def _bind(mount: Mount) -> dict[str, Any]:
    return {"Type": "bind", "Source": str(mount.source), "Target": mount.target, "ReadOnly": mount.read_only}
