"""The first line of a world's log: what the cluster is made of, without which the rest cannot be replayed."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from foreshade.envs.errors import InputError
from foreshade.envs.simulated import SimulatedWorld

_NAMES = 3  # keys that a message names
_WIDTH = 40  # characters of a value in it
_SAID_BEFORE = {"name", "variant", "variants", "description"}  # in the head already, or without effect


def head_of(simulated: SimulatedWorld, seed: int) -> dict[str, Any]:
    """The scenario, whole, the workload and the seed, as JSON reads them back."""
    scenario = simulated.scenario
    head = {
        "scenario": scenario.name,
        "variant": scenario.variant,
        "workload": simulated.workload.source,
        "vms": len(simulated.workload.vms),
        "seed": seed,
        "of": scenario.model_dump(mode="json", exclude=_SAID_BEFORE),
    }
    back: dict[str, Any] = json.loads(json.dumps(head))
    return back


def check_head(path: Path, begun: Any, now: Mapping[str, Any]) -> None:
    """Refuse the log of another cluster; what one of both does not say is not compared.

    Raises:
        InputError: it is one, or no log of a cluster.

    """
    if not isinstance(begun, Mapping) or not {"scenario", "workload", "vms", "seed"} <= begun.keys():
        raise InputError(f"{path}:1: expected the head of a simulated cluster, found {_short(begun)}")
    other = list(_differences(begun, now))
    if other:
        raise InputError(
            f"{path}: expected the cluster that was begun there, {_said(other, 1)}; found {_said(other, 2)}: "
            "put that back, or give another state_dir"
        )


def _said(other: list[tuple[str, Any, Any]], which: int) -> str:
    named = ", ".join(f"{row[0]} {_short(row[which])}" for row in other[:_NAMES])
    return f"{named} and {len(other) - _NAMES} more" if len(other) > _NAMES else named


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= _WIDTH else f"{text[:_WIDTH]}…"


def _differences(begun: Any, now: Any, at: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Where both say something and not the same: the key, as ``fleet.0.count``, and what either says."""
    if isinstance(begun, Mapping) and isinstance(now, Mapping):
        pairs = [(key, begun[key], now[key]) for key in begun if key in now]
    elif isinstance(begun, list) and isinstance(now, list) and len(begun) == len(now):
        pairs = [(str(i), *both) for i, both in enumerate(zip(begun, now, strict=True))]
    else:
        if begun != now:
            yield at, begun, now
        return
    for key, one, other in pairs:
        inside = at.removeprefix("of.")
        yield from _differences(one, other, f"{inside}.{key}" if inside else key)
