"""What the control service answers, typed in one place: for the command line, the API and its clients.

Amounts are objects with the unit in the key; times are Unix seconds; shares are between 0 and 1.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict

from foreshade.agents.plan import ActionState, Mode, PlannedAction, PlanRecord, PlanState


class Answer(BaseModel):
    """Base of all answers."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Amounts(Answer):
    """Of the five resources."""

    cpu_mhz: float = 0.0
    memory_mib: float = 0.0
    disk_mib_s: float = 0.0
    network_mbit_s: float = 0.0
    gpus: float = 0.0

    @classmethod
    def of(cls, row: Sequence[float]) -> Amounts:
        """From a row of a state."""
        cpu, memory, disk, network, gpu = row
        return cls(cpu_mhz=cpu, memory_mib=memory, disk_mib_s=disk, network_mbit_s=network, gpus=gpu)


class HostRecord(Answer):
    """What is known of one host: capacity and allocation of now, utilisation of the last hour; MHz and MiB."""

    name: str
    rack: str
    zone: str
    state: str
    cpu_mhz: float  # usable
    memory_mib: float
    allocated_cpu_mhz: float
    allocated_memory_mib: float
    vms: int
    mean_cpu: float | None  # share of the capacity in use over the window; null = nothing was measured
    peak_cpu: float | None
    mean_memory: float | None
    peak_memory: float | None
    shadows: Mapping[str, str]  # that stand here: shadow to its primary


class Status(Answer):
    """How the controller and its cluster are."""

    cluster: str
    mode: Mode
    paused: bool
    paused_by: str = ""
    paused_reason: str = ""
    draining: tuple[str, ...] = ()
    running: bool  # whether a controller holds the lease
    holder: str = ""  # who
    epoch: int = 0  # of the lease
    tick: int | None = None
    time_s: float | None = None  # of the newest snapshot
    last_tick_s: float | None = None  # of the newest tick
    idle: str = ""  # why the last tick decided nothing
    decided_by: str = ""
    why_rules: str = ""  # why not HAM, in the last tick
    agreement: float | None = None  # of HAM and rules in the last tick
    hosts: Mapping[str, int] = {}  # by state
    vms: Mapping[str, int] = {}  # by state
    power_w: float = 0.0
    plans_open: Mapping[str, int] = {}  # by state
    troubles: tuple[str, ...] = ()
    oldest_sample_s: float | None = None
    tick_seconds: Mapping[str, float] = {}  # by stage, of the last tick


class ForecastPoint(Answer):
    """Demand to come at one horizon."""

    horizon_s: float
    mean: float
    sigma: float
    quantiles: Mapping[str, float] = {}  # by level


class Forecast(Answer):
    """Of one VM and resource."""

    vm: str
    resource: str  # cpu_mhz, memory_mib, disk_mib_s or network_mbit_s
    now: float  # estimated demand
    points: tuple[ForecastPoint, ...]


class Action(Answer):
    """One action of a plan."""

    key: str
    kind: str
    vm: str = ""
    primary: str = ""
    source: str = ""
    host: str = ""
    application: str = ""
    rack: str = ""
    value: float = 0.0
    value2: float = 0.0
    allocation: Amounts | None = None
    reason: str  # why it was decided
    state: ActionState
    outcome: str = ""  # why it is in that state
    begun_s: float | None = None
    ended_s: float | None = None
    attempts: int = 0


class Plan(Answer):
    """The ordered actions of one tick."""

    id: str
    tick: int
    created_s: float
    mode: Mode
    by: str
    state: PlanState
    reason: str = ""
    approved_by: str = ""
    gain_usd: float
    refused: int = 0  # actions that the guard refused; a list of plans may leave them out
    actions: tuple[Action, ...]


class Explanation(Answer):
    """Why a plan is as it is."""

    plan: Plan
    decisions: tuple[Mapping[str, Any], ...]  # candidates with score terms, features and why they lost


class Simulated(Answer):
    """What the simulator expects of a plan, beside doing nothing."""

    plan: str
    ticks: int
    unlike: tuple[str, ...] = ()  # where the simulated cluster does not begin as the real one
    refused: tuple[str, ...] = ()  # actions that the simulated cluster does not take, and why
    cost_usd: Mapping[str, float]  # by term, with the plan
    cost_usd_without: Mapping[str, float]
    saved_usd: float
    energy_kwh: float
    energy_kwh_without: float
    unmet_demand: float  # share
    unmet_demand_without: float


class Event(Answer):
    """Something that happened."""

    id: int
    time_s: float
    kind: str
    plan: str = ""
    action: str = ""
    before: str = ""
    after: str = ""
    by: str = ""
    reason: str = ""
    data: Mapping[str, Any] | None = None


class Said(Answer):
    """What an acting verb did, or would do."""

    done: bool  # False = it was a dry run
    what: str  # one line for people
    plan: Plan | None = None
    actions: tuple[Action, ...] = ()


def plan_answer(plan: PlanRecord, refused: int | None = None) -> Plan:
    """A plan of the journal; ``refused`` says how many actions were, where they were left out."""
    if refused is None:
        refused = sum(action.state is ActionState.REFUSED for action in plan.actions)
    return Plan(
        id=plan.id,
        tick=plan.tick,
        created_s=plan.created_s,
        mode=plan.mode,
        by=plan.by,
        state=plan.state,
        reason=plan.reason,
        approved_by=plan.approved_by,
        gain_usd=plan.gain_usd,
        refused=refused,
        actions=tuple(action_answer(action) for action in plan.actions),
    )


def action_answer(action: PlannedAction) -> Action:
    """An action of the journal."""
    order = action.order
    return Action(
        key=order.key,
        kind=order.kind.name.lower(),
        vm=order.vm,
        primary=order.primary,
        source=order.source,
        host=order.host,
        application=order.app,
        rack=order.rack,
        value=order.value,
        value2=order.value2,
        allocation=Amounts.of(order.allocation) if order.allocation is not None else None,
        reason=order.reason,
        state=action.state,
        outcome=action.reason,
        begun_s=action.begun_s or None,
        ended_s=action.ended_s or None,
        attempts=action.attempts,
    )
