"""Variables: the `env` section, and version 0.1's `environment_variables` (buildspec.md 2.1, 2.3, 6)."""

from __future__ import annotations

import re

from agent.buildspec import grammar
from agent.buildspec.buildspec import Version
from agent.buildspec.plan import VariablesPlan
from agent.buildspec.problems import Findings, shown
from agent.buildspec.section import Section
from agent.kit.marked_yaml import Scalar

_SHELL_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_OURS = "CODEBUILD_"
_SETTABLE = frozenset(("CODEBUILD_CONFIG_AUTO_DISCOVER", "CODEBUILD_CONFIG_AUTO_DISCOVER_DIR"))
_WINDOWS_SHELLS = frozenset(("powershell", "powershell.exe", "cmd", "cmd.exe"))

Table = dict[str, Scalar]


def read_variables(root: Section, version: Version, findings: Findings) -> tuple[VariablesPlan, str | None]:
    """Return the variables, each name in one map only, and the shell if the file names one."""
    env = root.section("env")
    plain: Table = _old_variables(root) if version == "0.1" else {}
    if env is None:
        return VariablesPlan(plain=texts(usable(plain, findings))), None
    env.only(grammar.ENV)
    plain |= env.table("variables")
    tables = {
        "variables": usable(plain, findings),
        "parameter-store": _references(env, "parameter-store", findings),
        "secrets-manager": _references(env, "secrets-manager", findings),
    }
    _leave_each_name_once(tables, findings)
    variables = VariablesPlan(
        plain=texts(tables["variables"]),
        parameter_store=texts(tables["parameter-store"]),
        secrets_manager=texts(tables["secrets-manager"]),
        exported=_exported(env),
        git_credential_helper=env.yes_no("git-credential-helper"),
    )
    return variables, _shell(env, findings)


def _old_variables(root: Section) -> Table:
    """Return `environment_variables.plaintext`, the spelling of version 0.1."""
    section = root.section("environment_variables")
    if section is None:
        return {}
    section.only(grammar.OLD_VARIABLES)
    return section.table("plaintext")


def _exported(env: Section) -> tuple[str, ...]:
    """Return the names to publish; whatever is wrong with them, the build itself is the same."""
    return tuple(dict.fromkeys(name for name in env.lenient().texts("exported-variables") or () if name))


def _references(env: Section, key: str, findings: Findings) -> Table:
    """Return a map of names to what a store is asked for; that cannot be nothing."""
    table = usable(env.table(key), findings)
    for name, value in table.items():
        if value.is_null or not value.text:
            words = f"env.{key}.{shown(name)} has no value at line {value.line}"
            findings.fatal(value.line, value.column, words)
    return table


def usable(table: Table, findings: Findings) -> Table:
    """Return *table* without names that no environment can hold; warn of those, and of names with a catch."""
    usable = {}
    for name, value in table.items():
        if not name or "=" in name:
            findings.warning(value, f"`{shown(name)}` cannot be the name of a variable and is ignored")
            continue
        if not _SHELL_NAME.fullmatch(name):
            findings.warning(value, f"variable `{shown(name)}` has a name that a shell cannot use and is left out")
        elif name.startswith(_OURS) and name not in _SETTABLE:
            findings.warning(value, f"variable `{shown(name)}`: names that begin with {_OURS} are reserved")
        usable[name] = value
    return usable


def _leave_each_name_once(tables: dict[str, Table], findings: Findings) -> None:
    """Keep a name only in the strongest map: secrets-manager, parameter-store, variables (buildspec.md 6.1)."""
    for weaker, stronger in (
        ("parameter-store", "secrets-manager"),
        ("variables", "secrets-manager"),
        ("variables", "parameter-store"),
    ):
        for name in [name for name in tables[weaker] if name in tables[stronger]]:
            value = tables[weaker].pop(name)
            findings.warning(value, f"variable `{shown(name)}` is also in env.{stronger}, which wins over env.{weaker}")


def _shell(env: Section, findings: Findings) -> str | None:
    shell = env.text("shell")
    node = env.node.get("shell")
    if shell is not None and node is not None and shell.lower() in _WINDOWS_SHELLS:
        findings.warning(node, f"env.shell `{shown(shell)}` is a shell of Windows; builds run in Linux containers")
    return shell


def texts(table: Table) -> dict[str, str]:
    """Return the values as texts; a null is the empty text (buildspec.md 1.2)."""
    return {name: "" if value.is_null else value.text for name, value in table.items()}
