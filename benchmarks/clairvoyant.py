"""How far the rules are from what could be done with the future known, between two bounds.

    FORESHADE_DATA=... python benchmarks/clairvoyant.py [--cases CASE …] [--candidates 6] [--horizon 36] [--least 0.5]

Achievable: at every decision the candidates are played out in the true future (`training/rollouts.py`), and the
one that saves more than `--least` idle ticks against the rules' choice is taken. Lower bound: the true CPU demand
of every tick at the fewest watts per MHz that any host reaches at any load, hosts divisible, and one rack, at the
tick's price; nothing unmet, late, moved or booted. No run can cost less; none can reach it.
"""

from __future__ import annotations

import argparse
from dataclasses import replace

import numpy as np

from foreshade.agents.rules.rules import Rules
from foreshade.envs.batch import Batch
from foreshade.envs.model.action import Plan
from foreshade.envs.simulated import SimulatedWorld
from foreshade.envs.site import site_of
from foreshade.training.cases import HELD_OUT, world_of
from foreshade.training.config import RolloutConfig
from foreshade.training.environments import JUDGING
from foreshade.training.rollouts import RolloutExpert


def clairvoyant(case: str, config: RolloutConfig, least: float) -> tuple[float, float]:
    """USD of the case with the future known, and the share of the decisions that are not the rules'."""
    name, _, spread = case.partition("+")
    batch = Batch([world_of(name)()], 1, replace(JUDGING, placed=bool(spread)))
    expert = RolloutExpert(batch.schema, config)
    rng = np.random.default_rng(0)
    shown = batch.reset(0)
    others = decisions = 0
    while not batch.dones[0]:
        rules = int(batch.preferred()[0])
        rows = expert.worth_playing(np.asarray(shown[0], np.float32), rules, rng)
        chosen = rules
        if len(rows) > 1:
            paid, ahead = batch.roll_out(0, rows, (config.horizon_ticks,), (1.0,), config.discount)
            costs = paid[:, 0, 0] + config.tail_h * ahead[:, 0, 0]
            best = int(costs.argmin())
            if costs[0] - costs[best] > least:
                chosen = int(rows[best])
        others += int(chosen != rules)
        decisions += 1
        shown = batch.step(np.array([chosen]))
    return sum(batch.finished(0)["terms"].values()), others / decisions


def rules_usd(case: str) -> float:
    """USD of the case under the rules."""
    name, _, spread = case.partition("+")
    batch = Batch([world_of(name)()], 1, replace(JUDGING, placed=bool(spread)))
    batch.reset(0)
    while not batch.dones[0]:
        batch.step(batch.preferred())
    return sum(batch.finished(0)["terms"].values())


def fluid_usd(world: SimulatedWorld) -> float:
    """USD of the true demand on divisible hosts at their best load, and of one rack."""
    world.reset(0)
    site = site_of(world, 0)
    rules = Rules()
    rules.reset(site)
    for _ in range(world.n_ticks):
        state = world.observe()
        world.execute(Plan(state.tick, tuple(rules.act(state))))
        world.advance()
    demand = np.asarray(world.metrics().history["demand_cpu_mhz"], float)
    capacity = np.asarray(state.hosts.capacity).reshape(len(site.cores), -1)[:, 0]
    watts = np.asarray(site.power_w, float).reshape(len(site.cores), 11)[:, 1:]
    ours = np.asarray(site.rented) == 0
    least = (watts[ours] / (capacity[ours, None] * np.arange(1, 11) / 10)).min()
    racks = min((float(w) for w in site.rack_w if w > 0), default=0.0) if site.rack_w is not None else 0.0
    economy = site.economy
    prices = (economy.electricity_usd_kwh + economy.carbon_usd_kwh).astype(float) * economy.pue
    return float(((demand * least + racks) * 1e-3 * prices[: len(demand)]).sum() * world.tick_s / 3600.0)


def main() -> None:
    """Command line."""
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    parser.add_argument("--cases", nargs="+", default=list(HELD_OUT))
    parser.add_argument("--candidates", type=int, default=6)
    parser.add_argument("--horizon", type=int, default=36)
    parser.add_argument("--least", type=float, default=0.5)
    said = parser.parse_args()
    config = RolloutConfig(candidates=said.candidates, horizon_ticks=said.horizon, futures=(1.0,))
    print("| case | rules USD | clairvoyant USD | saved | other decisions | fluid bound USD |")
    print("| --- | ---: | ---: | ---: | ---: | ---: |")
    for case in said.cases:
        rules = rules_usd(case)
        known, share = clairvoyant(case, config, said.least)
        bound = fluid_usd(world_of(case.partition("+")[0])())
        print(
            f"| {case} | {rules:.2f} | {known:.2f} | {1 - known / rules:.1%} | {share:.1%} | {bound:.2f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
