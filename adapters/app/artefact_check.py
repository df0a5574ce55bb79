"""Verifies rules and policies before they are kept or put in force."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from foreshade.adapters.store.shelf import ArtefactKind, unpacked
from foreshade.agents.ham.chosen_among import candidates_of
from foreshade.agents.ham.frozen import FrozenPolicy
from foreshade.agents.rules.rules import load_rules, rules_of
from foreshade.envs.errors import InputError


def check_artefact(kind: ArtefactKind, data: bytes) -> Mapping[str, Any]:
    """What it says of itself.

    Raises:
        InputError: it is not what it should be; nothing in it is executed.

    """
    if kind == "rules":
        try:
            text = data.decode("utf-8")
        except UnicodeDecodeError as error:
            raise InputError(
                f"rules: expected UTF-8 text, found {error.reason} at byte {error.start}"
            ) from error
        knobs = rules_of(text, "rules")
        return {"preferred": list(knobs.preferred), "threshold": knobs.threshold, "headroom": knobs.headroom}
    with unpacked(data, "policy") as folder:
        policy = FrozenPolicy.load(Path(folder))
        candidates_of(policy, load_rules())  # raises where it does not fit this version
        origin = {
            key: value for key, value in policy.origin.items() if isinstance(value, str | int | float | bool)
        }
        return {"origin": origin, "confidence_floor": policy.confidence_floor}
