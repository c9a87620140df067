"""Cause: why a build ended badly, as one word that a machine can act on; with what it means and what to do."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal


class Cause(StrEnum):
    """Why a build did not succeed: the first thing that went wrong, or the first fault where it ended FAULT.

    docs/FAILURES.md shows the whole list.
    """

    COMMAND_FAILED = "COMMAND_FAILED"
    COMMAND_NOT_FOUND = "COMMAND_NOT_FOUND"
    OUT_OF_MEMORY = "OUT_OF_MEMORY"
    DISK_QUOTA_EXCEEDED = "DISK_QUOTA_EXCEEDED"
    RUNTIME_SETUP_FAILED = "RUNTIME_SETUP_FAILED"
    BUILDSPEC_INVALID = "BUILDSPEC_INVALID"
    BUILDSPEC_MISSING = "BUILDSPEC_MISSING"
    SOURCE_NOT_FOUND = "SOURCE_NOT_FOUND"
    SOURCE_DENIED = "SOURCE_DENIED"
    SOURCE_INVALID = "SOURCE_INVALID"
    VARIABLE_UNRESOLVED = "VARIABLE_UNRESOLVED"
    IMAGE_NOT_FOUND = "IMAGE_NOT_FOUND"
    IMAGE_DENIED = "IMAGE_DENIED"
    IMAGE_UNUSABLE = "IMAGE_UNUSABLE"
    CONTAINER_REFUSED = "CONTAINER_REFUSED"
    VPC_MISMATCH = "VPC_MISMATCH"
    PREFLIGHT_FAILED = "PREFLIGHT_FAILED"
    PREFLIGHT_NO_ROUTE = "PREFLIGHT_NO_ROUTE"
    PREFLIGHT_REFUSED = "PREFLIGHT_REFUSED"
    PREFLIGHT_TIMED_OUT = "PREFLIGHT_TIMED_OUT"
    ARTIFACTS_MISSING = "ARTIFACTS_MISSING"
    REPORT_INVALID = "REPORT_INVALID"
    UPLOAD_DENIED = "UPLOAD_DENIED"
    KMS_DENIED = "KMS_DENIED"
    AWS_DENIED = "AWS_DENIED"
    CREDENTIALS_MISSING = "CREDENTIALS_MISSING"
    ROLE_DENIED = "ROLE_DENIED"
    PROJECT_INVALID = "PROJECT_INVALID"
    TIMED_OUT_QUEUED = "TIMED_OUT_QUEUED"
    TIMED_OUT_PROVISIONING = "TIMED_OUT_PROVISIONING"
    TIMED_OUT_SOURCE = "TIMED_OUT_SOURCE"
    TIMED_OUT_COMMANDS = "TIMED_OUT_COMMANDS"
    STOPPED_BY_USER = "STOPPED_BY_USER"
    SUPERSEDED = "SUPERSEDED"
    HOST_INTERRUPTED = "HOST_INTERRUPTED"
    IMAGE_RATE_LIMITED = "IMAGE_RATE_LIMITED"
    REGISTRY_UNAVAILABLE = "REGISTRY_UNAVAILABLE"
    DNS_FAILED = "DNS_FAILED"
    GIT_UNAVAILABLE = "GIT_UNAVAILABLE"
    AWS_UNAVAILABLE = "AWS_UNAVAILABLE"
    CREDENTIALS_EXPIRED = "CREDENTIALS_EXPIRED"
    ENGINE_UNAVAILABLE = "ENGINE_UNAVAILABLE"
    ENGINE_RESTARTED = "ENGINE_RESTARTED"
    CONTAINER_REMOVED = "CONTAINER_REMOVED"
    CONTAINER_KILLED = "CONTAINER_KILLED"
    HOST_RESTARTED = "HOST_RESTARTED"
    HOST_DISK_FULL = "HOST_DISK_FULL"
    GUARD_MISSING = "GUARD_MISSING"
    STATE_DAMAGED = "STATE_DAMAGED"
    INTERNAL_ERROR = "INTERNAL_ERROR"


@dataclass(frozen=True)
class Explanation:
    """What a cause means, what to do, and whose it is: `user` (red), `fault` (ours, or what we lean on), `asked`."""

    meaning: str
    advice: str
    whose: Literal["user", "fault", "asked"]


def _user(meaning: str, advice: str) -> Explanation:
    return Explanation(meaning, advice, "user")


def _fault(meaning: str, advice: str) -> Explanation:
    return Explanation(meaning, advice, "fault")


def _asked(meaning: str, advice: str) -> Explanation:
    return Explanation(meaning, advice, "asked")


SUPERSEDED_BY = "superseded by "
"""How the reason of a stop begins that a newer build of the branch asks for."""
INTERRUPTED_BY = "host interrupted: "
"""How the reason of a stop begins that is asked for because the host is about to go away."""

LOST = frozenset({Cause.ENGINE_RESTARTED, Cause.HOST_RESTARTED, Cause.CONTAINER_REMOVED, Cause.CONTAINER_KILLED})
"""The container went, and not by the build's doing: what `agent.rerun_lost` starts over after."""


