"""HAM beside baselines on days and VMs that nothing was chosen on; in pairs.

    FORESHADE_DATA=... python benchmarks/held_out.py [--scenario planetlab bitbrains] [--agent ham] [--baselines …]
        [--actions placement --components none]

As `foreshade evaluate` plays: the components that are on, forecasts in the state and all actions of the scenario,
unless told otherwise. Cases as in
training/cases.py; `+spread`: the world's own scheduler has placed the VMs before.
"""

from __future__ import annotations

import argparse

import numpy as np

from foreshade.agents import episode
from foreshade.agents.baselines.registry import AgentFiles, make_agent
from foreshade.envs.forecast.table import FORECASTS, Forecast
from foreshade.envs.run_metrics import RunMetrics
from foreshade.training.cases import world_of
from foreshade.training.estimate import Estimate

CASES = {
    "planetlab": tuple(
        f"planetlab:{day}{how}" for day in ("20110303", "20110325") for how in ("", "+spread")
    ),
    "bitbrains": tuple(f"bitbrains:other:{day}" for day in range(0, 25, 4)),
    "enterprise": tuple(f"enterprise:{seed}" for seed in range(600, 620)),
}


def play(
    case: str,
    label: str,
    actions: str | None,
    files: AgentFiles | None = None,
    forecast: Forecast = "table",
) -> RunMetrics:
    """One agent's run."""
    name, _, spread = case.partition("+")
    world = world_of(name, actions, forecast)()
    if spread:
        world.observe()
        world.advance()
    return episode.play(world, make_agent(label, files))


def main() -> None:
    """Command line."""
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    parser.add_argument("--scenario", nargs="+", default=["planetlab", "bitbrains"], choices=tuple(CASES))
    parser.add_argument("--agent", default="ham")
    parser.add_argument("--baselines", nargs="+", default=["expected-cost", "n-sigma-2.5", "ilp"])
    parser.add_argument(
        "--actions", default=None, help="that every agent is held to, as of `foreshade evaluate`"
    )
    parser.add_argument("--components", default=None, help="of HAM and the rules, likewise")
    parser.add_argument("--forecast", default="table", choices=FORECASTS, help="in the state, likewise")
    said = parser.parse_args()
    print("| scenario | cases | baseline | USD of both | saved | unmet, points | worst VM, points |")
    print("|---|---|---|---|---|---|---|")
    files = AgentFiles(components=said.components)
    for scenario in said.scenario:
        cases = CASES[scenario]
        ours = [play(case, said.agent, said.actions, files, said.forecast) for case in cases]
        for label in said.baselines:
            theirs = [play(case, label, said.actions, files, said.forecast) for case in cases]
            pairs = list(zip(ours, theirs, strict=True))
            saved = Estimate.of([100.0 * (1.0 - run.cost_usd / other.cost_usd) for run, other in pairs])
            unmet = Estimate.of([100.0 * (run.unmet_demand - other.unmet_demand) for run, other in pairs])
            worst = Estimate.of(
                [100.0 * (run.unmet_demand_worst_vm - other.unmet_demand_worst_vm) for run, other in pairs]
            )
            usd = [np.mean([run.cost_usd for run in runs]) for runs in (ours, theirs)]
            print(
                f"| {scenario} | {len(cases)} | {label} | {usd[0]:.2f}, {usd[1]:.2f} "
                f"| {saved.mean:.2f} ± {saved.half_width:.2f} % | {unmet.mean:+.3f} ± {unmet.half_width:.3f} "
                f"| {worst.mean:+.2f} ± {worst.half_width:.2f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
