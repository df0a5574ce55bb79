"""``foreshade control`` and its verbs: status, forecast show, plan, show, explain --plan, approve, apply, cancel,
simulate, mode, pause, resume, drain.

The verbs work on the store that the configuration names; the controller reads what they leave there.
"""

from __future__ import annotations

import getpass
import json
import sys
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from foreshade.envs.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from foreshade.adapters.client import Client as ApiClient
    from foreshade.adapters.control_models import Plan, Said
    from foreshade.adapters.control_service import ControlService

    Asked = ControlService | ApiClient

Config = Annotated[
    Path | None,
    typer.Option(
        "--config", help="Configuration of the controller; default: the simulated one without configuration."
    ),
]
Url = Annotated[
    str | None,
    typer.Option(
        "--url",
        envvar="FORESHADE_URL",
        help="Ask a controller's API instead of its store; the token stands in FORESHADE_TOKEN or _TOKEN_FILE.",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON and nothing else on standard output.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and do nothing.")]
By = Annotated[
    str | None, typer.Option("--by", help="Who says so, for the journal; default: the user's name.")
]
PlanId = Annotated[str, typer.Argument(help="Of the plan, as in `foreshade plan`.")]

_FILE_WIDTH = 140


def register(app: typer.Typer, forecast_app: typer.Typer) -> None:
    """Put the commands on the command line."""
    for command in (
        control,
        status,
        plan,
        show,
        approve,
        apply,
        cancel,
        simulate,
        mode,
        pause,
        resume,
        drain,
    ):
        app.command()(command)
    forecast_app.command("show")(forecast_show)


def control(
    config: Annotated[
        Path | None,
        typer.Option("--config", help="YAML; default: a simulated cluster in accelerated time, mode auto."),
    ] = None,
    mode: Annotated[
        str | None, typer.Option("--mode", help="observe, advise or auto, instead of the file's.")
    ] = None,
    ticks: Annotated[int | None, typer.Option(min=1, help="End after so many.")] = None,
    check: Annotated[bool, typer.Option("--check", help="Check the configuration and end.")] = False,
    reference: Annotated[
        bool, typer.Option("--reference", help="Print the reference of all keys and end.")
    ] = False,
) -> None:
    """Drive a cluster: observe, decide, check, write down, carry out, verify; tick by tick."""
    from foreshade.adapters.app.control import assemble, install_signals, run  # noqa: PLC0415
    from foreshade.adapters.app.control_config import load_config  # noqa: PLC0415
    from foreshade.adapters.app.control_log import start_log  # noqa: PLC0415
    from foreshade.adapters.app.control_reference import reference as written  # noqa: PLC0415
    from foreshade.adapters.app.serve import serve  # noqa: PLC0415
    from foreshade.agents.plan import Mode  # noqa: PLC0415

    if reference:
        sys.stdout.write(written())
        return
    said = load_config(config)
    if mode is not None:
        if mode not in list(Mode):
            raise InputError(f"--mode {mode}: expected one of {', '.join(Mode)}")
        said = said.model_copy(update={"mode": Mode(mode)})
    if check:
        sys.stdout.write(f"{config or 'defaults'}: ok, cluster {said.cluster}, mode {said.mode}\n")
        return
    start_log(said.log.level, said.log.format)
    running = assemble(said, [serve])
    install_signals(running)
    run(running, ticks=ticks, reread=lambda: load_config(config))


def status(
    config: Config = None,
    url: Url = None,
    hosts: Annotated[
        bool, typer.Option("--hosts", help="Every host: capacity, utilisation of the last hour, shadows.")
    ] = False,
    as_json: Json = False,
) -> None:
    """How the controller and its cluster are."""
    if hosts:
        if url is not None:
            raise InputError(
                "status --hosts: expected a configuration, found --url: the history lies beside the store"
            )
        _hosts(config, as_json=as_json)
        return
    with _service(config, url) as service:
        said = service.status()
    if as_json:
        _json(said.model_dump(mode="json"))
        return
    table = _table("", "")
    running = f"held by {said.holder}, epoch {said.epoch}" if said.running else "no controller is running"
    paused = f", paused by {said.paused_by}" + (f": {said.paused_reason}" if said.paused_reason else "")
    rows = [
        ("cluster", said.cluster),
        ("controller", running),
        ("mode", said.mode + (paused if said.paused else "")),
        ("tick", "none yet" if said.tick is None else str(said.tick)),
        ("decided by", said.decided_by + (f" ({said.why_rules})" if said.why_rules else "")),
        ("HAM and rules agree", "" if said.agreement is None else f"{said.agreement:.0%}"),
        ("hosts", _counts(said.hosts)),
        ("VMs", _counts(said.vms)),
        ("power", f"{said.power_w:,.0f} W"),
        ("open plans", _counts(said.plans_open)),
        ("draining", ", ".join(said.draining)),
        ("idle", said.idle),
        *(("trouble", trouble) for trouble in said.troubles),
    ]
    for name, value in rows:
        if value:
            table.add_row(name, value)
    _print(table)


def _hosts(config: Path | None, *, as_json: bool) -> None:
    """The host information database."""
    from foreshade.adapters.app.control import open_history  # noqa: PLC0415
    from foreshade.adapters.app.control_config import load_config  # noqa: PLC0415
    from foreshade.adapters.control_service import ControlService as Service  # noqa: PLC0415
    from foreshade.adapters.store.host_database import host_database  # noqa: PLC0415
    from foreshade.adapters.store.store import Store  # noqa: PLC0415

    said = load_config(config)
    store = Store(said.store_url, create=False)
    try:
        rows = host_database(Service(store, said.cluster).snapshot, open_history(said))
    finally:
        store.close()
    if as_json:
        _json({"hosts": [asdict(row) for row in rows]})
        return
    table = _table(
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
    _print(table)


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
    """Demand to come of each VM, with quantiles, as the controller's last tick saw it."""
    with _service(config, url) as service:
        said = service.forecasts(vm or (), resource)
    said.sort(key=lambda one: -one.now)
    if as_json:
        _json({"forecasts": [one.model_dump(mode="json") for one in said]})
        return
    if not said:
        raise InputError("forecast: expected forecasts in the controller's snapshot, found none")
    table = _table("VM", "now", *(f"in {_span(point.horizon_s)}" for point in said[0].points), right=1)
    for one in said[:top] if top else said:
        table.add_row(one.vm, f"{one.now:,.0f}", *(_point(point) for point in one.points))
    _print(table)


def plan(
    config: Config = None,
    url: Url = None,
    state: Annotated[
        list[str] | None, typer.Option(help="Of plans shown; may be repeated; default: all.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="Newest plans shown.")] = 20,
    as_json: Json = False,
) -> None:
    """The newest plans: state, who decided, what they are expected to gain."""
    from foreshade.agents.plan import PlanState  # noqa: PLC0415

    states = []
    for name in state or ():
        if name not in list(PlanState):
            raise InputError(f"--state {name}: expected one of {', '.join(PlanState)}")
        states.append(PlanState(name))
    with _service(config, url) as service:
        said = service.plans(limit, states)
    if as_json:
        _json({"plans": [one.model_dump(mode="json") for one in said]})
        return
    table = _table("plan", "tick", "state", "by", "mode", "gain USD", "actions", "reason")
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
            _counts(kinds),
            one.reason,
        )
    _print(table)


def show(plan_id: PlanId, config: Config = None, url: Url = None, as_json: Json = False) -> None:
    """One plan with all its actions: what, from where, to where, why, and what became of it."""
    with _service(config, url) as service:
        said = service.plan(plan_id)
    if as_json:
        _json(said.model_dump(mode="json"))
    else:
        _print_plan(said)


def explain_plan(
    plan_id: str, config: Path | None, top: int, *, as_json: bool, url: str | None = None
) -> None:
    """``foreshade explain --plan ID``: why a plan is as it is."""
    with _service(config, url) as service:
        said = service.explain(plan_id)
    if as_json:
        _json(said.model_dump(mode="json"))
        return
    _print_plan(said.plan)
    if not said.decisions:
        _print(f"plan {plan_id}: how it was decided was not kept (agent.explain)")
    for number, decision in enumerate(said.decisions, start=1):
        _print(_decision(number, decision, top))


def approve(
    plan_id: PlanId,
    config: Config = None,
    url: Url = None,
    by: By = None,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Let a recommended plan be carried out."""
    _act(config, url, as_json, lambda service: service.approve(plan_id, _who(by), dry_run=dry_run))


def apply(
    plan_id: PlanId,
    config: Config = None,
    url: Url = None,
    by: By = None,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Approve a plan where that is still to be done, and have it begun now."""
    _act(config, url, as_json, lambda service: service.apply(plan_id, _who(by), dry_run=dry_run))


def cancel(
    plan_id: PlanId,
    config: Config = None,
    url: Url = None,
    reason: Annotated[str, typer.Option(help="For the journal.")] = "",
    by: By = None,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """What a plan has not begun is not begun; what is under way is seen to its end."""
    _act(config, url, as_json, lambda service: service.cancel(plan_id, _who(by), reason, dry_run=dry_run))


def simulate(
    plan_id: PlanId,
    config: Config = None,
    url: Url = None,
    ticks: Annotated[int, typer.Option(min=1, help="Control intervals to play.")] = 12,
    as_json: Json = False,
) -> None:
    """Run the newest snapshot forward with a plan and without it; nothing is touched."""
    from foreshade.adapters.app.control_simulate import simulate_plan  # noqa: PLC0415
    from foreshade.adapters.control_service import ControlService as Service  # noqa: PLC0415

    with _service(config, url) as service:
        if isinstance(service, Service):
            said = simulate_plan(service, plan_id, ticks)
        else:
            said = service.simulate(plan_id, ticks)
    if as_json:
        _json(said.model_dump(mode="json"))
        return
    table = _table("", "with the plan", "without", right=1)
    terms = sorted(said.cost_usd, key=lambda term: -abs(said.cost_usd[term] - said.cost_usd_without[term]))
    for term in terms:
        if said.cost_usd[term] or said.cost_usd_without[term]:
            table.add_row(f"{term} USD", f"{said.cost_usd[term]:.4f}", f"{said.cost_usd_without[term]:.4f}")
    table.add_row("energy kWh", f"{said.energy_kwh:.3f}", f"{said.energy_kwh_without:.3f}")
    table.add_row("unmet demand", f"{said.unmet_demand:.3%}", f"{said.unmet_demand_without:.3%}")
    _print(table)
    _print(f"plan {said.plan} saves {said.saved_usd:.4f} USD in {said.ticks} ticks, as the simulator expects")
    for refusal in said.refused:
        _print(f"refused in the simulation: {refusal}")


def mode(
    name: Annotated[str, typer.Argument(help="observe, advise or auto.")],
    config: Config = None,
    url: Url = None,
    by: By = None,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """How far the controller goes by itself, from its next tick."""
    from foreshade.agents.plan import Mode  # noqa: PLC0415

    if name not in list(Mode):
        raise InputError(f"mode {name}: expected one of {', '.join(Mode)}")
    _act(config, url, as_json, lambda service: service.set_mode(Mode(name), _who(by), dry_run=dry_run))


def pause(
    config: Config = None,
    url: Url = None,
    reason: Annotated[str, typer.Option(help="For whoever finds it paused.")] = "",
    by: By = None,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Begin nothing from now on; what is under way is seen to its end."""
    _act(config, url, as_json, lambda service: service.pause(_who(by), reason, dry_run=dry_run))


def resume(
    config: Config = None, url: Url = None, by: By = None, dry_run: DryRun = False, as_json: Json = False
) -> None:
    """Go on after a pause."""
    _act(config, url, as_json, lambda service: service.resume(_who(by), dry_run=dry_run))


def drain(
    host: Annotated[str, typer.Argument(help="Name of the host.")],
    config: Config = None,
    url: Url = None,
    undo: Annotated[bool, typer.Option("--undo", help="Let it be filled again.")] = False,
    by: By = None,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Empty a host and keep it empty."""
    _act(config, url, as_json, lambda service: service.drain(host, _who(by), undo=undo, dry_run=dry_run))


@contextmanager
def _service(config: Path | None, url: str | None = None) -> Iterator[Asked]:
    """The service on the store of a configuration, or a client of a controller's API."""
    if url is not None:
        from foreshade.adapters.client import Client, token_from  # noqa: PLC0415

        if config is not None:
            raise InputError("expected one of --config, --url, found both")
        with Client(url, token_from()) as client:
            yield client
        return
    from foreshade.adapters.app.control_config import load_config  # noqa: PLC0415
    from foreshade.adapters.control_service import ControlService as Service  # noqa: PLC0415
    from foreshade.adapters.store.store import Store  # noqa: PLC0415

    said = load_config(config)
    store = Store(said.store_url, create=False)
    try:
        yield Service(store, said.cluster)
    finally:
        store.close()


def _act(config: Path | None, url: str | None, as_json: bool, verb: Callable[[Asked], Said]) -> None:
    with _service(config, url) as service:
        said = verb(service)
        running = service.status().running
    if as_json:
        _json(said.model_dump(mode="json"))
        return
    _print(said.what)
    if said.done and not running:
        _print("no controller is running: it is done once one is")


def _who(by: str | None) -> str:
    try:
        return by or getpass.getuser()
    except (KeyError, OSError):
        return "unknown"


def _print_plan(said: Plan) -> None:
    approved = f", approved by {said.approved_by}" if said.approved_by else ""
    _print(f"plan {said.id}  tick {said.tick}  {said.state}{approved}  by {said.by}  {said.reason}".rstrip())
    table = _table("#", "action", "what", "from", "to", "state", "reason")
    for number, action in enumerate(said.actions):
        where = action.host or action.rack or action.application
        value = f" {action.value:g}" if action.kind in {"shift", "power", "rent"} else ""
        reason = action.reason + (f" · {action.outcome}" if action.outcome else "")
        table.add_row(
            str(number),
            action.kind + value,
            action.vm or where,
            action.source,
            action.host,
            action.state,
            reason,
        )
    _print(table)


def _decision(number: int, decision: Any, top: int) -> Table:
    ranked = sorted(
        decision["candidates"],
        key=lambda one: (one["index"] != decision["chosen"], not one["possible"], -one["preference"]),
    )
    chosen = ranked[0]
    doubt = f", HAM in doubt: {decision['doubt']}" if decision["doubt"] else ""
    table = _table("candidate", "score USD", "preference", "HAM", "why", right=1)
    table.title = f"Decision {number}: {chosen['what']}, taken by {decision['by']}{doubt}"
    table.title_justify = "left"
    for one in ranked[:top] if top else ranked:
        odds = "" if one["probability"] is None else f"{one['probability']:.1%}"
        table.add_row(one["what"], f"{one['score']:.5f}", f"{one['preference']:.3f}", odds, one["verdict"])
    return table


def _table(*columns: str, right: int | None = None) -> Table:
    table = Table(box=None, pad_edge=False, show_header=any(columns))
    for number, column in enumerate(columns):
        last = number == len(columns) - 1
        numeric = right is not None and number >= right and not (last and column in {"why", "reason"})
        table.add_column(column, justify="right" if numeric else "left", overflow="fold", no_wrap=not last)
    return table


def _counts(counts: Any) -> str:
    return ", ".join(f"{count} {name}" for name, count in counts.items())


def _span(seconds: float) -> str:
    return f"{seconds / 3600:g} h" if seconds >= 3600 else f"{seconds / 60:g} min"


def _point(point: Any) -> str:
    levels = sorted(point.quantiles, key=float)
    if len(levels) < 2:
        return f"{point.mean:,.0f} ±{point.sigma:,.0f}"
    return f"{point.mean:,.0f} ({point.quantiles[levels[0]]:,.0f}–{point.quantiles[levels[-1]]:,.0f})"


def _print(what: Any) -> None:
    console = Console(highlight=False, soft_wrap=isinstance(what, str))
    if not console.is_terminal:
        console.width = max(console.width, _FILE_WIDTH)
    console.print(what, markup=False) if isinstance(what, str) else console.print(what)


def _json(value: Any) -> None:
    sys.stdout.write(json.dumps(value, indent=1) + "\n")


__all__: Sequence[str] = ("explain_plan", "register")