def of_stop(reason: str) -> Cause:
    """Return the cause of a build that ends because it was asked to, by the reason that was given. Pure."""
    if reason.startswith(SUPERSEDED_BY):
        return Cause.SUPERSEDED
    return Cause.HOST_INTERRUPTED if reason.startswith(INTERRUPTED_BY) else Cause.STOPPED_BY_USER


EXPLANATIONS: dict[Cause, Explanation] = {
    Cause.COMMAND_FAILED: _user(
        "a command of the buildspec ended with an error", "read the log above the phase that failed"
    ),
    Cause.COMMAND_NOT_FOUND: _user(
        "a command of the buildspec is not in the build image, may not be executed, or is no command of its shell",
        "install it in the image or in the phase install; for `source` and `[[`, set env.shell: bash",
    ),
    Cause.OUT_OF_MEMORY: _user(
        "the kernel killed a process of the build because the container's memory was used up",
        "raise environment.computeType or agent.resources.memory",
    ),
    Cause.DISK_QUOTA_EXCEEDED: _user(
        "the build wrote more to the disk than one build may", "write less, or raise disk.build_quota of agent.yml"
    ),
    Cause.RUNTIME_SETUP_FAILED: _user(
        "a command of the image that sets up a runtime version failed",
        "look at the log; choose a version that the image has",
    ),
    Cause.BUILDSPEC_INVALID: _user("the buildspec cannot be used", "run buildspecd validate on the file"),
    Cause.BUILDSPEC_MISSING: _user(
        "there is no buildspec where the project says", "commit buildspec.yml, or set source.buildspec to where it lies"
    ),
    Cause.SOURCE_NOT_FOUND: _user(
        "there is no such repository, object, branch, tag or commit", "check source.location and sourceVersion"
    ),
    Cause.SOURCE_DENIED: _user(
        "the server of the source does not let this host in",
        "run buildspecd projects check --sources, and mend the credentials",
    ),
    Cause.SOURCE_INVALID: _user(
        "the source cannot be unpacked: a damaged archive, or one that reaches out of the workspace",
        "make the archive anew",
    ),
    Cause.VARIABLE_UNRESOLVED: _user(
        "a parameter or secret that a variable refers to cannot be read",
        "check its name, and the permissions of serviceRole, or of the host's role without one",
    ),
    Cause.IMAGE_NOT_FOUND: _user("there is no such build image", "check environment.image: try docker pull"),
    Cause.IMAGE_DENIED: _user(
        "the registry does not hand out the build image", "check environment.registryCredential and the host's role"
    ),
    Cause.IMAGE_UNUSABLE: _user("the build image cannot run a build", "use an image that contains /bin/sh"),
    Cause.CONTAINER_REFUSED: _user(
        "the Docker engine refuses a container with these settings",
        "check environment, agent.network and agent.resources",
    ),
    Cause.VPC_MISMATCH: _user(
        "the host does not stand in the VPC that the project expects, or nobody can tell",
        "run the project on a host of that VPC, correct vpcConfig, or set agent.vpc: warn",
    ),
    Cause.PREFLIGHT_FAILED: _user(
        "something that the project needs cannot be reached from this host",
        "check agent.preflight, security groups and routes",
    ),
    Cause.PREFLIGHT_NO_ROUTE: _user(
        "no route leads from the build's network to something that the project needs",
        "check agent.network, and the route table of the host's subnet",
    ),
    Cause.PREFLIGHT_REFUSED: _user(
        "something that the project needs refuses connections", "is it running, and does it listen on that port?"
    ),
    Cause.PREFLIGHT_TIMED_OUT: _user(
        "something that the project needs does not answer when it is connected to",
        "check its security group and the network ACLs of both subnets",
    ),
    Cause.ARTIFACTS_MISSING: _user("no file matched the artifacts", "check artifacts.files and base-directory"),
    Cause.REPORT_INVALID: _user(
        "a file of test or coverage results cannot be understood", "check reports and file-format"
    ),
    Cause.UPLOAD_DENIED: _user(
        "the bucket says no", "check the bucket's name and policy, and the permissions of the role"
    ),
    Cause.KMS_DENIED: _user(
        "the KMS key says no", "allow kms:GenerateDataKey and kms:Decrypt for the role in the key's policy"
    ),
    Cause.AWS_DENIED: _user("AWS says no", "allow the action that the message names for the role"),
    Cause.CREDENTIALS_MISSING: _user(
        "this host has no AWS credentials, or none that AWS knows",
        "give the host an instance role, or set aws.profile in agent.yml",
    ),
    Cause.ROLE_DENIED: _user(
        "the service role of the project cannot be assumed",
        "let the host's role assume it, in its trust policy and in the policy of the host's role; the message has both",
    ),
    Cause.PROJECT_INVALID: _user(
        "the project asks for what cannot be done", "correct the project file as the message says"
    ),
    Cause.TIMED_OUT_QUEUED: _user(
        "the build waited in the queue for too long", "raise builds.max_concurrent or queuedTimeoutInMinutes"
    ),
    Cause.TIMED_OUT_PROVISIONING: _user(
        "the time was over before the container ran", "look at how long the image takes to pull; raise timeoutInMinutes"
    ),
    Cause.TIMED_OUT_SOURCE: _user(
        "the time was over before the first command", "look at how long source and cache take; raise timeoutInMinutes"
    ),
    Cause.TIMED_OUT_COMMANDS: _user(
        "the time was over while the commands ran", "look at the last command in the log; raise timeoutInMinutes"
    ),
    Cause.STOPPED_BY_USER: _asked("somebody stopped the build", "buildspecd retry starts it again"),
    Cause.SUPERSEDED: _asked(
        "a newer build of the branch took its place", "nothing; agent.supersede of the project says so"
    ),
    Cause.HOST_INTERRUPTED: _fault(
        "the host was about to be taken away (Spot, Auto Scaling, shutdown)",
        "buildspecd retry starts it again where it is needed",
    ),
    Cause.IMAGE_RATE_LIMITED: _fault(
        "the registry limits how often this host may pull",
        "log in to the registry, or use a mirror or a pull-through cache",
    ),
    Cause.REGISTRY_UNAVAILABLE: _fault(
        "the image registry does not answer", "try again later; check the route to the registry"
    ),
    Cause.DNS_FAILED: _fault("a host name could not be resolved", "check the name, and the name service of this host"),
    Cause.GIT_UNAVAILABLE: _fault("the git server does not answer", "try again later; check the route to the server"),
    Cause.AWS_UNAVAILABLE: _fault(
        "an AWS service does not answer, or throttles", "try again later; check endpoints and routes"
    ),
    Cause.CREDENTIALS_EXPIRED: _fault(
        "AWS takes the credentials of this host for expired",
        "check the instance role, the clock and the metadata service",
    ),
    Cause.ENGINE_UNAVAILABLE: _fault("the Docker engine does not answer", "sudo systemctl status docker"),
    Cause.ENGINE_RESTARTED: _fault(
        "the Docker engine was restarted and took the container with it",
        "set live-restore: true in /etc/docker/daemon.json",
    ),
    Cause.CONTAINER_REMOVED: _fault(
        "somebody removed the container of the build", "leave containers named buildspecd-* alone"
    ),
    Cause.CONTAINER_KILLED: _fault(
        "something outside the build killed its container",
        "look for docker kill, or the kernel's out-of-memory killer on the host",
    ),
    Cause.HOST_RESTARTED: _fault("the host was restarted while the build ran", "buildspecd retry starts it again"),
    Cause.HOST_DISK_FULL: _fault(
        "no space was left on the host", "free some disk space; see retention and disk in agent.yml"
    ),
    Cause.GUARD_MISSING: _fault(
        "the host's own AWS credentials would be within reach of the build",
        "sudo systemctl enable --now buildspecd-guard; buildspecd doctor says whether it holds",
    ),
    Cause.STATE_DAMAGED: _fault(
        "files of this build in state_dir cannot be read", "check the disk; start the build again"
    ),
    Cause.INTERNAL_ERROR: _fault("buildspecd broke", "report it with the daemon's log; start the build again"),
}
