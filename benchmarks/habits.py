"""What a habit costs: preferences of the rules changed by kind, judged by whole episodes on the same workloads.

    python benchmarks/habits.py [--workloads 12] [--first 1000]

Generated `enterprise` workloads of two days in the native batch, cost against the rules' with the same failures. A
play-out (`training/rollouts.py`) values one choice after which the rules go on; this values choosing so ever after.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from foreshade.envs.candidates import Sizing
from foreshade.envs.vector import DataCenterVecEnv
from foreshade.training.cases import world_of
from foreshade.training.environments import JUDGING
from foreshade.training.estimate import Estimate

F32 = npt.NDArray[np.float32]
Habit = Callable[
    [F32, F32, F32], F32
]  # context (n, G), candidates (n, K, F), mask (n, K) to preferences (n, K)
RULES_HEADROOM = 1.4


def play(env: DataCenterVecEnv, habit: Habit) -> tuple[npt.NDArray[np.float64], float]:
    """USD of each workload's first episode, and the share of decisions that are not the rules'."""
    env.seed(7)
    shown = env.reset()
    cost = np.full(env.num_envs, np.nan)
    others = decisions = 0
    while np.isnan(cost).any():
        context, candidates, mask = env.schema.split(np.asarray(shown))
        rules = np.where(mask > 0, candidates[:, :, 0], -np.inf).argmax(axis=1)
        chosen = np.where(mask > 0, habit(context, candidates, mask), -np.inf).argmax(axis=1)
        others += int((chosen != rules).sum())
        decisions += len(chosen)
        shown, _, dones, infos = env.step(chosen)
        for i in np.flatnonzero(dones):
            if np.isnan(cost[i]):
                cost[i] = sum(infos[i]["terms"].values())
    return cost, others / decisions


def habits(env: DataCenterVecEnv) -> Iterator[tuple[str, Habit]]:
    """Those of docs/ham.md."""
    column = {c.name: k for k, c in enumerate(env.schema.candidate)}
    reserved = [c.name for c in env.schema.context].index("memory_reserved")

    def of_headroom(x: F32, headroom: float) -> npt.NDArray[np.bool_]:
        same: npt.NDArray[np.bool_] = np.abs(x[:, :, column["z"]] - headroom) < 1e-3
        return (x[:, :, column["right_size"]] > 0) & same

    def resized(headroom: float, least_reserved: float) -> Habit:
        def habit(c: F32, x: F32, m: F32) -> F32:
            theirs = np.where(of_headroom(x, RULES_HEADROOM) & (m > 0), x[:, :, 0], -np.inf)
            mine = of_headroom(x, headroom) & (c[:, reserved] > least_reserved)[:, None]
            return np.where(mine, theirs.max(axis=1, keepdims=True) + 1e-3, x[:, :, 0])

        return habit

    def dearer(kind: str, least: float) -> Habit:
        return lambda _c, x, _m: x[:, :, 0] - least * x[:, :, column[kind]]

    def taken(kind: str) -> Habit:
        return lambda _c, x, _m: np.where(
            x[:, :, column[kind]] > 0, np.maximum(x[:, :, 0], x[:, :, column["score"]] - 1.0), x[:, :, 0]
        )

    yield "right_size to 1.15", resized(1.15, -np.inf)
    yield "right_size to 1.15 where over 60 % of the memory is reserved", resized(1.15, 0.6)
    yield "right_size to 2.0", resized(2.0, -np.inf)
    for kind in ("plan", "migrate", "grow", "right_size", "microvm"):
        for least in (0.3, 2.0):
            yield f"{kind} above {least:g}", dearer(kind, least)
    for kind in ("power_off", "sleep", "drain"):
        yield f"{kind} above 1, too", taken(kind)


def main() -> None:
    """Command line."""
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    parser.add_argument("--workloads", type=int, default=12)
    parser.add_argument("--first", type=int, default=1000)
    said = parser.parse_args()
    seeds = range(said.first, said.first + said.workloads)
    worlds = [world_of(f"enterprise:{seed}")() for seed in seeds]
    sizings = (Sizing(headroom=1.15), Sizing(headroom=2.0))
    offered = JUDGING.candidates.model_copy(update={"sizings": sizings})
    env = DataCenterVecEnv(worlds, len(worlds), decision=replace(JUDGING, candidates=offered))
    rules, _ = play(env, lambda _c, x, _m: x[:, :, 0])
    print("| habit | cost, % | decisions changed |\n|---|---|---|")
    for name, habit in habits(env):
        cost, others = play(env, habit)
        more = Estimate.of(list(100.0 * np.log(cost / rules)))
        print(f"| {name} | {more.mean:+.2f} ± {more.half_width:.2f} | {others:.1%} |", flush=True)


if __name__ == "__main__":
    main()
