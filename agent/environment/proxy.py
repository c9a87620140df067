"""Proxy: the explicit proxy that a build's own variables name (buildspec.md 8). Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping

from agent.aws import Proxies

NAMES = frozenset({"HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy"})
"""The variables that name a proxy; where both spellings are set, the lower one wins, as in most programs."""

_URL = re.compile(r"(?:https?://)?(?:[^/\s@]*@)?[A-Za-z0-9._\[\]:-]+/?", re.ASCII)


def proxies_of(variables: Mapping[str, str]) -> Proxies | None:
    """Return the proxies that *variables* name; None where they name none that can be used."""
    named = {scheme: _named(f"{scheme}_proxy", variables) for scheme in ("http", "https")}
    usable = {scheme: _with_scheme(value) for scheme, value in named.items() if _URL.fullmatch(value)}
    if not usable:
        return None
    listed = re.split(r"[,\s]+", _named("no_proxy", variables).lower())
    return Proxies(usable, tuple(one.removeprefix("*.").removeprefix(".") for one in listed if one))


def _named(name: str, variables: Mapping[str, str]) -> str:
    return (variables.get(name) or variables.get(name.upper()) or "").strip()


def _with_scheme(value: str) -> str:
    return value if "://" in value else f"http://{value}"
