"""What golden scenarios are written with: applications of a few VMs, forecasts by hand, a log by tick."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from foreshade import _core
from foreshade._core import ClusterState
from foreshade.agents.rules.rules import Decider
from foreshade.envs.forecast.forecaster import LEVELS
from foreshade.envs.model.action import Action, ActionKind, Boot, Plan, PowerTarget
from foreshade.envs.model.state import HostState, VmKind, VmState
from foreshade.envs.simulated import SimulatedWorld
from foreshade.envs.site import site_of
from foreshade.envs.workloads.workload import Workload, WorkloadApps, WorkloadVms

HORIZONS = (1, 3, 12)  # ticks, counted from the tick to come
#: Standard normal quantiles of the levels .025 .1 .25 .5 .75 .9 .975.
_Z = np.array([-1.96, -1.2816, -0.6745, 0.0, 0.6745, 1.2816, 1.96], np.float32)


@dataclass(frozen=True)
class App:
    """Equal VMs that serve one load: MHz wanted by all of them, a tick each; the last value goes on."""

    cpu: Sequence[float]
    vms: int = 1
    flavour: tuple[float, ...] = (2_500.0, 4_096.0, 100.0, 1_000.0, 0.0)
    memory: float = 1_000.0  # MiB wanted by each VM
    offloadable: float = 0.0
    kind: str = "web"  # its type; names begin with it
    credit: float = 1.0


def workload(apps: Sequence[App], ticks: int) -> Workload:
    """The applications side by side, VMs numbered in their order."""
    demand = np.zeros((ticks, len(apps), 4), np.float32)
    for a, app in enumerate(apps):
        demand[:, a, 0] = np.asarray(app.cpu, np.float32)[np.minimum(np.arange(ticks), len(app.cpu) - 1)]
        demand[:, a, 1] = app.memory * app.vms
    owner = np.repeat(np.arange(len(apps), dtype=np.int32), [app.vms for app in apps])
    n = len(owner)
    return Workload(
        name="golden",
        source="golden",
        start_epoch_s=1_704_067_200,
        tick_s=300,
        demand=demand,
        gpu=np.zeros((ticks, 0), np.float32),
        gpu_series=np.zeros(0, np.int32),
        vms=WorkloadVms(
            name=tuple(f"vm{v}" for v in range(n)),
            app=owner,
            flavour=np.array([apps[a].flavour for a in owner], np.float32),
            arrival_tick=np.zeros(n, np.int32),
            departure_tick=np.full(n, ticks, np.int32),
            credit=np.array([apps[a].credit for a in owner], np.float32),
        ),
        apps=WorkloadApps(
            name=tuple(f"{app.kind}-{a:04d}" for a, app in enumerate(apps)),
            series=np.arange(len(apps), dtype=np.int32),
            members=np.array([app.vms for app in apps], np.int32),
            memory_floor=np.full(len(apps), 0.5, np.float32),
            offloadable=np.array([app.offloadable for app in apps], np.float32),
            kind=tuple(app.kind for app in apps),
        ),
    )


def foreseen(
    load: Workload, spread: float = 0.05, *, known: Callable[[int, int], bool] | None = None
) -> _core.ForecastTable:
    """Forecasts with the true demand in the middle and a normal spread around it.

    Args:
        load: whose demand is foreseen.
        spread: standard deviation over the middle.
        known: tells of the tick of the forecast and the tick it is for whether that was foreseen; where it
            was not, the last value stands in the middle.

    """
    ticks, series, _ = load.demand.shape
    moments = np.zeros((ticks + 1, len(HORIZONS), series, 4, 2), np.float32)
    quantiles = np.zeros((ticks + 1, series, 4, len(HORIZONS), len(LEVELS)), np.float32)
    for t in range(ticks + 1):
        for k, horizon in enumerate(HORIZONS):
            then = min(t + horizon - 1, ticks - 1)
            if known is not None and not known(t, then):
                then = max(t - 1, 0)
            middle = load.demand[then]
            moments[t, k, :, :, 0], moments[t, k, :, :, 1] = middle, spread * middle
            quantiles[t, :, :, k] = np.maximum(middle[:, :, None] * (1.0 + spread * _Z), 0.0)
    return _core.ForecastTable(moments, quantiles, HORIZONS, LEVELS)


def play(
    world: SimulatedWorld,
    agent: Decider,
    ticks: int,
    note: Callable[[ClusterState], str] = lambda _: "",
    touch: Mapping[int, Sequence[Action]] | None = None,
) -> Iterator[str]:
    """Play and tell: a line for each action with its reason and component, and for each life that changed.

    Args:
        world: at its start.
        agent: the rules with components, as a rule.
        ticks: how many are played.
        note: of a tick, written where anything is; what the reader needs to follow the decision.
        touch: actions that somebody else does at a tick, after the agent.

    """
    agent.reset(site_of(world, 0))
    by: dict[str, str] = {}

    def told(proposer: _core.Proposer, taken: object) -> None:
        said = proposer.describe(taken.candidate)  # type: ignore[attr-defined]
        by[said["reason"]] = said["by"]

    agent.on_decision = told
    before: dict[str, str] = {}
    for tick in range(ticks):
        state = world.observe()
        now = dict(_lives(state))
        lines = [
            f"{key} {how}" for key, how in now.items() if before.get(key, how) != how or key not in before
        ]
        lines += [f"{key} gone" for key in before if key not in now]
        said = note(state)
        actions = list(agent.act(state))
        outcomes = world.execute(Plan(tick, actions))
        for action, outcome in zip(actions, outcomes, strict=True):
            owner = f" ({by[action.reason]})" if by.get(action.reason) else ""
            refused = "" if outcome.accepted else f"; REFUSED {outcome.error}"
            why = f": {action.reason}" if owner else ""
            lines.append(f"-> {text_of(action)}{why}{owner}{refused}")
        for action in (touch or {}).get(tick, ()):
            lines.append(f"!! {text_of(action)}: {action.reason or 'by hand'}")
            (outcome,) = world.execute(Plan(tick, [action]))
            assert outcome.accepted, outcome.error
        before = now
        world.advance()
        if lines:
            yield f"tick {tick:3}  {said}".rstrip()
            yield from (f"    {line}" for line in lines)
    metrics = world.metrics()
    yield (
        f"end  unmet {metrics.unmet_demand:.2%} of the CPU demand, {metrics.migrations} migrations, "
        f"{metrics.counts['spawned']} spawned, {metrics.counts['refused']} refused"
    )


def text_of(action: Action) -> str:
    """An action in a few words."""
    kind = action.kind
    size = ""
    if action.allocation is not None:
        size = f", {action.allocation[0]:.0f} MHz {action.allocation[1]:.0f} MiB"
    if kind is ActionKind.SPAWN:
        if action.vm >= 0:
            return f"place vm {action.vm} on host {action.host}"
        path = Boot(int(action.value))
        how = "paused" if action.value2 else "resumed" if path is Boot.SPARE else path.name.lower()
        return f"spawn ({how}) of app {action.app} on host {action.host}{size}"
    if kind is ActionKind.MICROVM:
        return f"micro-VM of app {action.app} on host {action.host}{size}, {action.value2:.0f} s"
    if kind is ActionKind.SHADOW:
        return f"shadow of vm {action.vm} on host {action.host} at {action.value:.0%}"
    if kind is ActionKind.POWER:
        what = f"rack {action.rack}" if action.rack >= 0 else f"host {action.host}"
        return f"{what} {PowerTarget(int(action.value)).name.lower()}"
    if kind is ActionKind.RENT:
        return f"{'rent' if action.value else 'give back'} host {action.host}"
    if kind is ActionKind.SHIFT:
        return f"shift vm {action.vm} to weight {action.value:.3f}"
    if kind is ActionKind.MIGRATE:
        company = " with its company" if action.value else ""
        return f"migrate vm {action.vm}{company} to host {action.host}"
    return f"{kind.name.lower()} vm {action.vm}{size}"


def _lives(state: ClusterState) -> Iterator[tuple[str, str]]:
    """What becomes of hosts and VMs; usage is left to ``note``."""
    for h in range(len(state.hosts.state)):
        yield f"host {h}", HostState(state.hosts.state[h]).name.lower()
    for v in np.flatnonzero(state.vms.state != VmState.ABSENT).tolist():
        kind = VmKind(state.vms.kind[v])
        name = "" if kind is VmKind.PRODUCTION else f" ({kind.name.lower()})"
        where = f" on host {state.vms.host[v]}" if state.vms.host[v] >= 0 else ""
        yield f"vm {v}{name}", f"{VmState(state.vms.state[v]).name.lower()}{where}"
