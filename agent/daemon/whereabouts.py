"""Whereabouts: where in EC2 this host stands, asked of the metadata service now and then and never waited for long."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NotYet

from agent.daemon.metadata import Metadata
from agent.errors import Unavailable
from agent.kit.clock import Clock
from agent.model.place import HostPlace, Interface

PATIENCE_SECONDS = 1.0
"""How long a build waits for the metadata service at most, whatever that does."""
ABSENT_SECONDS = 60.0
"""For how long it is taken for absent after it did not answer."""
_MOST_INTERFACES = 16
_HINT = (
    "on EC2: aws ec2 modify-instance-metadata-options --instance-id ID --http-endpoint enabled;"
    " elsewhere set agent.vpc: ignore in the project, or host.vpc: ignore in agent.yml"
)


class Whereabouts:
    """Asks the metadata service at *address*; None: there is none. Any thread may ask, and one question serves all."""

    def __init__(self, address: str | None, clock: Clock) -> None:
        self._address = address
        self._clock = clock
        self._lock = threading.Lock()
        self._asked: Future[HostPlace] | None = None
        self._since = 0.0

    def ask(self, at_most_old: float) -> HostPlace:
        """Return where the host stands, as it was *at_most_old* seconds ago at the earliest.

        Raises `Unavailable` when nobody answers in time, for a minute without asking anew unless *at_most_old* is less.
        """
        if self._address is None:
            raise Unavailable("the metadata service is switched off (AWS_EC2_METADATA_DISABLED)", hint=_HINT)
        asked = self._under_way_or_known(at_most_old)
        try:
            return asked.result(PATIENCE_SECONDS)
        except NotYet:
            text = f"the metadata service at {self._address} does not answer within {PATIENCE_SECONDS:g} s"
            raise self._absent(asked, Unavailable(text, hint=_HINT)) from None
        except Unavailable as error:
            raise Unavailable(error.message, hint=_HINT) from error

    def _under_way_or_known(self, at_most_old: float) -> Future[HostPlace]:
        now = self._clock.monotonic()
        with self._lock:
            known = self._asked
            if known is not None and known.done():
                kept = min(at_most_old, ABSENT_SECONDS) if known.exception() else at_most_old
                if now - self._since > kept:
                    known = None
            if known is None:
                known = self._asked = Future()
                self._since = now
                threading.Thread(target=self._find_out, args=(known,), name="whereabouts", daemon=True).start()
            return known

    def _absent(self, asked: Future[HostPlace], error: Unavailable) -> Unavailable:
        """Let nobody else wait for an answer that did not come; one that comes late is dropped."""
        late: Future[HostPlace] = Future()
        late.set_exception(error)
        with self._lock:
            if self._asked is asked:
                self._asked, self._since = late, self._clock.monotonic()
        return error

    def _find_out(self, asked: Future[HostPlace]) -> None:
        metadata = Metadata(self._address or "", patience=PATIENCE_SECONDS)
        try:
            asked.set_result(place_of(metadata.get, metadata.instance()))
        except Unavailable as error:
            asked.set_exception(error)
        except ValueError as error:
            asked.set_exception(Unavailable(f"no metadata service can be asked at {self._address}: {error}"))
        finally:
            metadata.close()


def place_of(get: Callable[[str], str | None], instance: str) -> HostPlace:
    """Return where a host stands by what *get* finds below `latest/meta-data/` (service.md 10.3)."""
    macs = [(get("mac") or "").strip(), *(line.strip("/ ") for line in (get("network/interfaces/macs/") or "").split())]
    there = [mac for mac in dict.fromkeys(macs) if re.fullmatch(r"[0-9a-f:]{17}", mac)][:_MOST_INTERFACES]
    return HostPlace(instance, tuple(_interface(get, mac) for mac in there))


def _interface(get: Callable[[str], str | None], mac: str) -> Interface:
    def fact(name: str) -> str:
        return (get(f"network/interfaces/macs/{mac}/{name}") or "").strip()

    groups = frozenset(fact("security-group-ids").split())
    return Interface(id=fact("interface-id"), vpc=fact("vpc-id"), subnet=fact("subnet-id"), groups=groups)
