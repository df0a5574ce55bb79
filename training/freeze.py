"""From a policy in torch to a frozen one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from foreshade.agents.ham.frozen import FrozenPolicy
from foreshade.agents.ham.frozen_network import ActorShape
from foreshade.agents.ham.policy import HamPolicy


def frozen(
    policy: HamPolicy,
    *,
    confidence_floor: float = 0.0,
    origin: Mapping[str, Any] | None = None,
    start: bool = False,
) -> FrozenPolicy:
    """The actor of a policy, or with ``start`` what it was before it was trained.

    Raises:
        InputError: the policy has not seen one rollout, so that the range of its columns is unknown, or its
            weights are not finite.

    """
    network = policy.network
    schema = network.pop("schema")
    actor = policy.start if start else policy.scorer.actor
    return FrozenPolicy(
        schema,
        ActorShape(**network),
        {name: value.detach().cpu().numpy().copy() for name, value in actor.state_dict().items()},
        policy.range_low.cpu().numpy().copy(),
        policy.range_high.cpu().numpy().copy(),
        confidence_floor=confidence_floor,
        origin=origin,
        where="HAM policy",
    )
