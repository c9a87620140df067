"""Permissions: what IAM says of all that settings and projects need, by iam:SimulatePrincipalPolicy.

What policies of keys, buckets and other accounts say is not seen so; that is what the other checks try.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from agent.aws import Aws, AwsRefused, translated
from agent.daemon.checks.check import Check
from agent.daemon.checks.needs import Account, Need, statement
from agent.errors import AwsUnavailable

_ROLE = re.compile(r"arn:(?P<partition>[^:]+):sts::(?P<account>\d+):assumed-role/(?P<role>[^/]+)/.*")
_ARN = re.compile(r"arn:(?P<partition>[^:]+):[^:]*:[^:]*:(?P<account>\d*):.*")
_MOST_RESOURCES = 20
_HARDER = {
    "explicitDeny": "a policy denies it: look for a Deny in the role's policies and its permissions boundary",
    "organization": "a service control policy of the organization does not let it pass: ask who administers that",
    "boundary": "the permissions boundary of the role does not let it pass",
}


class Hasty(Aws):
    """Clients that ask once, and do not wait long: whoever asks looks at the answer, and may ask again."""

    SECONDS = 4.0

    def client(self, service: str, *, attempts: int = 1, patience: float = SECONDS) -> Any:
        """See `Aws.client`."""
        return super().client(service, attempts=1, patience=min(patience, self.SECONDS))


def whoami(aws: Aws) -> tuple[Account, str]:
    """Return the account, and who AWS says that we are. Raises `AwsRefused`, `AwsUnavailable`."""
    with translated("sts:GetCallerIdentity"):
        who = aws.client("sts").get_caller_identity()
    arn = str(who["Arn"])
    found = _ARN.fullmatch(arn)
    partition = found["partition"] if found else "aws"
    return Account(partition, aws.region, str(who["Account"]), arn), f"account {who['Account']} as {arn}"


def with_role(account: Account, aws: Aws) -> Account:
    """Return *account* with the role in place of a session of it; its path is asked for where IAM allows that."""
    role = _ROLE.fullmatch(account.principal)
    if role is None:
        return account
    try:
        with translated("iam:GetRole"):
            arn = str(aws.client("iam").get_role(RoleName=role["role"])["Role"]["Arn"])
    except (AwsRefused, AwsUnavailable):
        arn = f"arn:{role['partition']}:iam::{role['account']}:role/{role['role']}"
    return replace(account, principal=arn)


def permissions(aws: Aws, account: Account, needs: Sequence[Need]) -> Iterator[Check]:
    """Have IAM judge all *needs*; one check for those of one Sid. Raises `AwsRefused`, `AwsUnavailable`."""
    if account.principal.endswith(":root"):
        yield Check("permissions", "warn", "this is the root user, who may do anything", "give the host a role instead")
        return
    try:
        missing = {need: _missing(aws, account, need, group) for need, group in _groups(needs)}
    except AwsRefused as error:
        yield _not_simulated(error, account)
        return
    except AwsUnavailable as error:
        yield Check("permissions", "skipped", f"IAM cannot be asked what is allowed: {error.message}")
        return
    for sid in dict.fromkeys(need.sid for need in needs):
        yield _judged(sid, [need for need in needs if need.sid == sid], missing)


def _not_simulated(error: AwsRefused, account: Account) -> Check:
    allow = statement("AskWhatIsAllowed", ["iam:SimulatePrincipalPolicy", "iam:GetRole"], [account.principal])
    text = f"IAM does not say what is allowed, so only what can be tried was tried: {error.message}"
    return Check("permissions", "skipped", text, "allow the simulation to have every permission looked at", allow)


Missing = Mapping[tuple[str, str], str]
"""Of an action and a resource: why it is not allowed."""


def _groups(needs: Sequence[Need]) -> Iterator[tuple[Need, list[Need]]]:
    """Yield the needs that one question of the simulator answers, under the first of them."""
    kinds: dict[tuple[tuple[str, ...], tuple[tuple[str, str], ...]], list[Need]] = {}
    for need in needs:
        kinds.setdefault((need.actions, need.context), []).append(need)
    for alike in kinds.values():
        for start in range(0, len(alike), _MOST_RESOURCES):
            yield alike[start], alike[start : start + _MOST_RESOURCES]


def _missing(aws: Aws, account: Account, need: Need, alike: Sequence[Need]) -> Missing:
    asked = {
        "PolicySourceArn": account.principal,
        "ActionNames": list(need.actions),
        "ResourceArns": sorted({one.resource for one in alike}),
        "ContextEntries": [
            {"ContextKeyName": key, "ContextKeyValues": [value], "ContextKeyType": "string"}
            for key, value in need.context
        ],
    }
    found: dict[tuple[str, str], str] = {}
    more: dict[str, str] = {}
    while True:
        with translated("iam:SimulatePrincipalPolicy"):
            answer = aws.client("iam").simulate_principal_policy(**asked, **more)
        for result in answer.get("EvaluationResults", ()):
            if result.get("EvalDecision") != "allowed":
                found[str(result.get("EvalActionName")), str(result.get("EvalResourceName", "*"))] = _why(result)
        if not answer.get("IsTruncated"):
            return found
        more = {"Marker": str(answer["Marker"])}


def _why(result: Mapping[str, Any]) -> str:
    if result.get("EvalDecision") == "explicitDeny":
        return "explicitDeny"
    if result.get("OrganizationsDecisionDetail", {}).get("AllowedByOrganizations") is False:
        return "organization"
    if result.get("PermissionsBoundaryDecisionDetail", {}).get("AllowedByPermissionsBoundary") is False:
        return "boundary"
    return "implicitDeny"


def _judged(sid: str, needs: Sequence[Need], missing: Mapping[Need, Missing]) -> Check:
    known = {place: why for group in missing.values() for place, why in group.items()}
    lacking = [
        (action, need, known[action, need.resource])
        for need in needs
        for action in need.actions
        if (action, need.resource) in known
    ]
    name = f"permission {sid}"
    if not lacking:
        actions = sorted({action for need in needs for action in need.actions})
        return Check(name, "ok", ", ".join(actions))
    actions = list(dict.fromkeys(action for action, _, _ in lacking))
    who = list(dict.fromkeys(need.who for _, need, _ in lacking))
    resources = list(dict.fromkeys(need.resource for _, need, _ in lacking))
    text = f"{', '.join(actions)} is not allowed on {few(resources)} (needed by {few(who)})"
    harder = [_HARDER[why] for _, _, why in lacking if why in _HARDER]
    if harder:
        return Check(name, "fail", text, harder[0])
    allow = statement(sid, actions, resources, lacking[0][1].context)
    return Check(name, "fail", text, "add the statement to the policy of the role (aws/agent-policy.yml has it)", allow)


def few(names: Sequence[str]) -> str:
    """Return the first three of *names* in words. Pure."""
    rest = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return f"{', '.join(names[:3])}{rest}"
