"""Preflight: what a project says it needs is connected to, from the network of the build, before its first command.

That a connection is accepted is all that is asked for: nothing is sent, so a server that accepts and never answers
passes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from agent.container import lookout
from agent.container.lookout import Survey
from agent.errors import PreflightFailed
from agent.kit.dial import Answer, Hop
from agent.kit.heed import LOOK_SECONDS, begun, patiently
from agent.kit.resolver import is_address
from agent.model.cause import Cause

if TYPE_CHECKING:
    from agent.pipeline.job import Job

_CAUSES = {
    Hop.NAME: Cause.DNS_FAILED,
    Hop.ROUTE: Cause.PREFLIGHT_NO_ROUTE,
    Hop.REFUSED: Cause.PREFLIGHT_REFUSED,
    Hop.SILENCE: Cause.PREFLIGHT_TIMED_OUT,
    Hop.OTHER: Cause.PREFLIGHT_FAILED,
}
_HINTS = {
    Hop.NAME: "check the spelling, the private hosted zone and that it is associated with this VPC; try: dig {host}",
    Hop.ROUTE: "check the route table of the host's subnet, and VPN or peering; try: ip route get {address}",
    Hop.REFUSED: "the other host is reached, and nothing listens on port {port} there: is the service up, is the port"
    " right, does it listen on this address?",
    Hop.SILENCE: "look at the security group of {host}: it must let in TCP {port} from this host's security group or"
    " address; then at the network ACLs of both subnets (answers go to ports 1024-65535)",
    Hop.OTHER: "check agent.preflight, security groups and routes",
}


def ahead(job: Job) -> None:
    """Look before there is a container, where it would see what this process sees. Raises `PreflightFailed`."""
    options = job.build.project.agent
    if options.preflight and job.tools.lookout.shares(options.network):
        report(job, patiently(lambda: lookout.from_host(options.preflight)))


def inside(job: Job) -> None:
    """Look from the container that was just started, where its network is its own. Raises `PreflightFailed`.

    Where that takes a process in the container it is begun only, and goes on while the sources are fetched.
    """
    options, eyes = job.build.project.agent, job.tools.lookout
    job.looked_out, job.outlook = True, None
    if not options.preflight or eyes.shares(options.network):
        return
    container = job.container or job.tools.engine.find(job.build.id)
    if not container:
        return
    seen = patiently(lambda: eyes.at_once(container, options.preflight))
    if seen is not None:
        report(job, seen)
    else:
        job.outlook = begun(lambda: eyes.from_container(container, options.preflight), "preflight")


def settle(job: Job) -> None:
    """Wait for what was begun, by this daemon or one before it. Raises `PreflightFailed`."""
    if not job.looked_out:
        inside(job)
    outlook, job.outlook = job.outlook, None
    if outlook is not None:
        while not outlook.over.wait(LOOK_SECONDS):
            job.check()
        report(job, outlook.answer())


def report(job: Job, survey: Survey) -> None:
    """Write what was seen into the log. Raises `PreflightFailed` for what did not answer."""
    if survey.remark:
        job.say(f"warning: preflight: {survey.remark}")
    for answer in survey.answers:
        if answer.hop is None:
            job.say(f"preflight: {described(answer)}")
    missed = [answer for answer in survey.answers if answer.hop is not None]
    if missed:
        raise failure(missed, survey, job.build.project.agent.network)


def described(answer: Answer) -> str:
    """Return what to say of a target, in one line. Pure."""
    literal = answer.target.rpartition(":")[0].strip("[]") == answer.address
    where = f"{answer.target} ({answer.address})" if answer.address and not literal else answer.target
    if answer.hop is not None:
        return f"{where}: {answer.hop.value}: {answer.said}" if answer.said else f"{where}: {answer.hop.value}"
    if answer.seconds is None:
        return f"{where} answers"
    spent = answer.seconds * 1000
    return f"{where} answers in {spent:.1f} ms" if spent < 1 else f"{where} answers in {spent:.0f} ms"


def failure(missed: Sequence[Answer], survey: Survey, network: str) -> PreflightFailed:
    """Return the error for what did not answer, which names every hop that failed. Pure."""
    said = "; ".join(described(answer) for answer in missed)
    hop = missed[0].hop or Hop.OTHER
    return PreflightFailed(f"preflight: {said}", hint=hint(missed[0], survey.servers, network), cause=_CAUSES[hop])


def hint(answer: Answer, servers: str, network: str) -> str:
    """Return what to look at for a target that did not answer, looked at from *network*. Pure."""
    hop, (host, _, port) = answer.hop or Hop.OTHER, answer.target.rpartition(":")
    if network == "none":
        return "agent.network is none, so the build reaches nothing: choose another, or drop agent.preflight"
    advice = _HINTS[hop].format(host=host.strip("[]"), port=port, address=answer.address or host.strip("[]"))
    if hop is Hop.NAME and (asked := next((word for word in servers.split() if is_address(word)), "")):
        advice = f"{advice} @{asked}"
    if network != "host":
        advice = f"{advice} (this was tried from the Docker network {network})"
    return advice
