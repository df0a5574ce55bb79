"""The reference of the configuration, made from its model: ``foreshade control --reference``.

Types, limits and defaults come from the model's JSON schema, meanings from a field's description or, where knobs
belong to decision code, from the comment above or behind it.
"""

from __future__ import annotations

import ast
import inspect
import json
import textwrap
from collections.abc import Iterator, Mapping
from typing import Any, get_args

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import to_jsonable_python

from foreshade.adapters.app.control_config import PREFIX, ControlConfig

_LIMITS = {
    "minimum": "≥ {}",
    "exclusiveMinimum": "> {}",
    "maximum": "≤ {}",
    "exclusiveMaximum": "< {}",
    "minLength": "at least {} characters",
    "maxLength": "at most {} characters",
    "minItems": "at least {}",
}


def reference() -> str:
    """Markdown: every key with its type, default and meaning, section by section."""
    lines = [
        "# Configuration of `foreshade control`",
        "",
        "Made by `foreshade control --reference`. One YAML file; an unknown key is an error with its line.",
        f"A variable such as `{PREFIX}GUARD__ACTIONS_PER_TICK=5` replaces a key. `SIGHUP` reads the file again.",
        "",
    ]
    for title, model in _sections(ControlConfig, ""):
        schema = model.model_json_schema()
        lines += [f"## {title or 'Top level'}", "", _about(model), ""]
        lines += ["| key | type | default | meaning |", "|---|---|---|---|"]
        comments = _comments(model)
        for name, field in model.model_fields.items():
            said = schema["properties"][name]
            below = _models_in(field.annotation)
            own = field.description or comments.get(name, "") or (_about(below[0]) if below else "")
            meaning = own.replace("|", "\\|")
            default = (
                "required"
                if field.is_required()
                else f"`{json.dumps(_default(field, said), ensure_ascii=False)}`"
            )
            kind = _type(said, schema)
            shown = "" if below and default not in ("required", "`null`", "`[]`", "`{}`") else default
            lines.append(f"| `{name}` | {kind} | {shown} | {meaning} |".replace("|  |", "| |"))
        lines.append("")
    return "\n".join(lines)


def _about(model: type[BaseModel]) -> str:
    return (inspect.getdoc(model) or "").split("\n")[0].replace("``", "`")


def _default(field: FieldInfo, said: Mapping[str, Any]) -> Any:
    """As JSON has it; what is made anew each time, such as a figure of the catalogue, is not in the schema."""
    if field.default_factory is None:
        return said.get("default")
    return to_jsonable_python(field.get_default(call_default_factory=True, validated_data={}))


def _sections(model: type[BaseModel], title: str) -> Iterator[tuple[str, type[BaseModel]]]:
    yield title, model
    for name, field in model.model_fields.items():
        for below in _models_in(field.annotation):
            yield from _sections(below, f"{title}.{name}".lstrip("."))


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    """Models among the arguments of a type, such as those of the values of a mapping."""
    if inspect.isclass(annotation) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for argument in get_args(annotation) for model in _models_in(argument)]


def _type(said: Mapping[str, Any], schema: Mapping[str, Any]) -> str:
    """A JSON schema in words."""
    if "$ref" in said:
        return _type(schema["$defs"][said["$ref"].rsplit("/", 1)[1]], schema)
    if "anyOf" in said:
        kinds = [_type(one, schema) for one in said["anyOf"]]
        return " or ".join(dict.fromkeys(kinds))
    if "enum" in said:
        return ", ".join(str(one) for one in said["enum"])
    kind = said.get("type", "any")
    if kind == "array":
        items = said.get("items") or {}
        return f"list of {_type(items, schema)}" + _limits(said)
    if kind == "object":
        values = next(iter(said.get("patternProperties", {}).values()), said.get("additionalProperties"))
        return f"by name: {_type(values, schema)}" if isinstance(values, Mapping) else "section"
    names = {"string": said.get("format", "text"), "number": "number", "integer": "whole number"}
    return str(names.get(kind, kind)) + _limits(said)


def _limits(said: Mapping[str, Any]) -> str:
    limits = [text.format(f"{said[key]:g}") for key, text in _LIMITS.items() if key in said]
    return f" {', '.join(limits)}" if limits else ""


def _comments(model: type[BaseModel]) -> dict[str, str]:
    """What the ``#:`` lines above a field say, or the comment behind it."""
    source = textwrap.dedent(inspect.getsource(model))
    lines = source.split("\n")
    said: dict[str, str] = {}
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.AnnAssign) or not isinstance(node.target, ast.Name):
            continue
        above: list[str] = []
        at = node.lineno - 2
        while at >= 0 and lines[at].strip().startswith("#:"):
            above.insert(0, lines[at].strip().removeprefix("#:").strip())
            at -= 1
        behind = [line.partition("  # ")[2] for line in lines[node.lineno - 1 : node.end_lineno]]
        said[node.target.id] = " ".join(above) or "; ".join(text for text in behind if text)
    return said
