"""Which knobs of the rules matter where habits are learned, with the components that are on: a random factorial.

    FORESHADE_DATA=... python benchmarks/tune_options.py --scenario bitbrains [--workloads 36] [--runs 5]

Each run of a `habits` workload (training/cases.py) draws every knob's value at random and is paired with the rules on
the same workload, so all runs tell of every knob: far fewer than one value after the other would need. What a value
does to the cost beside another is read by least squares over all of them, on the logarithm's scale, the outermost
twentieth of runs drawn in. Every run is as `foreshade evaluate` plays it. What is found is worth a run of its own.
"""

from __future__ import annotations

import argparse
from random import Random
from typing import Any

import numpy as np

from foreshade.agents.episode import play
from foreshade.agents.managers.rack_power import RackPower
from foreshade.agents.managers.registry import load_components
from foreshade.agents.rules.rules import Rules
from foreshade.envs.candidates import RULES
from foreshade.envs.student import t_quantile
from foreshade.training.cases import HAM_CASES, world_of
from foreshade.training.side_by_side import side_by_side

#: By knob the value that others are held against, and those; `plan.` of the plan's packer, `rack.` of rack_power.
LEVELS: dict[str, tuple[Any, ...]] = {
    "slack": (3.0, 0.0, 2.0),  # 0 = what was never used is not taken back
    "slack_floor": (0.5, 0.25, 0.8),
    "headroom": (1.4, 1.15, 2.0),
    "unseen": (0.2, 0.05, 0.6),
    "settle_ticks": (12, 1),
    "growth": (1.5, 2.0),
    "peak_ticks": (1000, 300),
    "least_change": (0.1, 0.05, 0.2),
    "horizon_ticks": (24, 12, 48),
    "sigma_scale": (1.0, 2.0),
    "plan.horizon_ticks": (24, 12, 48),
    "plan.drain_ticks": (288, 144, 576),
    "plan.move_weight": (1.0, 2.5, 4.0),
    "plan.boot_weight": (1.0, 0.5),
    "plan.near": (8, 0, 16),
    "plan.reserve": (1.0, 0.5, 2.0),
    "plan.failover": (1.0, 12.0),
    "plan.rack_credit": (0.5, 0.0, 1.0),
    "plan.wake_trials": (2, 1, 4),
    "plan.acute_weight": (0.0, 1.0),
    "plan.whole_racks": (False, True),
    "plan.urgent": (False, True),
    "plan.kin": (0.0, 1.0),
    "plan.sigma_scale": (2.0, 1.5, 3.0),
    "rack.target": (0.6, 0.5, 0.75),
    "rack.promised": (1.15, 1.0, 1.3),
    "rack.spare_hosts": (0.5, 0.0, 1.0),
    "rack.stays_ticks": (144, 72, 288),
    "rack.sustain_ticks": (3, 1, 6),
    "rack.foresee": (True, False),
}

Setting = dict[str, Any]
RACK = "rack."


def rules_with(setting: Setting) -> Rules:
    """The rules, and the components that are on, with other values."""
    racks = {knob.removeprefix(RACK): value for knob, value in setting.items() if knob.startswith(RACK)}
    rules = RULES.changed({knob: value for knob, value in setting.items() if not knob.startswith(RACK)})
    managers = [
        RackPower(one.knobs.model_copy(update=racks)) if isinstance(one, RackPower) else one
        for one in load_components()
    ]
    return Rules(rules, managers)


def usd_of(run: tuple[str, Setting]) -> float:
    """One run."""
    case, setting = run
    return play(world_of(case, forecast="table")(), rules_with(setting)).cost_usd


def main() -> None:
    """Command line."""
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    parser.add_argument("--scenario", default="enterprise", choices=tuple(HAM_CASES))
    parser.add_argument("--workloads", type=int, default=60)
    parser.add_argument("--runs", type=int, default=5, help="of a workload, beside that of the rules")
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--seed", type=int, default=1)
    said = parser.parse_args()
    random = Random(said.seed)
    runs = [
        (case, {} if number == 0 else {knob: random.choice(values) for knob, values in LEVELS.items()})
        for case in HAM_CASES[said.scenario]["habits"][: said.workloads]
        for number in range(1 + said.runs)
    ]
    drawn = [setting for _, setting in runs if setting]
    beside = [(knob, value) for knob, values in LEVELS.items() for value in values[1:]]
    if len(drawn) <= len(beside) + 1:
        parser.error(f"--workloads, --runs: expected more than {len(beside) + 1} runs, got {len(drawn)}")
    usd = np.array(list(side_by_side(usd_of, runs, said.processes, 1 + said.runs))).reshape(-1, 1 + said.runs)
    change = 100.0 * np.log(usd[:, 1:] / usd[:, :1]).ravel()
    x = np.ones((len(drawn), 1 + len(beside)))
    x[:, 1:] = [[setting[knob] == value for knob, value in beside] for setting in drawn]
    y = np.clip(change, *np.percentile(change, (2.5, 97.5)))
    effect, *_ = np.linalg.lstsq(x, y, rcond=None)
    freedom = len(y) - x.shape[1]
    rest = y - x @ effect
    half = t_quantile(0.975, freedom) * np.sqrt(rest @ rest / freedom * np.diag(np.linalg.inv(x.T @ x)))
    print(f"{said.scenario}: {len(drawn)} runs, {y.mean():+.1f} % beside the rules in the mean")
    for k in sorted(range(1, len(effect)), key=lambda k: -abs(effect[k] / half[k])):
        knob, value = beside[k - 1]
        print(f"{effect[k]:+6.1f} ± {half[k]:.1f} %  {knob} {value} instead of {LEVELS[knob][0]}")


if __name__ == "__main__":
    main()
