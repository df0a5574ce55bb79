"""Frozen policies for tests of what reads them: the rules to the last bit, or weights drawn at random."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from foreshade.agents.ham.frozen import FrozenPolicy
from foreshade.agents.ham.frozen_network import ActorShape
from foreshade.envs.candidates import DEFAULT, CandidateKnobs
from foreshade.envs.native_schema import native_schema

SHAPE = ActorShape(hidden=8, temperature=0.25, attention=False)


def policy_folder(
    folder: Path,
    *,
    knobs: CandidateKnobs = DEFAULT,
    own: bool = True,
    last: float = 0.0,
    narrow: bool = False,
    **options: Any,
) -> Path:
    """Write a policy that chooses among these candidates.

    ``own`` = wherever it decides, else their options beside what the rules there have; ``last`` = scale of its last
    layer (0 = the rules); ``narrow`` = trained on zeros alone.
    """
    schema = native_schema(knobs.k)
    rng = np.random.default_rng(0)
    weights = {
        name: rng.normal(0.0, 0.3, shape).astype(np.float32) for name, shape in SHAPE.weights(schema).items()
    }
    weights["score.weight"] *= last
    columns = (*schema.context, *schema.candidate)
    low, high = (
        np.array([getattr(column, end) for column in columns], np.float32) for end in ("low", "high")
    )
    if narrow:
        low, high = 0.0 * low, 0.0 * high
    said = {"candidates": knobs.model_dump(mode="json")}
    origin = said if own else {"options": knobs.options.model_dump(mode="json")}
    return FrozenPolicy(schema, SHAPE, weights, low, high, origin=origin, **options).save(folder)
