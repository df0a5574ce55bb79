"""``foreshade recommend``: what each VM should be given and what that saves."""

from __future__ import annotations

import json
import math
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from foreshade.envs.errors import InputError
from foreshade.envs.right_sizing import Recommendation, RightSizing
from foreshade.envs.right_sizing import recommend as right_size

if TYPE_CHECKING:
    from foreshade.envs.scenarios.schema import Scenario
    from foreshade.envs.workloads.trace import Trace


def recommend(
    workload: Annotated[
        str | None, typer.Option(help="KIND:PATH?key=value; default: the scenario's own.")
    ] = None,
    scenario: Annotated[
        str | None, typer.Option(help="Whose prices count, and whose workload where none is given.")
    ] = None,
    min_history: Annotated[
        float, typer.Option(help="Days that must have been measured before anything is said of a VM.")
    ] = RightSizing().least_history_days,
    top: Annotated[int, typer.Option(min=1, help="Rows of the table, dearest first.")] = 20,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print JSON and nothing else on standard output.")
    ] = False,
) -> None:
    """Right sizes of VMs from what they used, and savings."""
    from foreshade.envs.scenarios.load import load_scenario  # noqa: PLC0415  keeps --help fast
    from foreshade.envs.scenarios.prices import Prices  # noqa: PLC0415

    if workload is None and scenario is None:
        raise InputError("recommend: expected --workload or --scenario, found neither")
    knobs = RightSizing(least_history_days=min_history)
    said = None if scenario is None else load_scenario(scenario)
    prices = Prices() if said is None else said.prices
    found = right_size(_history(workload, said), prices.capacity_usd_h, knobs)
    if as_json:
        rows = [{k: _plain(v) for k, v in asdict(r).items()} for r in found]
        document = {**_totals(found), "recommendations": rows}
        sys.stdout.write(json.dumps(document, indent=1) + "\n")
        return
    _print(found, top)


def _history(workload: str | None, scenario: Scenario | None) -> Trace:
    """What was measured, gaps and all; a generated load as if it had been."""
    from foreshade.envs.workloads.of_scenario import spec_of, workload_of  # noqa: PLC0415  keeps --help fast
    from foreshade.envs.workloads.spec import GENERATED, Spec, load_trace, load_workload  # noqa: PLC0415
    from foreshade.envs.workloads.to_trace import to_trace  # noqa: PLC0415
    from foreshade.envs.workloads.workload import Workload  # noqa: PLC0415

    spec = workload if scenario is None else spec_of(scenario, workload)
    if Spec.parse(str(spec)).kind != GENERATED:
        return load_trace(str(spec))
    if scenario is None:
        return to_trace(load_workload(str(spec)))
    played = workload_of(scenario, spec, scenario.seed).played
    if not isinstance(played, Workload):
        raise InputError(f"--scenario {scenario.name}: expected the engine foreshade, found cloudsim")
    return to_trace(played)


def _plain(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _totals(found: Sequence[Recommendation]) -> dict[str, Any]:
    counts = Counter(r.verdict for r in found)
    return {
        "vms": len(found),
        "verdicts": dict(sorted(counts.items())),
        "cpu_mhz_freed": sum(r.cpu_mhz - r.to_cpu_mhz for r in found if math.isfinite(r.cpu_mhz)),
        "memory_mib_freed": sum(r.memory_mib - r.to_memory_mib for r in found if math.isfinite(r.memory_mib)),
        "usd_month": sum(r.usd_month for r in found),
    }


def _print(found: Sequence[Recommendation], top: int) -> None:
    from foreshade.adapters.app.table import FILE_WIDTH  # noqa: PLC0415  keeps --help fast

    out = Console()
    if not out.is_terminal:
        out.width = max(out.width, FILE_WIDTH)
    changed = sorted((r for r in found if r.usd_month != 0.0), key=lambda r: (-abs(r.usd_month), r.vm))
    table = Table(box=None, pad_edge=False, header_style="")
    table.add_column("VM", overflow="ellipsis", no_wrap=True, max_width=40)
    table.add_column("verdict")
    for name in ("history d", "confidence", "MHz", "to", "MiB", "to", "USD/month"):
        table.add_column(name, justify="right", no_wrap=True)
    for r in changed[:top]:
        table.add_row(
            r.vm,
            r.verdict,
            f"{r.history_days:.1f}",
            f"{r.confidence:.2f}",
            *(
                f"{x:,.0f}" if math.isfinite(x) else "-"
                for x in (r.cpu_mhz, r.to_cpu_mhz, r.memory_mib, r.to_memory_mib)
            ),
            f"{r.usd_month:,.2f}",
        )
    if changed:
        out.print(table)
    said = _totals(found)
    verdicts = ", ".join(f"{name} {count}" for name, count in said["verdicts"].items())
    out.print(
        f"{len(found):,} VMs: {verdicts}; {said['cpu_mhz_freed'] / 1000:,.1f} GHz and "
        f"{said['memory_mib_freed'] / 1024:,.1f} GiB freed, worth {said['usd_month']:,.2f} USD a month",
        highlight=False,
        soft_wrap=True,
    )
