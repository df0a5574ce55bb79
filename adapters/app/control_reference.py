"""The reference of the configuration, made from its model: ``foreshade control --reference``."""

from __future__ import annotations

import ast
import inspect
import types
from collections.abc import Iterator
from typing import Any, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from foreshade.adapters.app.control_config import PREFIX, ControlConfig


def reference() -> str:
    """Markdown: every key with its type, default and meaning."""
    lines = [
        "# Configuration of `foreshade control`",
        "",
        "Made by `foreshade control --reference`. One YAML file; an unknown key is an error with its line.",
        f"A variable such as `{PREFIX}GUARD__ACTIONS_PER_TICK=5` replaces a key. `SIGHUP` reads the file again.",
        "",
    ]
    for title, model, text in _sections(ControlConfig, ""):
        lines += [f"## {title or 'Top level'}", "", *([text, ""] if text else [])]
        lines += ["| key | type | default | meaning |", "|---|---|---|---|"]
        comments = _comments(model)
        for name, field in model.model_fields.items():
            if _model_in(field) is not None:
                continue
            meaning = field.description or comments.get(name, "")
            lines.append(f"| `{name}` | {_type(field)} | {_default(field)} | {meaning} |")
        lines.append("")
    return "\n".join(lines)


def _sections(model: type[BaseModel], title: str) -> Iterator[tuple[str, type[BaseModel], str]]:
    yield title, model, (inspect.getdoc(model) or "").split("\n")[0]
    for name, field in model.model_fields.items():
        below = _model_in(field)
        if below is not None:
            yield from _sections(below, f"{title}.{name}".lstrip("."))


def _model_in(field: FieldInfo) -> type[BaseModel] | None:
    said = field.annotation
    options = get_args(said) if get_origin(said) in (Union, types.UnionType) else (said,)
    for option in options:
        if inspect.isclass(option) and issubclass(option, BaseModel):
            return option
    return None


def _type(field: FieldInfo) -> str:
    said = field.annotation
    text = said.__name__ if inspect.isclass(said) else str(said)
    for old, new in (("typing.", ""), ("collections.abc.", ""), ("pathlib._local.", ""), ("pathlib.", "")):
        text = text.replace(old, new)
    limits = [str(limit) for limit in field.metadata]
    text = (
        text.replace("foreshade.agents.plan.", "").replace("foreshade.agents.guard.", "").replace("|", "or")
    )
    return text + (f" ({', '.join(_limit(limit) for limit in limits)})" if limits else "")


def _limit(text: str) -> str:
    for old, new in (("Ge(ge=", "≥ "), ("Gt(gt=", "> "), ("Le(le=", "≤ "), ("Lt(lt=", "< ")):
        if text.startswith(old):
            return new + text.removeprefix(old).rstrip(")")
    return text


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value: Any = field.get_default(call_default_factory=True)
    if value is None:
        return "null"
    return f"`{value.value if hasattr(value, 'value') else value}`"


def _comments(model: type[BaseModel]) -> dict[str, str]:
    """What ``#:`` comments above the fields of a model say: it is where knobs of decision code are explained."""
    try:
        source = inspect.getsource(model)
    except OSError:
        return {}
    said: dict[str, str] = {}
    lines = inspect.cleandoc(source).split("\n")
    fields = {
        node.lineno: node.target.id
        for node in ast.walk(ast.parse(inspect.cleandoc(source)))
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)
    }
    for number, name in sorted(fields.items()):
        above: list[str] = []
        at = number - 2
        while at >= 0 and lines[at].strip().startswith("#:"):
            above.insert(0, lines[at].strip().removeprefix("#:").strip())
            at -= 1
        said[name] = " ".join(above) or said.get(fields.get(number - 1, ""), "")
    return said
