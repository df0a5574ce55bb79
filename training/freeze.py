"""From a policy in torch to a frozen one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np

from foreshade.agents.ham.frozen import FrozenPolicy
from foreshade.agents.ham.frozen_network import ActorShape
from foreshade.agents.ham.policy import HamPolicy

#: Columns of the calendar: what Sunday is like is known without a run that had one.
_CALENDAR = ("day_sin", "day_cos", "week_sin", "week_cos")
#: The present actor, what it was before PPO, or an untrained one.
Which = Literal["trained", "start", "rules"]


def frozen(
    policy: HamPolicy,
    *,
    confidence_floor: float = 0.0,
    least_gain: float = 0.0,
    origin: Mapping[str, Any] | None = None,
    which: Which = "trained",
    everywhere: bool = False,
) -> FrozenPolicy:
    """An actor of a policy, with the range of the columns that the policy has seen; or without one, ``everywhere``.

    Raises:
        InputError: the policy has not seen one rollout, so that the range of its columns is unknown, or its
            weights are not finite.

    """
    network = policy.network
    schema = network.pop("schema")
    actor = policy.start if which == "start" else policy.scorer.actor
    weights = {name: value.detach().cpu().numpy().copy() for name, value in actor.state_dict().items()}
    if which == "rules":
        weights["score.weight"] = np.zeros_like(weights["score.weight"])
    low, high = (of.cpu().numpy().copy() for of in (policy.range_low, policy.range_high))
    for i, column in enumerate(schema.context):
        if column.name in _CALENDAR:
            low[i], high[i] = column.low, column.high
    if everywhere:
        low, high = np.full_like(low, -np.inf), np.full_like(high, np.inf)
    return FrozenPolicy(
        schema,
        ActorShape(**network),
        weights,
        low,
        high,
        confidence_floor=confidence_floor,
        least_gain=least_gain,
        origin=origin,
        where="HAM policy",
    )
