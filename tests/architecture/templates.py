"""Templates: those in aws/, resolved as CloudFormation would; and their alarms, judged as CloudWatch would."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import yaml

FOLDER = Path(__file__).parents[2] / "aws"
_GONE = object()


class _Loader(yaml.SafeLoader):
    """Knows the short forms: `!Ref x` is `{Ref: x}`, `!GetAtt a.b` is `{Fn::GetAtt: a.b}`."""


def _short(loader: yaml.SafeLoader, name: str, node: yaml.Node) -> dict[str, Any]:
    key = name if name in ("Ref", "Condition") else f"Fn::{name}"
    if isinstance(node, yaml.ScalarNode):
        return {key: loader.construct_scalar(node)}
    if isinstance(node, yaml.SequenceNode):
        return {key: loader.construct_sequence(node, deep=True)}
    return {key: loader.construct_mapping(node, deep=True)}  # type: ignore[arg-type]


_Loader.add_multi_constructor("!", _short)


def load(name: str) -> dict[str, Any]:
    """Return a template of aws/ as CloudFormation reads it."""
    found: dict[str, Any] = yaml.load((FOLDER / name).read_text(), _Loader)
    return found


def resolved(name: str, **given: str) -> dict[str, dict[str, Any]]:
    """Return the resources that there would be, with parameters filled in; names of resources stand for themselves."""
    template = load(name)
    facts = {key: one.get("Default", "") for key, one in template["Parameters"].items()} | given
    facts |= {"AWS::Region": "us-east-1", "AWS::AccountId": "123456789012", "AWS::Partition": "aws"}
    truths: dict[str, bool] = {}

    def value(node: Any) -> Any:
        if isinstance(node, list):
            return [one for one in map(value, node) if one is not _GONE]
        if not isinstance(node, dict):
            return node
        if len(node) == 1 and (key := next(iter(node))) in _FUNCTIONS:
            return _FUNCTIONS[key](node[key], value, facts, truths)
        return {key: kept for key, one in node.items() if (kept := value(one)) is not _GONE}

    for key, one in template["Conditions"].items():
        truths[key] = value(one)
    resources = {key: one for key, one in template["Resources"].items() if truths.get(one.get("Condition"), True)}
    return {key: {"Type": one["Type"], **value(one.get("Properties", {}))} for key, one in resources.items()}


def _sub(text: str, facts: Mapping[str, Any]) -> str:
    return re.sub(r"\$\{([\w:.]+)\}", lambda match: str(facts.get(match[1], match[1])), text)


_FUNCTIONS: dict[str, Callable[[Any, Callable[[Any], Any], Mapping[str, Any], Mapping[str, bool]], Any]] = {
    "Ref": lambda of, _v, facts, _t: _GONE if of == "AWS::NoValue" else facts.get(of, of),
    "Fn::If": lambda of, value, _f, truths: value(of[1] if truths[of[0]] else of[2]),
    "Fn::Not": lambda of, value, _f, _t: not value(of[0]),
    "Fn::Equals": lambda of, value, _f, _t: value(of[0]) == value(of[1]),
    "Fn::Join": lambda of, value, _f, _t: of[0].join(
        value(of[1]) if isinstance(value(of[1]), list) else [value(of[1])]
    ),
    "Fn::Sub": lambda of, _v, facts, _t: _sub(of, facts),
    "Fn::GetAtt": lambda of, _v, _f, _t: of,
}


def alarms(name: str, **given: str) -> dict[str, dict[str, Any]]:
    """Return the alarms of a template in the words of PutMetricAlarm, by their logical names."""
    found = {}
    for key, one in resolved(name, **given).items():
        if one["Type"] == "AWS::CloudWatch::Alarm":
            whole = {"AlarmName": key, **{name: text for name, text in one.items() if name != "Type"}}
            whole["Threshold"] = float(whole["Threshold"])
            found[key] = whole
    return found


def put_alarms(client: Any, prefix: str, **given: str) -> dict[str, str]:
    """Store the alarms of alarms.yml, which no server here takes from CloudFormation; return their names in full."""
    found = alarms("alarms.yml", **given)
    for name, alarm in found.items():
        client.put_metric_alarm(**{**alarm, "AlarmName": f"{prefix}-{name}"})
    return {name: f"{prefix}-{name}" for name in found}


def state(client: Any, alarm: Mapping[str, Any], now: datetime) -> str:
    """Return OK, ALARM or INSUFFICIENT_DATA: what an alarm, as it was stored, says of what is stored at *now*.

    Statistics are the server's own; periods are aligned as CloudWatch does, and the running one counts. Missing points
    are treated as the alarm wants it; M out of N.
    """
    points = _points(client, alarm, now)
    worse = {
        "GreaterThanThreshold": lambda value: value > alarm["Threshold"],
        "GreaterThanOrEqualToThreshold": lambda value: value >= alarm["Threshold"],
        "LessThanThreshold": lambda value: value < alarm["Threshold"],
    }[alarm["ComparisonOperator"]]
    missing = {"breaching": True, "notBreaching": False}.get(alarm.get("TreatMissingData", "missing"))
    verdicts = [missing if value is None else worse(value) for value in points]
    known = [one for one in verdicts if one is not None]
    if not known:
        return "INSUFFICIENT_DATA"
    return "ALARM" if sum(known) >= alarm.get("DatapointsToAlarm", alarm["EvaluationPeriods"]) else "OK"


def _points(client: Any, alarm: Mapping[str, Any], now: datetime) -> list[float | None]:
    """Return the value of each period that counts, the oldest first; None where there is none."""
    queries = alarm.get("Metrics") or [{"Id": "own", "MetricStat": _plain(alarm)}]
    period = next(one["MetricStat"]["Period"] for one in queries if one.get("MetricStat"))
    last = int(now.timestamp()) // period * period
    starts = [last - period * back for back in reversed(range(alarm["EvaluationPeriods"]))]
    return [_value(client, queries, start) for start in starts]


def _plain(alarm: Mapping[str, Any]) -> dict[str, Any]:
    return {"Metric": alarm, "Period": alarm["Period"], "Stat": alarm["Statistic"]}


def _value(client: Any, queries: list[Mapping[str, Any]], start: int) -> float | None:
    values: dict[str, float | None] = {}
    waiting = sorted(queries, key=lambda one: not one.get("MetricStat"))
    while waiting:
        one = waiting.pop(0)
        if stat := one.get("MetricStat"):
            values[one["Id"]] = _statistic(client, stat, start)
        elif set(re.findall(r"\b[a-z]\w*\b", one["Expression"])) <= set(values):
            values[one["Id"]] = _computed(
                ast.parse(one["Expression"].replace("IF(", "WHERE("), mode="eval").body, values
            )
        else:
            waiting.append(one)
    return values[next(one["Id"] for one in queries if one.get("ReturnData", True))]


def _statistic(client: Any, stat: Mapping[str, Any], start: int) -> float | None:
    """Return what CloudWatch would: a metric without dimensions is one of its own, and to moto it is all of them."""
    metric = stat["Metric"]
    found = _asked(client, stat, metric.get("Dimensions", []), start)
    if found is None or stat["Stat"] != "Sum" or metric.get("Dimensions"):
        return found
    listed = client.list_metrics(Namespace=metric["Namespace"], MetricName=metric["MetricName"])["Metrics"]
    others = [_asked(client, stat, one["Dimensions"], start) for one in listed if one["Dimensions"]]
    return found - sum(one or 0.0 for one in others)


def _asked(client: Any, stat: Mapping[str, Any], dimensions: list[Any], start: int) -> float | None:
    begin = datetime.fromtimestamp(start, UTC)
    points = client.get_metric_statistics(
        Namespace=stat["Metric"]["Namespace"],
        MetricName=stat["Metric"]["MetricName"],
        Dimensions=dimensions,
        StartTime=begin,
        EndTime=begin + timedelta(seconds=stat["Period"]),
        Period=stat["Period"],
        Statistics=[stat["Stat"]],
    )["Datapoints"]
    return float(points[0][stat["Stat"]]) if points else None


def _computed(node: ast.expr, values: Mapping[str, float | None]) -> float | None:
    """Return what metric math makes of *values*: numbers, names, + - * / >=, IF and FILL; a missing one spreads."""
    if isinstance(node, ast.Constant):
        return float(node.value)  # type: ignore[arg-type]
    if isinstance(node, ast.Name):
        return values[node.id]
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
        first, *others = node.args
        found = _computed(first, values)
        if node.func.id == "FILL":
            return found if found is not None else _computed(others[0], values)
        assert node.func.id == "WHERE"
        return _computed(others[0] if found else others[1], values)
    if isinstance(node, ast.Compare):
        left, right = _computed(node.left, values), _computed(node.comparators[0], values)
        assert isinstance(node.ops[0], ast.GtE)
        return None if left is None or right is None else float(left >= right)
    assert isinstance(node, ast.BinOp)
    left, right = _computed(node.left, values), _computed(node.right, values)
    if left is None or right is None:
        return None
    kinds: dict[type, Callable[[float, float], float]] = {
        ast.Add: lambda one, two: one + two,
        ast.Mult: lambda one, two: one * two,
        ast.Div: lambda one, two: one / two,
    }
    return kinds[type(node.op)](left, right)
