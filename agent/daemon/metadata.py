"""Metadata: what EC2 tells an instance about its own end (IMDSv2)."""

from __future__ import annotations

import http.client
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from urllib.parse import urlsplit

from agent.daemon.gate import Action, Notice
from agent.errors import Unavailable
from agent.kit.logging import get_logger

_log = get_logger("metadata")
_ENDPOINT = "http://169.254.169.254"
_PATIENCE_SECONDS = 2.0
_TOKEN_SECONDS = 21600
_LONGEST = 65536
_ENDS: Mapping[str, Action] = {
    "Terminated": "terminate",
    "Warmed:Terminated": "terminate",
    "Warmed:Stopped": "stop",
    "Warmed:Hibernated": "hibernate",
}
"""Target lifecycle states of Auto Scaling in which the instance does not run any more."""
_ACTIONS: Mapping[str, Action] = {"terminate": "terminate", "stop": "stop", "hibernate": "hibernate"}


def endpoint(environ: Mapping[str, str] | None = None) -> str | None:
    """Return where the metadata service is looked for, as botocore does; None: it is switched off."""
    environ = os.environ if environ is None else environ
    if environ.get("AWS_EC2_METADATA_DISABLED", "").lower() == "true":
        return None
    return environ.get("AWS_EC2_METADATA_SERVICE_ENDPOINT") or _ENDPOINT


@dataclass
class Metadata:
    """The metadata service at *address*. One thread uses it; it is asked directly, whatever proxies there are."""

    address: str
    patience: float = _PATIENCE_SECONDS
    """Seconds for one answer."""
    _token: str = ""
    _line: http.client.HTTPConnection | None = field(default=None, repr=False)

    def notice(self) -> Notice | None:
        """Return what ends this instance, or None. Raises `Unavailable` when nobody answers as EC2 does."""
        if found := self._spot():
            return found
        state = (self.get("autoscaling/target-lifecycle-state") or "").strip()
        return Notice("Auto Scaling takes the instance away", _ENDS[state]) if state in _ENDS else None

    def recommends_to_leave(self) -> bool:
        """Whether the risk of a Spot interruption is said to be high (a rebalance recommendation)."""
        return self.get("events/recommendations/rebalance") is not None

    def instance(self) -> str:
        """Return the id of this instance."""
        return (self.get("instance-id") or "").strip()

    def get(self, path: str) -> str | None:
        """Return what is below `latest/meta-data/`, None where there is nothing. Raises `Unavailable`."""
        for _ in range(2):
            self._token = self._token or self._new_token()
            status, text = self._ask("GET", f"meta-data/{path}", {"X-aws-ec2-metadata-token": self._token})
            if status == 200:
                return text
            if status == 404:
                return None
            if status != 401:
                break
            self._token = ""  # it has expired, or the instance was stopped and started meanwhile
        raise Unavailable(f"the metadata service answers {status} to {path}")

    def _spot(self) -> Notice | None:
        text = self.get("spot/instance-action")
        if text is None:
            return None
        try:
            document = json.loads(text)
            at = datetime.fromisoformat(document["time"]).timestamp()
            return Notice("Spot takes the instance back", _ACTIONS[document["action"]], at)
        except (ValueError, KeyError, TypeError):
            _log.warning("a Spot notice makes no sense", text=text[:200])
            return None

    def _new_token(self) -> str:
        wanted = {"X-aws-ec2-metadata-token-ttl-seconds": str(_TOKEN_SECONDS)}
        status, text = self._ask("PUT", "api/token", wanted)
        if status != 200 or not text.isprintable():
            raise Unavailable(f"the metadata service gives no token: status {status}")
        return text

    def _ask(self, method: str, path: str, headers: Mapping[str, str]) -> tuple[int, str]:
        for fresh in (False, True):
            try:
                return self._exchange(method, path, headers)
            except (OSError, http.client.HTTPException) as error:
                kept = self._line is not None
                self.close()
                if fresh or not kept:
                    raise Unavailable(f"no metadata service at {self.address}: {error}") from error
        raise Unavailable(f"no metadata service at {self.address}")

    def _exchange(self, method: str, path: str, headers: Mapping[str, str]) -> tuple[int, str]:
        parts = urlsplit(self.address)
        if self._line is None:
            line = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=self.patience)
            line.connect()
            self._line = line
        self._line.request(method, f"{parts.path.rstrip('/')}/latest/{path}", headers=dict(headers))
        answer = self._line.getresponse()
        text = answer.read(_LONGEST).decode("utf-8", "replace")
        if not answer.isclosed():
            raise OSError("an answer is too long")
        return answer.status, text

    def close(self) -> None:
        """Hang up; the next question connects anew."""
        if self._line is not None:
            self._line.close()
            self._line = None
