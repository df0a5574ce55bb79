"""A scenario in which agents are held to fewer actions than it allows."""

from __future__ import annotations

from foreshade.envs.errors import InputError
from foreshade.envs.scenarios.schema import Scenario

#: VMs may be moved and hosts switched: what the placement-only baselines do.
PLACEMENT = ("migrate", "power")


def held_to(scenario: Scenario, actions: str) -> Scenario:
    """The scenario with those kinds of actions alone, and its variant saying so.

    Args:
        scenario: what is to be played.
        actions: kinds with commas between them, or ``placement``, which is ``migrate,power``.

    Raises:
        InputError: a kind is none, stands there twice, or the scenario does not allow it.

    """
    kinds = PLACEMENT if actions == "placement" else tuple(kind.strip() for kind in actions.split(","))
    allowed = ", ".join(scenario.actions)
    for kind in kinds:
        if kind not in scenario.actions:
            raise InputError(
                f"actions: expected 'placement' or kinds that scenario {scenario.name} allows ({allowed}), "
                f"found {kind!r}"
            )
    if len(set(kinds)) < len(kinds):
        raise InputError(f"actions: expected each kind once, found {actions!r}")
    variant = ", ".join(said for said in (scenario.variant, f"actions {actions}") if said)
    return scenario.model_copy(update={"actions": kinds, "variant": variant})
