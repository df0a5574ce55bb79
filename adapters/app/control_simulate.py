"""``foreshade simulate``: a plan on the newest snapshot, beside doing nothing."""

from __future__ import annotations

from foreshade.adapters.control_models import Simulated
from foreshade.adapters.control_service import ControlService
from foreshade.agents.plan import ActionState
from foreshade.envs.errors import PlanError
from foreshade.envs.forward import Forward

_SHOWN = (ActionState.PENDING, ActionState.SKIPPED, ActionState.SUPERSEDED, ActionState.CANCELLED)


def simulate_plan(service: ControlService, plan_id: str, ticks: int) -> Simulated:
    """Play the newest snapshot forward with what a plan has not begun, and without it; nothing is touched.

    Raises:
        PlanError: there is no such plan, or nothing of it is left to be played.
        InputError: there is no snapshot.

    """
    plan = service.journal.plan(plan_id)
    orders = [action.order for action in plan.actions if action.state in _SHOWN]
    if not orders:
        raise PlanError(
            f"plan {plan_id}: expected actions that were not begun, found none: it is {plan.state}"
        )
    forward = Forward(service.snapshot, ticks)
    with_it, without = forward.play(orders), forward.play(())
    mine = [why for why in with_it.refused if why not in without.refused]
    return Simulated(
        plan=plan_id,
        ticks=ticks,
        refused=tuple(mine),
        unlike=without.refused,
        cost_usd=with_it.cost_usd,
        cost_usd_without=without.cost_usd,
        saved_usd=sum(without.cost_usd.values()) - sum(with_it.cost_usd.values()),
        energy_kwh=with_it.energy_kwh,
        energy_kwh_without=without.energy_kwh,
        unmet_demand=with_it.unmet_demand,
        unmet_demand_without=without.unmet_demand,
    )
