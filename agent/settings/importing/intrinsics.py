"""Intrinsic functions of CloudFormation, as far as a template alone can say what they come to.

What it cannot say becomes a placeholder, a text such as `decide-mybucket` that is good in names, addresses and ARNs,
and an `Open` that says where and why. Templates are untrusted: cycles end in placeholders, growth in an error.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from agent.errors import Problem, SettingsInvalid
from agent.kit import marked_yaml
from agent.kit.marked_yaml import Node, Scalar, Sequence

PLACEHOLDER = "decide-"
MOST_CHARACTERS = 1 << 20
"""What all functions of a template may produce together; one that doubles itself again and again ends here."""

NOTHING = object()
"""What `AWS::NoValue` comes to: the member is not there."""

_SHORT = re.compile(r"![A-Za-z0-9]+")
_SUBSTITUTED = re.compile(r"\$\{(!?)([^}]*)\}")
_LIST = re.compile(r"(CommaDelimitedList|List<.*>)")
_NOT_IN_SLUG = re.compile(r"[^a-z0-9]+")
_LONGEST_SLUG = 40
_DEEPEST = 8
"""How many resources and conditions may lead from one to the next."""
_NAMES = {
    "AWS::S3::Bucket": "BucketName",
    "AWS::IAM::Role": "RoleName",
    "AWS::Logs::LogGroup": "LogGroupName",
    "AWS::ECR::Repository": "RepositoryName",
    "AWS::SSM::Parameter": "Name",
    "AWS::KMS::Alias": "AliasName",
    "AWS::CodeBuild::Project": "Name",
}
"""Type of a resource -> the property that `Ref` comes to where a template sets it."""
_ATTRIBUTES = {
    ("AWS::S3::Bucket", "Arn"): ("BucketName", "arn:${AWS::Partition}:s3:::%s"),
    ("AWS::IAM::Role", "Arn"): ("RoleName", "arn:${AWS::Partition}:iam::${AWS::AccountId}:role/%s"),
    ("AWS::CodeCommit::Repository", "Name"): ("RepositoryName", "%s"),
    ("AWS::CodeCommit::Repository", "CloneUrlHttp"): (
        "RepositoryName",
        "https://git-codecommit.${AWS::Region}.${AWS::URLSuffix}/v1/repos/%s",
    ),
    ("AWS::ECR::Repository", "RepositoryUri"): (
        "RepositoryName",
        "${AWS::AccountId}.dkr.ecr.${AWS::Region}.${AWS::URLSuffix}/%s",
    ),
}


@dataclass(frozen=True)
class Open:
    """Something that has no value here: what stands in the template, and why nobody knows what it comes to.

    *can_be_given*: the user may say it, by `what`.
    """

    what: str
    why: str
    can_be_given: bool = False


@dataclass
class Intrinsics:
    """Evaluates the nodes of one template. *given* holds the values that the user knows: of parameters, of pseudo
    parameters (`AWS::Region`), of resources (`MyBucket`) and of their attributes (`MyRole.Arn`)."""

    root: marked_yaml.Mapping
    file: str
    given: Mapping[str, str] = field(default_factory=dict)
    open: list[Open] = field(default_factory=list)
    """What was met that has no value; whoever asks for a value empties it before and looks after."""
    _spent: int = 0
    _under_way: list[str] = field(default_factory=list)
    _conditions: dict[str, bool | None] = field(default_factory=dict)

    def value(self, node: Node) -> Any:
        """Return what *node* comes to: a text, a list, a mapping, None for null, or `NOTHING`."""
        self._spend(1, node)
        call = call_of(node)
        if call is not None:
            return self._called(call[0], call[1], node)
        if isinstance(node, Scalar):
            self._spend(len(node.text), node)
            return None if node.is_null else node.text
        if isinstance(node, Sequence):
            return [value for item in node.items if (value := self.value(item)) is not NOTHING]
        return {key.text: value for key, item in node.entries if (value := self.value(item)) is not NOTHING}

    def holds(self, name: str) -> bool | None:
        """Return whether the condition called *name* holds; None where the template cannot say."""
        if name not in self._conditions:
            node = _child(self.root.get("Conditions"), name)
            self._conditions[name] = None  # while it is looked at: a condition that leads to itself has no value
            if node is not None and len(self._under_way) < _DEEPEST:
                self._under_way.append(f"the condition {name}")
                self._conditions[name] = self._truth(node)
                self._under_way.pop()
        return self._conditions[name]

    @cached_property
    def _functions(self) -> dict[str, Callable[[Node], Any]]:
        return {
            "Ref": self._ref,
            "GetAtt": self._get_att,
            "Sub": self._sub,
            "Join": self._join,
            "Split": self._split,
            "Select": self._select,
            "FindInMap": self._find_in_map,
            "If": self._if,
            "Base64": self._base64,
            "ImportValue": self._import,
        }

    def _called(self, name: str, argument: Node, node: Node) -> Any:
        function = self._functions.get(name)
        if function is None:
            return self._unknown(name, "it is known to AWS alone")
        value = function(argument)
        if isinstance(value, str):
            self._spend(len(value), node)
        return value

    def _spend(self, characters: int, node: Node) -> None:
        self._spent += characters
        if self._spent > MOST_CHARACTERS:
            message = f"its functions produce more than {MOST_CHARACTERS} characters"
            raise SettingsInvalid([Problem(self.file, node.line, node.column, message)])

    def _unknown(self, what: str, why: str) -> str:
        logical = what.partition(".")[0]
        named = any(_child(self.root.get(section), logical) for section in ("Parameters", "Resources"))
        self.open.append(Open(what, why, named or what.startswith("AWS::")))
        slug = _NOT_IN_SLUG.sub("-", what.lower()).strip("-")
        return PLACEHOLDER + (slug[:_LONGEST_SLUG].strip("-") or "value")

    def _text(self, node: Node) -> str | None:
        """Return the text of *node*; None where it is no text, or not known as a whole."""
        before = len(self.open)
        value = self.value(node)
        if not isinstance(value, str) or len(self.open) > before:
            del self.open[before:]
            return None
        return value

    def _list(self, node: Node) -> list[Any] | None:
        before = len(self.open)
        value = self.value(node)
        if not isinstance(value, list) or len(self.open) > before:
            del self.open[before:]
            return None
        return value

    def _ref(self, argument: Node) -> Any:
        name = argument.text if isinstance(argument, Scalar) else ""
        if name == "AWS::NoValue":
            return NOTHING
        if name in self.given:
            return self._given(name)
        if name.startswith("AWS::"):
            return self._pseudo(name)
        parameter = _child(self.root.get("Parameters"), name)
        if parameter is not None:
            return self._parameter(name, parameter)
        kind, properties = self._resource(name)
        if kind in _NAMES and (node := _child(properties, _NAMES[kind])) is not None:
            return self._guarded(name, node)
        why = f"the name of a resource ({kind}) is made by AWS" if kind else "nothing is called so"
        return self._unknown(name, why)

    def _given(self, name: str) -> Any:
        text = self.given[name]
        return text.split(",") if _LIST.fullmatch(self._kind_of_parameter(name)) else text

    def _kind_of_parameter(self, name: str) -> str:
        kind = _child(_child(self.root.get("Parameters"), name), "Type")
        return kind.text if isinstance(kind, Scalar) else ""

    def _pseudo(self, name: str) -> str:
        region = self.given.get("AWS::Region", "")
        if name == "AWS::Partition":
            return "aws-cn" if region.startswith("cn-") else "aws-us-gov" if region.startswith("us-gov-") else "aws"
        if name == "AWS::URLSuffix":
            return "amazonaws.com.cn" if region.startswith("cn-") else "amazonaws.com"
        return self._unknown(name, "it is another one in every account and region")

    def _parameter(self, name: str, node: Node) -> Any:
        default, secret = _child(node, "Default"), _child(node, "NoEcho")
        if isinstance(secret, Scalar) and secret.text.lower() == "true":
            return self._unknown(name, "its value is a secret (NoEcho)")
        kind = self._kind_of_parameter(name)
        if kind.startswith("AWS::SSM::Parameter::Value"):
            return self._unknown(name, "its value is in the Parameter Store")
        if not isinstance(default, Scalar):
            return self._unknown(name, "the parameter has no default")
        return default.text.split(",") if _LIST.fullmatch(kind) else default.text

    def _resource(self, name: str) -> tuple[str, Node | None]:
        resource = _child(self.root.get("Resources"), name)
        kind = _child(resource, "Type")
        return (kind.text if isinstance(kind, Scalar) else ""), _child(resource, "Properties")

    def _guarded(self, name: str, node: Node) -> Any:
        """Return the value of *node*, which belongs to *name*; a resource that leads to itself has none."""
        if name in self._under_way or len(self._under_way) >= _DEEPEST:
            return self._unknown(name, "it leads back to itself")
        self._under_way.append(name)
        try:
            return self.value(node)
        finally:
            self._under_way.pop()

    def _get_att(self, argument: Node) -> Any:
        if isinstance(argument, Sequence):
            name = ".".join(str(self._text(item)) for item in argument.items)
        else:
            name = argument.text if isinstance(argument, Scalar) else ""
        return self._attribute(name)

    def _attribute(self, name: str) -> Any:
        if name in self.given:
            return self.given[name]
        logical, _, attribute = name.partition(".")
        kind, properties = self._resource(logical)
        prop, pattern = _ATTRIBUTES.get((kind, attribute), ("", ""))
        node = _child(properties, prop) if prop else None
        if node is None:
            return self._unknown(name, f"it is made by AWS ({kind})" if kind else "nothing is called so")
        value = self._guarded(logical, node)
        around = self._substituted(pattern, {})
        return around.replace("%s", value) if isinstance(value, str) else self._unknown(name, "it is no text")

    def _sub(self, argument: Node) -> Any:
        if isinstance(argument, Scalar):
            return self._substituted(argument.text, {})
        if isinstance(argument, Sequence) and len(argument.items) == 2:
            text, variables = argument.items
            if isinstance(text, Scalar) and isinstance(variables, marked_yaml.Mapping):
                return self._substituted(text.text, {key.text: node for key, node in variables.entries})
        return self._unknown("Sub", "it is not written as CloudFormation wants it")

    def _substituted(self, text: str, variables: Mapping[str, Node]) -> str:
        pieces, end = [], 0
        for found in _SUBSTITUTED.finditer(text):
            pieces += [text[end : found.start()], self._variable(found[1], found[2].strip(), variables)]
            end = found.end()
        return "".join([*pieces, text[end:]])

    def _variable(self, literal: str, name: str, variables: Mapping[str, Node]) -> str:
        if literal:
            return f"${{{name}}}"
        if name in variables:
            value = self.value(variables[name])
        elif "." in name:
            value = self._attribute(name)
        else:
            value = self._ref(Scalar(name, 0, 0))
        if isinstance(value, list) and all(isinstance(item, str) for item in value):
            value = ",".join(value)
        text = value if isinstance(value, str) else self._unknown(name, "it is no text")
        self._spend(len(text), self.root)
        return text

    def _join(self, argument: Node) -> Any:
        if isinstance(argument, Sequence) and len(argument.items) == 2:
            between, items = self._text(argument.items[0]), self.value(argument.items[1])
            if between is not None and isinstance(items, list) and all(isinstance(item, str) for item in items):
                return between.join(items)
        return self._unknown("Join", "it is not written as CloudFormation wants it")

    def _split(self, argument: Node) -> Any:
        if isinstance(argument, Sequence) and len(argument.items) == 2:
            between, text = self._text(argument.items[0]), self._text(argument.items[1])
            if between and text is not None:
                return text.split(between)
        return self._unknown("Split", "what it splits is not known")

    def _select(self, argument: Node) -> Any:
        if isinstance(argument, Sequence) and len(argument.items) == 2:
            index, items = self._text(argument.items[0]) or "", self._list(argument.items[1]) or []
            if index.isascii() and index.isdigit() and len(index) < 6 and int(index) < len(items):
                return items[int(index)]
        return self._unknown("Select", "what it selects from is not known")

    def _find_in_map(self, argument: Node) -> Any:
        steps = [self._text(item) for item in argument.items] if isinstance(argument, Sequence) else []
        node: Node | None = self.root.get("Mappings")
        for step in steps[:3]:
            node = _child(node, step or "")
        if len(steps) < 3 or node is None:
            return self._unknown("FindInMap", "what it looks up is not known")
        return self.value(node)

    def _if(self, argument: Node) -> Any:
        if isinstance(argument, Sequence) and len(argument.items) == 3:
            name = argument.items[0].text if isinstance(argument.items[0], Scalar) else ""
            truth = self.holds(name)
            if truth is not None:
                return self.value(argument.items[1 if truth else 2])
            return self._unknown(f"If {name}", "whether the condition holds is not known")
        return self._unknown("If", "it is not written as CloudFormation wants it")

    def _base64(self, argument: Node) -> Any:
        text = self.value(argument)
        return base64.b64encode(text.encode()).decode() if isinstance(text, str) else self._unknown("Base64", "no text")

    def _import(self, argument: Node) -> str:
        return self._unknown(f"ImportValue {self._text(argument) or ''}".strip(), "another stack exports it")

    def _truth(self, node: Node) -> bool | None:
        call = call_of(node)
        if call is None:
            return None
        name, argument = call
        if name == "Condition":
            return self.holds(argument.text) if isinstance(argument, Scalar) else None
        parts = argument.items if isinstance(argument, Sequence) else ()
        if name == "Equals" and len(parts) == 2:
            left, right = self._text(parts[0]), self._text(parts[1])
            return None if left is None or right is None else left == right
        truths = [self._truth(part) for part in parts] if name in ("And", "Or", "Not") else [None]
        if name == "Not":
            return None if len(truths) != 1 or truths[0] is None else not truths[0]
        decisive = name == "Or"
        return decisive if decisive in truths else None if None in truths else not decisive


def call_of(node: Node) -> tuple[str, Node] | None:
    """Return the function that *node* calls, by its bare name, and its argument; None where it is plain data."""
    if node.tag is not None and _SHORT.fullmatch(node.tag):
        return node.tag[1:], replace(node, tag=None)
    if isinstance(node, marked_yaml.Mapping) and len(node.entries) == 1:
        key, argument = node.entries[0]
        if key.text == "Ref" or key.text.startswith("Fn::"):
            return key.text.removeprefix("Fn::"), argument
        if key.text == "Condition" and isinstance(argument, Scalar):
            return "Condition", argument
    return None


def _child(node: Node | None, key: str) -> Node | None:
    return node.get(key) if isinstance(node, marked_yaml.Mapping) else None
