"""Network: whether this host has a way out, resolves names and reaches what it is to ask (service.md 10.2)."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from urllib.parse import urlsplit

from agent.container import lookout
from agent.daemon.checks.check import Check
from agent.kit.dial import Hop
from agent.pipeline.preflight import described, hint

_GONE = "00000000"
_PATIENCE_SECONDS = 4.0
_ANSWER_REMEDY = {
    Hop.NAME: "check /etc/resolv.conf, and in a VPC enableDnsSupport; try: getent hosts {host}",
    Hop.SILENCE: "let TCP {port} out in the security group and the network ACLs of this host; in a private subnet it"
    " takes a NAT gateway or an interface endpoint of {host}",
}


def route(table: Path = Path("/proc/net/route"), table6: Path = Path("/proc/net/ipv6_route")) -> Iterator[Check]:
    """Whether there is a default route."""
    if not table.is_file():
        yield Check("route", "skipped", f"there is no {table}")
    elif found := default_routes(table.read_text(), table6.read_text() if table6.is_file() else ""):
        yield Check("route", "ok", f"a default route through {', '.join(found)}")
    else:
        remedy = "ip route shows what there is; in a VPC look at the route table of the subnet"
        yield Check("route", "warn", "there is no default route: only the local network is reached", remedy)


def default_routes(table: str, table6: str) -> list[str]:
    """Return the devices of default routes, by the lines of /proc/net/route and ipv6_route. Pure."""
    rows = [line.split() for line in table.splitlines()[1:]]
    found = [row[0] for row in rows if len(row) > 7 and row[1] == row[7] == _GONE]
    rows = [line.split() for line in table6.splitlines()]
    found += [row[9] for row in rows if len(row) > 9 and set(row[0]) == {"0"} and row[1] == "00" and row[9] != "lo"]
    return list(dict.fromkeys(found))


def proxies(environ: Mapping[str, str] | None = None) -> str | None:
    """Return the proxy that HTTPS goes through by the environment; None: it goes directly."""
    environ = os.environ if environ is None else environ
    return environ.get("https_proxy") or environ.get("HTTPS_PROXY") or None


def endpoints(urls: Sequence[str]) -> Iterator[Check]:
    """Whether the hosts of *urls* are connected to, and how long that takes; or the proxy that stands before them."""
    proxy = proxies()
    for check in reached("connect", ["https://" + proxy.rpartition("@")[2].split("//")[-1]] if proxy else urls):
        yield (
            check
            if proxy is None
            else Check(check.name, check.status, f"through the proxy {check.message}", check.remedy)
        )


def reached(name: str, urls: Sequence[str]) -> Iterator[Check]:
    """Connect to the host of each URL, all at once."""
    targets = dict.fromkeys(target_of(url) for url in urls)
    survey = lookout.from_host(list(targets), _PATIENCE_SECONDS)
    for answer in survey.answers:
        if answer.hop is None:
            yield Check(name, "ok", described(answer))
        else:
            host, _, port = answer.target.rpartition(":")
            words = _ANSWER_REMEDY.get(answer.hop)
            advice = words.format(host=host, port=port) if words else hint(answer, survey.servers, "host")
            yield Check(name, "fail", described(answer), advice)


def target_of(url: str) -> str:
    """Return `host:port` of an http(s) URL. Pure."""
    parts = urlsplit(url)
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname or ""
    return f"{host}:{parts.port or (80 if parts.scheme == 'http' else 443)}"
