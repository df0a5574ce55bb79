"""An hour played forward from a snapshot, beside the hour that the simulated cluster then had.

python benchmarks/forward_play.py
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import cast

from foreshade.adapters.simulated_durable.world import DurableSimulatedWorld
from foreshade.envs.forward import Forward
from foreshade.envs.scenarios.load import load_scenario
from foreshade.envs.simulated import SimulatedWorld
from foreshade.envs.snapshot import Snapshot
from foreshade.envs.workloads.of_scenario import workload_of
from foreshade.envs.workloads.workload import Workload

TICKS = 12


def main() -> None:
    print("| seed | tick | energy kWh, played | was | USD, played | was |")
    print("|---|---|---|---|---|---|")
    scenario = load_scenario("enterprise")
    for seed in range(3):
        simulated = SimulatedWorld(
            scenario, cast(Workload, workload_of(scenario, None, seed).played), seed, forecast="online"
        )
        with tempfile.TemporaryDirectory() as folder:
            world = DurableSimulatedWorld(simulated, Path(folder) / "world.jsonl", seed)
            for start in (60, 150, 300):
                while world.tick < start:
                    world.advance()
                snapshot = Snapshot.of(world.observe(), world.inventory(), world.site(), world.clock.now_s())
                played = Forward(snapshot, TICKS).play(())
                before = simulated.metrics()
                cost = sum(sum(world.advance().values()) for _ in range(TICKS))
                after = simulated.metrics()
                energy = after.energy_kwh + after.rack_kwh - before.energy_kwh - before.rack_kwh
                print(
                    f"| {seed} | {start} | {played.energy_kwh:.3f} | {energy:.3f} | "
                    f"{sum(played.cost_usd.values()):.3f} | {cost:.3f} |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
