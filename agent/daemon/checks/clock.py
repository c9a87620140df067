"""Clock: how far this host's is from the one of AWS, which takes no request that is five minutes off."""

from __future__ import annotations

import urllib.error
import urllib.request
from collections.abc import Iterator
from email.utils import parsedate_to_datetime

from agent.daemon.checks.check import Check
from agent.errors import Unavailable
from agent.kit.clock import Clock

_WORRYING_SECONDS = 30.0
_REFUSED_SECONDS = 280.0
_PATIENCE_SECONDS = 4.0
_REMEDY = "sudo timedatectl set-ntp true, then look with: chronyc tracking (on EC2 the time service is 169.254.169.123)"


def clock(endpoint: str, own: Clock) -> Iterator[Check]:
    """Compare with the Date of what *endpoint* answers, whatever that is; through the proxies of the environment.

    Raises `Unavailable` when nobody answers.
    """
    begun = own.now()
    date = date_of(endpoint)
    taken = own.now() - begun
    if date is None:
        yield Check("clock", "skipped", f"{endpoint} does not tell the time")
        return
    offset = begun + taken / 2 - date
    yield judged(offset, endpoint)


def judged(offset: float, endpoint: str) -> Check:
    """Return what to say of a clock that is *offset* seconds ahead of that of *endpoint*. Pure."""
    how = f"{abs(offset):.0f} s {'ahead of' if offset > 0 else 'behind'} {endpoint}"
    if abs(offset) > _REFUSED_SECONDS:
        return Check("clock", "fail", f"{how}: AWS refuses requests that are five minutes off", _REMEDY)
    if abs(offset) > _WORRYING_SECONDS:
        return Check("clock", "warn", f"{how}; beyond five minutes AWS refuses every request", _REMEDY)
    return Check("clock", "ok", f"as that of {endpoint}")  # the header knows whole seconds only


def date_of(endpoint: str) -> float | None:
    """Return the time that *endpoint* tells, in epoch seconds; None where it tells none. Raises `Unavailable`."""
    request = urllib.request.Request(endpoint, method="HEAD")  # noqa: S310 - from settings that were checked
    try:
        with urllib.request.urlopen(request, timeout=_PATIENCE_SECONDS) as answer:  # noqa: S310
            text = answer.headers.get("Date")
    except urllib.error.HTTPError as error:
        text = error.headers.get("Date")
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        raise Unavailable(f"{endpoint} does not answer: {reason}", hint="see the checks of the network") from error
    try:
        return parsedate_to_datetime(text).timestamp() if text else None
    except (TypeError, ValueError):
        return None
