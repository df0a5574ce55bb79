"""What a tick costs beside the hypervisors' own work, on three hosts with guests."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from foreshade.adapters.app.control_config import AgentSection, ControlConfig
from foreshade.adapters.executor import ExecutorKnobs, PlanExecutor
from foreshade.agents.controller import Controller, Minds
from foreshade.agents.guard import Guard, GuardKnobs
from foreshade.agents.ham.agent import Ham
from foreshade.agents.rules.rules import Rules
from foreshade.envs.forecast.forecaster import EngineConfig
from foreshade.envs.forecast.observed import ObservedForecast
from tests.live.crash_child import journal
from tests.live.testbed import Testbed, spawned

SIZE = (500.0, 160.0, 0.0, 0.0, 0.0)
TICKS = 8


def test_tick_costs_less_than_a_second_of_cpu(
    clean: Testbed, tmp_path: Path, measured: Callable[[str, object], None]
) -> None:
    world = clean.world(tick_s=2.0)
    for number in range(3):
        spawned(world, number, size=SIZE)
    kept = journal(tmp_path)
    executor = PlanExecutor(world, kept, ExecutorKnobs(), sleep=time.sleep)
    minds = Minds(Rules(), Ham(None, fallback=True), (ObservedForecast(EngineConfig.of_tick(300.0)),))
    one = Controller(
        world, kept, executor, minds, Guard(GuardKnobs()), stopwatch=time.perf_counter
    )  # mode observe: what it decides is written down, and nothing is carried out
    wall, cpu, stages = [], [], []
    for _ in range(TICKS):
        begun, used = time.perf_counter(), time.process_time()
        record = one.tick()
        wall.append(time.perf_counter() - begun)
        cpu.append(time.process_time() - used)
        stages.append(record.seconds)
        assert not record.idle
        world.advance()
    measured(
        "tick: wall, median and worst, s", (round(float(np.median(wall[1:])), 3), round(max(wall[1:]), 3))
    )
    measured(
        "tick: CPU of ours, median and worst, s",
        (round(float(np.median(cpu[1:])), 3), round(max(cpu[1:]), 3)),
    )
    measured("tick: stages of the last, ms", {k: round(v * 1000, 1) for k, v in stages[-1].items()})
    world.close()
    kept._store.close()
    assert np.median(cpu[1:]) < 1.0  # the wall clock is told above, and is the machine's as much as ours
    assert AgentSection().name == "ham"
    assert ControlConfig().mode == "observe"
