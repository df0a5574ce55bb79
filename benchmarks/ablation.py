"""What each component is worth: with it minus without it, in pairs, on `enterprise` and on `bitbrains`.

    FORESHADE_DATA=... python benchmarks/ablation.py [--scenario enterprise] [--seeds 20] [--out FILE.json]
    FORESHADE_DATA=... python benchmarks/ablation.py --beside enabled --only spawning shadows

Replicates of `enterprise` are seeds of its generator; of `bitbrains` windows of four days of the first 125 VMs and
of the others, which share neither VMs nor time with each other. `--first` names the first seed: knobs are to be
chosen on seeds that are not reported.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from foreshade.adapters.app.ablation import ENABLED, NOTHING, OTHERS, ablate, markdown
from foreshade.adapters.app.evaluate import workloads_of
from foreshade.agents.baselines.registry import AgentFiles
from foreshade.agents.managers.registry import COMPONENTS
from foreshade.envs.scenarios.load import load_scenario
from foreshade.envs.scenarios.schema import Scenario
from foreshade.envs.workloads.of_scenario import Loaded
from foreshade.training.cases import BITBRAINS_DAYS, bitbrains

COMPANIES = {"enabled": ENABLED, "nothing": NOTHING, "others": OTHERS}
WINDOWS = tuple((part, day) for day in range(0, 28, int(BITBRAINS_DAYS)) for part in ("first", "other"))


def replicates(name: str, n: int, first: int) -> tuple[Scenario, dict[int, Loaded]]:
    """The scenario, and its workload of each seed."""
    scenario = load_scenario(name)
    if name != "bitbrains":
        return scenario, workloads_of(scenario, None, range(first, first + n))
    scenario = scenario.model_copy(update={"days": BITBRAINS_DAYS})
    said = f"bitbrains, windows of {BITBRAINS_DAYS:g} days"
    return scenario, {
        number: Loaded(bitbrains(part, day), said, seeded=True)
        for number, (part, day) in enumerate(WINDOWS[:n])
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--scenario", nargs="+", default=["enterprise", "bitbrains"])
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--agent", default="rules")
    parser.add_argument("--components", help="what is enabled, as for evaluate")
    parser.add_argument("--only", nargs="+", default=list(COMPONENTS), help="components to try")
    parser.add_argument("--beside", nargs="+", choices=COMPANIES, default=list(COMPANIES))
    parser.add_argument("--forecast", choices=("none", "table", "online"), default="table")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--out", type=Path, help="JSON")
    said = parser.parse_args()
    found = []
    for name in said.scenario:
        scenario, workloads = replicates(name, said.seeds, said.first)
        ablation = ablate(
            scenario,
            workloads,
            said.agent,
            said.forecast,
            said.jobs,
            lambda _done, _total: None,
            files=AgentFiles(components=said.components),
            say=lambda line: print(line, file=sys.stderr),
            known=said.only,
            companies=[COMPANIES[name] for name in said.beside],
        )
        found.append(ablation)
        print(f"\n{name}, n = {len(ablation.seeds)}; bold: enabled\n\n{markdown(ablation)}", flush=True)
    if said.out is not None:
        said.out.write_text(json.dumps([one.to_dict() for one in found], indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
