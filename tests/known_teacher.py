"""A frozen policy whose advantage is known: over candidates that the rules leave, it takes what scores well."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from foreshade.agents.ham.frozen import FrozenPolicy
from foreshade.agents.ham.frozen_network import ActorShape
from foreshade.envs.candidates import PLACEMENT, CandidateKnobs
from foreshade.envs.native_schema import native_schema

SHAPE = ActorShape(hidden=4, temperature=0.25, attention=False)
TAKES = ("right_size", "grow", "shrink", "place", "microvm")


def teacher_folder(folder: Path, knobs: CandidateKnobs = PLACEMENT) -> Path:
    """What scores above 0 and is of these kinds gets 1.4 and a tenth of its score, as the rules give what they take.

    a = score + 10 flag - 10 is above 0 for these alone; 1.4 is a ramp between two units that is steep, and a tenth a
    third unit.
    """
    schema = native_schema(knobs.k)
    weights = {name: np.zeros(shape, np.float32) for name, shape in SHAPE.weights(schema).items()}
    column = {c.name: i for i, c in enumerate(schema.candidate)}
    steep = 1000.0
    for unit, (slope, shift) in enumerate(((steep, 0.0), (steep, -1.0), (1.0, 0.0))):
        weights["encoder.candidate.weight"][unit, column["score"]] = slope
        for kind in TAKES:
            weights["encoder.candidate.weight"][unit, column[kind]] = 10.0 * slope
        weights["encoder.candidate.bias"][unit] = -10.0 * slope + shift
        weights["joint.weight"][unit, unit] = 1.0
    step = 1.4 / SHAPE.temperature
    weights["score.weight"][0, :3] = step, -step, 0.1 / SHAPE.temperature
    columns = (*schema.context, *schema.candidate)
    low, high = (np.array([getattr(c, end) for c in columns], np.float32) for end in ("low", "high"))
    origin = {"candidates": knobs.model_dump(mode="json")}
    return FrozenPolicy(schema, SHAPE, weights, low, high, origin=origin).save(folder)
