"""Lifecycle: has Auto Scaling wait with the end of this instance while builds run (lifecycle hooks)."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from agent.aws import Aws, translated
from agent.kit.clock import Clock

_TRANSITION = "autoscaling:EC2_INSTANCE_TERMINATING"
_LONGEST_PAUSE = 300.0


@dataclass
class Lifecycle:
    """The hooks of this *instance*'s group. *wanted* is the one that is ours; None: each that waits for the end."""

    aws: Aws
    instance: Callable[[], str]
    clock: Clock
    wanted: str | None = None
    _hooks: list[dict[str, Any]] | None = None
    _due: float = -math.inf
    _where: dict[str, str] = field(default_factory=dict)

    def heartbeat(self) -> None:
        """Say that there is still work, in good time before the hooks' patience ends. Raises `BuildspecdError`."""
        hooks = self._found()
        if self.clock.monotonic() < self._due:
            return
        with translated("autoscaling:RecordLifecycleActionHeartbeat"):
            for hook in hooks:
                self._client.record_lifecycle_action_heartbeat(
                    LifecycleHookName=hook["LifecycleHookName"], **self._where
                )
        patience = min((float(hook.get("HeartbeatTimeout") or 3600) for hook in hooks), default=_LONGEST_PAUSE)
        self._due = self.clock.monotonic() + min(_LONGEST_PAUSE, patience / 3)

    def complete(self) -> None:
        """Let the instance go. Raises `BuildspecdError`."""
        with translated("autoscaling:CompleteLifecycleAction"):
            for hook in self._found():
                self._client.complete_lifecycle_action(
                    LifecycleHookName=hook["LifecycleHookName"], LifecycleActionResult="CONTINUE", **self._where
                )

    @property
    def _client(self) -> Any:
        return self.aws.client("autoscaling")

    def _found(self) -> list[dict[str, Any]]:
        if self._hooks is None:
            with translated("autoscaling:DescribeLifecycleHooks"):
                instance = self.instance()
                known = self._client.describe_auto_scaling_instances(InstanceIds=[instance])["AutoScalingInstances"]
                groups = [one["AutoScalingGroupName"] for one in known]
                found = [
                    hook
                    for group in groups
                    for hook in self._client.describe_lifecycle_hooks(AutoScalingGroupName=group)["LifecycleHooks"]
                ]
            self._where = {"AutoScalingGroupName": groups[0] if groups else "", "InstanceId": instance}
            self._hooks = [
                hook
                for hook in found
                if hook["LifecycleTransition"] == _TRANSITION and self.wanted in (None, hook["LifecycleHookName"])
            ]
        return self._hooks
