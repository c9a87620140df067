"""Answer: the projects in what CodeBuild's own `BatchGetProjects` says, asked for now or kept in a file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from agent.aws import translated
from agent.errors import ProjectUnknown, SettingsInvalid
from agent.kit import marked_yaml
from agent.settings.importing.found import Found
from agent.settings.problems import Loc, read_text
from agent.settings.projects import places

_SERVICE = "codebuild"
"""A person's own credentials are used; the role of the host has no need of this, so aws/ does not allow it."""
_MOST_NAMES = 100
_MOST_PAGES = 1000


class Clients(Protocol):
    """What is needed of `agent.aws.Aws`."""

    def client(self, service: str) -> Any: ...


def projects_of_codebuild(clients: Clients, names: Sequence[str]) -> list[Found]:
    """Return the projects called *names* (or with these ARNs), in that order; without any, all of the account.

    Raises `ProjectUnknown` naming those that are not there, `AwsRefused`, `AwsUnavailable`.
    """
    client = clients.client(_SERVICE)
    wanted = list(dict.fromkeys(names)) or _all_names(client)
    found: list[Found] = []
    known: set[str] = set()
    for first in range(0, len(wanted), _MOST_NAMES):
        with translated("codebuild:BatchGetProjects"):
            answer = client.batch_get_projects(names=wanted[first : first + _MOST_NAMES])
        for members in answer.get("projects", []):
            name, arn = str(members.get("name", "")), str(members.get("arn", ""))
            known |= {name, arn}
            found.append(Found(members, arn or f"CodeBuild, {name}", name))
    missing = [name for name in wanted if name not in known]
    if missing:
        raise ProjectUnknown(
            f"CodeBuild has no project {', '.join(sorted(missing))}",
            hint="check the region and account (`aws` in agent.yml, AWS_REGION, AWS_PROFILE); --all takes all",
        )
    return found


def projects_in_answer(file: Path) -> list[Found]:
    """Return the projects of a file that holds such an answer, a list of projects, or one. Raises SettingsInvalid."""
    text, problems = read_text(file, str(file))
    if text is None or problems:
        raise SettingsInvalid(problems, hint="give the answer of `aws codebuild batch-get-projects --names ...`")
    locs, wrong = places(text)
    if wrong:
        raise SettingsInvalid(wrong, hint="give the answer of `aws codebuild batch-get-projects --names ...`")
    root = text.document.root
    found = []
    for loc in locs:
        node = _at(root, loc)
        if not isinstance(node, marked_yaml.Mapping):
            raise SettingsInvalid([text.problem(loc, "expected a project: a mapping with name, source, environment")])
        members: Any = marked_yaml.to_plain(node)
        origin = str(members.get("arn") or file)
        found.append(Found(members, origin, str(file), node.line, node.column, places=dict(_places(node, ()))))
    return found


def _all_names(client: Any) -> list[str]:
    names: list[str] = []
    token: dict[str, str] = {}
    for _ in range(_MOST_PAGES):
        with translated("codebuild:ListProjects"):
            answer = client.list_projects(sortBy="NAME", sortOrder="ASCENDING", **token)
        names += answer.get("projects", [])
        if not answer.get("nextToken"):
            break
        token = {"nextToken": answer["nextToken"]}
    return names


def _at(node: marked_yaml.Node | None, loc: Loc) -> marked_yaml.Node | None:
    for step in loc:
        if isinstance(node, marked_yaml.Sequence) and isinstance(step, int):
            node = node.items[step]
        elif isinstance(node, marked_yaml.Mapping):
            node = node.get(str(step))
    return node


def _places(node: marked_yaml.Node, loc: Loc) -> list[tuple[Loc, tuple[int, int]]]:
    found: list[tuple[Loc, tuple[int, int]]] = [(loc, (node.line, node.column))]
    if isinstance(node, marked_yaml.Mapping):
        for key, item in node.entries:
            found += _places(item, (*loc, key.text))
    elif isinstance(node, marked_yaml.Sequence):
        for index, item in enumerate(node.items):
            found += _places(item, (*loc, index))
    return found
