"""Why an image could not be pulled, told from the engine's answer: the user's doing, or the registry's."""

from __future__ import annotations

from agent.errors import BuildspecdError, DiskFull, ImageUnavailable, RegistryUnavailable

_LATER = ("toomanyrequests", "too many requests", "rate exceeded")
_NEVER = (
    "not found",
    "manifest unknown",
    "name unknown",
    "does not exist",
    "access denied",
    "unauthorized",
    "no basic auth credentials",
    "authentication required",
    "authorization failed",
    "incorrect username or password",
    "is denied",
    "no matching manifest",
    "invalid reference format",
    "not authorized",
    "403 forbidden",
    "unsupported manifest",
)
_REFUSED = frozenset({400, 401, 403, 404})
_HINT_NEVER = "check the image name, and that this host may pull it: try docker pull"
_HINT_LATER = "the registry may be down or limit the rate of pulls; a mirror or a login helps against limits"


def pull_error(reference: str, text: str, status: int | None = None) -> BuildspecdError:
    """Return the error that fits.

    *status* is the HTTP status of the engine, where it gave one. The engine answers 500 for nearly everything that a
    registry says, or sends a text in the middle of a stream, so its words have to decide.
    """
    words = text.lower()
    message = f"cannot pull {reference}: {text.strip()}"
    if "no space left on device" in words:
        return DiskFull(message, hint="free some disk space: docker system df shows what images take")
    if status == 429 or any(word in words for word in _LATER):
        return RegistryUnavailable(message, hint=_HINT_LATER)
    # A host name that does not resolve is a text with "no such host"; a registry's "not found" comes without it.
    if "no such host" in words:
        return RegistryUnavailable(message, hint="check the image name, and the name service of this host")
    if status in _REFUSED or any(word in words for word in _NEVER):
        return ImageUnavailable(message, hint=_HINT_NEVER)
    return RegistryUnavailable(message, hint=_HINT_LATER)
