"""A file of rules as a person reads it: what differs from the defaults, then the rules, then the tree."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import fields
from typing import Any

import yaml

from foreshade.envs.candidates import CandidateKnobs, InsteadKnobs, PlanKnobs, Sizing
from foreshade.envs.packers import PackerKnobs, WindowKnobs
from foreshade.envs.rule_tree import Node, Rule


def to_yaml(knobs: CandidateKnobs, heading: Iterable[str] = ()) -> str:
    """What ``load_rules`` reads back; ``heading`` is written above it as comments."""
    default = CandidateKnobs()
    said: dict[str, Any] = {
        name: _plain(getattr(knobs, name))
        for name in type(knobs).model_fields
        if name not in ("rules", "tree") and getattr(knobs, name) != getattr(default, name)
    }
    if knobs.rules:
        said["rules"] = [_rule(rule) for rule in knobs.rules]
    if knobs.tree is not None:
        said["tree"] = _node(knobs.tree)
    lines = [f"# {line}".rstrip() for line in heading]
    if not said:  # a file says something
        said["headroom"] = knobs.headroom
    text = yaml.safe_dump(said, sort_keys=False, width=110, default_flow_style=None, allow_unicode=True)
    return "\n".join([*lines, text])


def _rule(rule: Rule) -> dict[str, Any]:
    return _without_blanks(
        {"name": rule.name, "why": rule.why, "when": _when(rule.when), "prefer": _number(rule.prefer)}
    )


def _node(node: Node) -> dict[str, Any]:
    if node.when is None or node.then is None or node.otherwise is None:
        return _without_blanks({"name": node.name, "why": node.why, "prefer": _number(node.prefer)})
    return _without_blanks(
        {
            "name": node.name,
            "why": node.why,
            "when": _when(node.when),
            "then": _node(node.then),
            "else": _node(node.otherwise),
        }
    )


def _without_blanks(said: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in said.items() if value != "" and value is not None}


def _when(when: Mapping[str, Any]) -> dict[str, Any]:
    return {key: list(value) if isinstance(value, tuple) else value for key, value in when.items()}


def _number(prefer: float | str | None) -> float | str | None:
    return float(f"{prefer:.4g}") if isinstance(prefer, float) else prefer


def _plain(value: Any) -> Any:
    if isinstance(value, PlanKnobs):
        said = {"name": value.name, "packer": _differing(value.packer, PackerKnobs())}
        rest = value.model_dump(exclude={"name", "packer"}, exclude_defaults=True)
        return {**said, **rest}
    if isinstance(value, InsteadKnobs | Sizing):
        return {name: _plain(getattr(value, name)) for name in type(value).model_fields}
    if isinstance(value, WindowKnobs):
        return _differing(value, WindowKnobs())
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return value


def _differing(value: Any, default: Any) -> dict[str, Any]:
    """A dataclass's fields that are not at their defaults."""
    return {
        field.name: _plain(getattr(value, field.name))
        for field in fields(value)
        if getattr(value, field.name) != getattr(default, field.name)
    }
