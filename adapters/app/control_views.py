"""The verbs that look and change nothing: status, forecast show, plan, show, explain --plan, simulate."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from foreshade.adapters.app.control_access import Config, Json, PlanId, Url, asked
from foreshade.adapters.app.control_tables import (
    counts,
    decision_table,
    print_json,
    print_out,
    print_plan,
    table_of,
)
from foreshade.envs.errors import InputError

if TYPE_CHECKING:
    from foreshade.adapters.control_models import HostRecord


def status(
    config: Config = None,
    url: Url = None,
    hosts: Annotated[
        bool, typer.Option("--hosts", help="Every host: capacity, utilisation of the last hour, shadows.")
    ] = False,
    as_json: Json = False,
) -> None:
    """How the controller and its cluster are."""
    with asked(config, url) as service:
        if hosts:
            _print_hosts(service.host_database(), as_json=as_json)
            return
        said = service.status()
    if as_json:
        print_json(said.model_dump(mode="json"))
        return
    table = table_of("", "")
    running = f"held by {said.holder}, epoch {said.epoch}" if said.running else "no controller is running"
    paused = f", paused by {said.paused_by}" + (f": {said.paused_reason}" if said.paused_reason else "")
    rows = [
        ("cluster", said.cluster),
        ("controller", running),
        ("mode", said.mode + (paused if said.paused else "")),
        ("tick", "none yet" if said.tick is None else str(said.tick)),
        ("decided by", said.decided_by + (f" ({said.why_rules})" if said.why_rules else "")),
        ("HAM and rules agree", "" if said.agreement is None else f"{said.agreement:.0%}"),
        ("hosts", counts(said.hosts)),
        ("VMs", counts(said.vms)),
        ("power", f"{said.power_w:,.0f} W"),
        ("open plans", counts(said.plans_open)),
        ("draining", ", ".join(said.draining)),
        ("idle", said.idle),
        *(("trouble", trouble) for trouble in said.troubles),
    ]
    for name, value in rows:
        if value:
            table.add_row(name, value)
    print_out(table)


def _print_hosts(rows: Sequence[HostRecord], *, as_json: bool) -> None:
    """The host information database."""
    if as_json:
        print_json({"hosts": [row.model_dump(mode="json") for row in rows]})
        return
    table = table_of(
        "host", "rack", "state", "VMs", "CPU GHz", "CPU mean", "peak", "memory GiB", "mean", "shadows"
    )
    for row in rows:
        shares = [
            "" if share is None else f"{share:.0%}" for share in (row.mean_cpu, row.peak_cpu, row.mean_memory)
        ]
        shadows = ", ".join(f"{name} of {primary}" for name, primary in row.shadows.items())
        cpu, memory = f"{row.cpu_mhz / 1000:.1f}", f"{row.memory_mib / 1024:.0f}"
        table.add_row(
            row.name, row.rack, row.state, str(row.vms), cpu, *shares[:2], memory, shares[2], shadows
        )
    print_out(table)


def forecast_show(
    config: Config = None,
    url: Url = None,
    vm: Annotated[list[str] | None, typer.Option(help="A VM; may be repeated; default: all.")] = None,
    resource: Annotated[
        str, typer.Option(help="cpu_mhz, memory_mib, disk_mib_s or network_mbit_s.")
    ] = "cpu_mhz",
    top: Annotated[int, typer.Option(min=0, help="VMs shown, the largest demand first; 0 = all.")] = 20,
    as_json: Json = False,
) -> None:
    """Demand to come of each VM, with quantiles.

    As the controller's last tick saw it.
    """
    with asked(config, url) as service:
        said = service.forecasts(vm or (), resource)
    said.sort(key=lambda one: -one.now)
    if as_json:
        print_json({"forecasts": [one.model_dump(mode="json") for one in said]})
        return
    if not said:
        raise InputError("forecast: expected forecasts in the controller's snapshot, found none")
    table = table_of("VM", "now", *(f"in {_span(point.horizon_s)}" for point in said[0].points), right=1)
    for one in said[:top] if top else said:
        table.add_row(one.vm, f"{one.now:,.0f}", *(_point(point) for point in one.points))
    print_out(table)


def plan(
    config: Config = None,
    url: Url = None,
    state: Annotated[
        list[str] | None, typer.Option(help="Of plans shown; may be repeated; default: all.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="Newest plans shown.")] = 20,
    as_json: Json = False,
) -> None:
    """The newest plans: state, who decided, expected gain."""
    from foreshade.agents.plan import PlanState  # noqa: PLC0415

    states = []
    for name in state or ():
        if name not in list(PlanState):
            raise InputError(f"--state {name}: expected one of {', '.join(PlanState)}")
        states.append(PlanState(name))
    with asked(config, url) as service:
        said = service.plans(limit, states)
    if as_json:
        print_json({"plans": [one.model_dump(mode="json") for one in said]})
        return
    table = table_of("plan", "tick", "state", "by", "mode", "gain USD", "actions", "reason")
    for one in said:
        kinds: dict[str, int] = {}
        for action in one.actions:
            if action.state != "refused":
                kinds[action.kind] = kinds.get(action.kind, 0) + 1
        table.add_row(
            one.id,
            str(one.tick),
            one.state,
            one.by,
            one.mode,
            f"{one.gain_usd:.4f}",
            counts(kinds),
            one.reason,
        )
    print_out(table)


def show(plan_id: PlanId, config: Config = None, url: Url = None, as_json: Json = False) -> None:
    """One plan with all its actions, and what became of each.

    What, from where, to where, why.
    """
    with asked(config, url) as service:
        said = service.plan(plan_id)
    if as_json:
        print_json(said.model_dump(mode="json"))
    else:
        print_plan(said)


def explain_plan(
    plan_id: str, config: Path | None, top: int, *, as_json: bool, url: str | None = None
) -> None:
    """``foreshade explain --plan ID``: why a plan is as it is."""
    with asked(config, url) as service:
        said = service.explain(plan_id)
    if as_json:
        print_json(said.model_dump(mode="json"))
        return
    print_plan(said.plan)
    if not said.decisions:
        print_out(f"plan {plan_id}: how it was decided was not kept (agent.explain)")
    for number, decision in enumerate(said.decisions, start=1):
        print_out(decision_table(number, decision, top))


def simulate(
    plan_id: PlanId,
    config: Config = None,
    url: Url = None,
    ticks: Annotated[int, typer.Option(min=1, max=100_000, help="Control intervals to play.")] = 12,
    as_json: Json = False,
) -> None:
    """Play the newest snapshot with a plan and without it.

    Nothing is touched.
    """
    from foreshade.adapters.app.control_simulate import simulate_plan  # noqa: PLC0415
    from foreshade.adapters.control_service import ControlService as Service  # noqa: PLC0415

    with asked(config, url) as service:
        if isinstance(service, Service):
            said = simulate_plan(service, plan_id, ticks)
        else:
            said = service.simulate(plan_id, ticks)
    if as_json:
        print_json(said.model_dump(mode="json"))
        return
    table = table_of("", "with the plan", "without", right=1)
    terms = sorted(said.cost_usd, key=lambda term: -abs(said.cost_usd[term] - said.cost_usd_without[term]))
    for term in terms:
        if said.cost_usd[term] or said.cost_usd_without[term]:
            table.add_row(f"{term} USD", f"{said.cost_usd[term]:.4f}", f"{said.cost_usd_without[term]:.4f}")
    table.add_row("energy kWh", f"{said.energy_kwh:.3f}", f"{said.energy_kwh_without:.3f}")
    table.add_row("unmet demand", f"{said.unmet_demand:.3%}", f"{said.unmet_demand_without:.3%}")
    print_out(table)
    print_out(
        f"plan {said.plan} saves {said.saved_usd:.4f} USD in {said.ticks} ticks, as the simulator expects"
    )
    for refusal in said.refused:
        print_out(f"refused in the simulation: {refusal}")


def _span(seconds: float) -> str:
    return f"{seconds / 3600:g} h" if seconds >= 3600 else f"{seconds / 60:g} min"


def _point(point: Any) -> str:
    levels = sorted(point.quantiles, key=float)
    if len(levels) < 2:
        return f"{point.mean:,.0f} ±{point.sigma:,.0f}"
    return f"{point.mean:,.0f} ({point.quantiles[levels[0]]:,.0f}–{point.quantiles[levels[-1]]:,.0f})"
