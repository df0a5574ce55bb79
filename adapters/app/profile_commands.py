"""``foreshade profile learn|show``: what hypervisors turn out to be like, by class of workload."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from foreshade.envs.errors import InputError
from foreshade.envs.knobs import MOST_SEED

if TYPE_CHECKING:
    from foreshade.envs.profiler import Profiler

profile_app = typer.Typer(help="Learn and show profiles of hypervisors.", no_args_is_help=True)
Json = Annotated[bool, typer.Option("--json", help="Print JSON and nothing else on standard output.")]


@profile_app.command("learn")
def profile_learn(
    scenario: Annotated[str, typer.Option(help="A shipped scenario's name, or a YAML file.")] = "enterprise",
    variant: Annotated[str, typer.Option(help="A variant of the scenario.")] = "",
    workload: Annotated[
        str | None, typer.Option(help="KIND:PATH?key=value; default: the scenario's own.")
    ] = None,
    agent: Annotated[str, typer.Option(help="Who acts meanwhile.")] = "rules",
    seed: Annotated[
        int | None, typer.Option(min=0, max=MOST_SEED, help="Default: the scenario's seed.")
    ] = None,
    journal: Annotated[
        Path | None,
        typer.Option(help="YAML of a controller: learn from what came of its orders instead of playing."),
    ] = None,
    out: Annotated[Path, typer.Option(help="YAML to write; evaluate --profiles reads it.")] = Path(
        "profiles.yaml"
    ),
    as_json: Json = False,
) -> None:
    """Learn from a scenario's telemetry, or a journal.

    The declared figures are what is believed before.
    """
    from foreshade.agents.baselines.registry import make_agent  # noqa: PLC0415  keeps --help fast
    from foreshade.envs import catalogue  # noqa: PLC0415
    from foreshade.envs.model.action import Plan  # noqa: PLC0415
    from foreshade.envs.profile_watch import ProfileWatch  # noqa: PLC0415
    from foreshade.envs.profiler import Profiler  # noqa: PLC0415
    from foreshade.envs.scenarios.profiles import profiles_text  # noqa: PLC0415
    from foreshade.envs.site import site_of  # noqa: PLC0415
    from foreshade.envs.stock_world import simulated_world  # noqa: PLC0415

    player = make_agent(agent) if journal is None else None
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.touch()
    except OSError as error:
        raise InputError(f"--out {out}: expected a file that can be written, {error.strerror}") from error
    if player is None:
        profiler, names = _of_journal(journal)
    else:
        world = simulated_world(scenario, variant, workload, seed)
        site = site_of(world, seed or 0)
        names = tuple(sorted(set(site.hypervisors)))
        profiler = Profiler({name: catalogue.hypervisor(name) for name in names})
        watch = ProfileWatch(profiler, site)
        player.reset(site)
        while not world.done:
            state = world.observe()
            watch.look(state)
            actions = player.act(state)
            outcomes = world.execute(Plan(state.tick, actions))
            watch.sent(state, [a for a, said in zip(actions, outcomes, strict=True) if said.accepted])
            world.advance()
    out.write_text(profiles_text(profiler, names), encoding="utf-8")
    rows = [
        {
            "hypervisor": h,
            "class": kind,
            "quantity": q,
            "value": e.value,
            "low": e.low,
            "high": e.high,
            "n": e.n,
        }
        for h, kind, q, e in profiler.fingerprints()
    ]
    if as_json:
        sys.stdout.write(json.dumps({"profiles": rows, "file": str(out)}, indent=1) + "\n")
        return
    table = Table(box=None, pad_edge=False, header_style="")
    for head in ("hypervisor", "class", "quantity"):
        table.add_column(head)
    for head in ("value", "95 % interval", "n"):
        table.add_column(head, justify="right")
    for row in rows:
        interval = f"{row['low']:.3g} to {row['high']:.3g}"
        table.add_row(
            str(row["hypervisor"]),
            str(row["class"]),
            str(row["quantity"]),
            f"{row['value']:.3g}",
            interval,
            f"{row['n']:,}",
        )
    Console(width=None if sys.stdout.isatty() else 110).print(table)
    print(f"profiles: {out}", file=sys.stderr)  # noqa: T201


def _of_journal(config: Path | None) -> tuple[Profiler, tuple[str, ...]]:
    """What a controller's journal says of its hypervisors, and which those are."""
    import time  # noqa: PLC0415

    from foreshade.adapters.app.control_config import load_config  # noqa: PLC0415
    from foreshade.adapters.store.journal import StoreJournal  # noqa: PLC0415
    from foreshade.adapters.store.store import Store  # noqa: PLC0415
    from foreshade.agents.outcome_profile import learn_outcomes  # noqa: PLC0415
    from foreshade.envs import catalogue  # noqa: PLC0415
    from foreshade.envs.profiler import Profiler  # noqa: PLC0415
    from foreshade.envs.scenarios.load import load_scenario  # noqa: PLC0415

    said = load_config(config)
    if said.libvirt is not None:
        of = {host.name: host.hypervisor for host in said.libvirt.hosts}
    elif said.simulated is not None:
        scenario = load_scenario(said.simulated.scenario, said.simulated.variant)
        own = [h for rack in scenario.fleet for _ in range(rack.racks) for h in rack.hosts]
        names = [h.hypervisor for h in (*own, *scenario.rented) for _ in range(h.count)]
        of = {f"host{number:04d}": name for number, name in enumerate(names)}
    else:
        raise InputError("--journal: expected a section simulated or libvirt, found neither")
    store = Store(said.store_url, create=False)
    try:
        actions = StoreJournal(store, wall_s=time.time).recent(0.0)
    finally:
        store.close()
    profiler = Profiler({name: catalogue.hypervisor(name) for name in sorted(set(of.values()))})
    limit = said.executor.call_timeout_s
    if not learn_outcomes(profiler, actions, lambda host: of.get(host, ""), call_timeout_s=limit):
        raise InputError(f"--journal {config}: expected orders that have ended, found none to learn from")
    return profiler, tuple(sorted(set(of.values())))


@profile_app.command("show")
def profile_show(
    file: Annotated[Path | None, typer.Argument(help="YAML; default: the catalogue that ships.")] = None,
) -> None:
    """Profiles as they are simulated, with the source of every figure."""
    import yaml  # noqa: PLC0415

    from foreshade.envs import catalogue  # noqa: PLC0415
    from foreshade.envs.scenarios.profiles import read_profiles  # noqa: PLC0415

    known = catalogue.hypervisors() if file is None else read_profiles(file)
    said = {"hypervisors": {name: entry.model_dump(mode="json") for name, entry in known.items()}}
    sys.stdout.write(
        yaml.safe_dump(said, sort_keys=False, width=110, default_flow_style=None, allow_unicode=True)
    )
