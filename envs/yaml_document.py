"""A YAML file with the line of every key, and errors of one line that point at it.

Sequences become tuples, so that what is read can be held in frozen values. A key that stands twice is an
error, as YAML's own loaders silently keep the last.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, is_dataclass
from difflib import get_close_matches
from inspect import isclass
from typing import Any, TypeVar, get_args, get_type_hints

import yaml
from pydantic import BaseModel, ValidationError

from foreshade.envs.errors import ScenarioError

Path = tuple[str | int, ...]
Model = TypeVar("Model", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Document:
    """What a YAML file says, and where it says it."""

    name: str  # the file, as a person would name it; "--" where the keys are options of a command
    value: Any  # str, bool, int, float, datetime, None, tuples and dicts of these
    lines: Mapping[Path, int]  # line of every key and item, counted from 1; empty = it stands in no file

    def line(self, path: Path) -> int:
        """Line of ``path``, or of its nearest ancestor that the file has; 1 for an empty file."""
        for end in range(len(path), -1, -1):
            if path[:end] in self.lines:
                return self.lines[path[:end]]
        return 1


def parse(text: str, name: str) -> Document:
    """Read one YAML document.

    Raises ScenarioError where the text is no YAML, holds several documents, or has a key twice.
    """
    loader = None
    try:
        loader = yaml.SafeLoader(text)
        root = loader.get_single_node()
        if root is None:
            raise ScenarioError(f"{name}:1: expected keys and values, found an empty file")
        lines = dict(_walk(root, (), name))
        value = _frozen(loader.construct_document(root))
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise ScenarioError(f"{name}:{line}: expected YAML, found {error.problem}") from error
    # The others: a date that is in no calendar, or a tag on what cannot be it, as in "!!bool maybe".
    except (yaml.YAMLError, ValueError, LookupError, AttributeError, TypeError) as error:
        raise ScenarioError(f"{name}:1: expected YAML, found {' '.join(str(error).split())}") from error
    except RecursionError as error:
        raise ScenarioError(
            f"{name}:1: expected a few levels of keys, found too many or an endless alias"
        ) from error
    finally:
        if loader is not None:
            loader.dispose()
    return Document(name, value, lines)


def build(model: type[Model], document: Document, value: Any = None, prefix: Path = ()) -> Model:
    """Validate ``value`` (by default the whole document) as ``model``.

    ``prefix`` says where ``value`` stands in the document, so that errors find their line.
    """
    try:
        return model.model_validate(document.value if value is None else value)
    except ValidationError as error:
        raise ScenarioError(_message(model, document, error, prefix)) from error


def _walk(node: yaml.Node, path: Path, name: str) -> Iterator[tuple[Path, int]]:
    if not path:
        yield path, node.start_mark.line + 1
    if isinstance(node, yaml.MappingNode):
        seen: dict[str, int] = {}
        for key, child in node.value:
            line = key.start_mark.line + 1
            if not isinstance(key, yaml.ScalarNode):
                raise ScenarioError(f"{name}:{line}: {_dotted(path)}: expected a word as key, found {key.id}")
            if key.value in seen:
                raise ScenarioError(
                    f"{name}:{line}: {_dotted((*path, key.value))}: expected each key once, "
                    f"found it again after line {seen[key.value]}"
                )
            seen[key.value] = line
            yield (*path, key.value), line
            yield from _walk(child, (*path, key.value), name)
    elif isinstance(node, yaml.SequenceNode):
        for index, child in enumerate(node.value):
            yield (*path, index), child.start_mark.line + 1
            yield from _walk(child, (*path, index), name)


def _frozen(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _frozen(item) for key, item in value.items()}
    if isinstance(value, list):
        return tuple(_frozen(item) for item in value)
    return value


def _dotted(path: Path) -> str:
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text or "the file"


def _message(model: type[BaseModel], document: Document, error: ValidationError, prefix: Path) -> str:
    problems = []
    found = error.errors(include_url=False)
    places = [problem["loc"] for problem in found]
    for problem in found:
        # A list whose only item is wrong is also reported as empty: the item is the reason.
        below = len(problem["loc"])
        if problem["type"] == "too_short" and any(p[:below] == problem["loc"] != p for p in places):
            continue
        # A union puts the branch it tried behind the key: the file has no such path, so it is cut off.
        path = prefix + problem["loc"]
        while document.lines and path and path not in document.lines and problem["type"] != "missing":
            path = path[:-1]
        problems.append((document.line(path), path, problem))
    # A key that is missing may be one that was written otherwise, which says more. Of the branches of a union, the
    # one whose type fits knows what is wrong with the value.
    problems.sort(key=lambda p: (p[2]["type"] == "missing", p[0], p[2]["type"].endswith("_type")))
    line, path, problem = problems[0]
    others = len({p[1] for p in problems[1:]} - {path})
    more = f" (and {others} more)" if others else ""
    where = f"{document.name}:{line}: {_dotted(path)}" if document.lines else document.name + _dotted(path)
    return f"{where}: {_sentence(model, problem)}{more}"


def _sentence(model: type[BaseModel], problem: Any) -> str:
    kind, text, found = problem["type"], str(problem["msg"]), problem["input"]
    if kind == "missing":
        return "expected this key, found it missing"
    if kind in ("extra_forbidden", "unexpected_keyword_argument"):  # of a model, of a dataclass
        known = _known_keys(model, problem["loc"][:-1])
        near = get_close_matches(str(problem["loc"][-1]), known, n=1)
        return f"expected one of {', '.join(known)}, found an unknown key" + (
            f"; did you mean {near[0]}?" if near else ""
        )
    if kind == "value_error":
        return text.removeprefix("Value error, ")
    if kind in ("model_type", "dataclass_type", "dict_type"):
        text = "expected a mapping of keys"
    shown = repr(found) if not isinstance(found, Mapping | tuple | list) else _shape(found)
    if kind == "too_short":
        return f"expected at least {problem['ctx']['min_length']}, found {shown}"
    if kind == "string_pattern_mismatch":
        return f"expected text like {problem['ctx']['pattern']}, found {shown}"
    expected = text.replace("Input should be ", "expected ").replace("Input should ", "expected to ")
    return f"{expected}, found {shown}"


def _shape(value: Mapping[str, Any] | Sequence[Any]) -> str:
    return f"a mapping of {len(value)} keys" if isinstance(value, Mapping) else f"a list of {len(value)}"


def _known_keys(model: type[Any], loc: Path) -> list[str]:
    """The keys that ``model`` accepts at ``loc``."""
    at: type[Any] | None = model
    for part in loc:
        if at is not None and isinstance(part, str) and part in (keys := _keys(at)):
            at = _model_in(keys[part])
    return sorted(_keys(at)) if at is not None else []


def _keys(model: type[Any]) -> Mapping[str, Any]:
    """Keys of a model or of a dataclass, and what each may hold."""
    if issubclass(model, BaseModel):
        return {name: field.annotation for name, field in model.model_fields.items()}
    return get_type_hints(model)


def _model_in(annotation: Any) -> type[Any] | None:
    if isclass(annotation) and not get_args(annotation):
        return annotation if issubclass(annotation, BaseModel) or is_dataclass(annotation) else None
    for argument in get_args(annotation):
        found = _model_in(argument)
        if found is not None:
            return found
    return None
