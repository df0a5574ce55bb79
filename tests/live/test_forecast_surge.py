"""A surge on a real guest: by the forecast its shadow serves before the primary saturates.

The same load is played twice, and the same rule decides: a shadow is made, given room and half of the traffic once
demand passes four fifths of what the primary may use. Only what it looks at differs: the upper forecast some ticks
ahead, or the demand now. The forecast learns from two earlier surges, which nobody answers.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest

from foreshade._core import ClusterState
from foreshade.adapters.libvirt_world.world import LibvirtWorld
from foreshade.envs.forecast.forecaster import LEVELS, EngineConfig
from foreshade.envs.forecast.observed import ObservedForecast
from foreshade.envs.model.action import Action, reshape, shadow, shift
from foreshade.envs.order import Order, Standing
from tests.live.testbed import Testbed, enter_fabric, get, settled, spawned

SIZE = (500.0, 160.0, 0.0, 0.0, 0.0)
TICK_S = 2.0
AHEAD = 8  # ticks
THRESHOLD = 0.8
QUIET_S, RAMP_S, HIGH_S = 14.0, 30.0, 12.0
CYCLE_S = QUIET_S + RAMP_S + HIGH_S
LOW, HIGH = 0.15, 1.3  # of what the primary may use


def wanted(second: float) -> float:
    """Demand of the application at a second of a cycle, in parts of the primary's allocation."""
    at = second % CYCLE_S
    if at < QUIET_S:
        return LOW
    return min(HIGH, LOW + (HIGH - LOW) * (at - QUIET_S) / RAMP_S)


#: Second of a cycle at which the primary alone is saturated.
SATURATED_S = QUIET_S + RAMP_S * (1.0 - LOW) / (HIGH - LOW)


@dataclass
class Surge:
    """The load: each guest burns its share of what is wanted, by its weight at the balancer."""

    world: LibvirtWorld
    begun: float
    over: threading.Event

    def run(self) -> None:
        enter_fabric()
        while not self.over.wait(1.5):
            servers = self.world._hands.traffic.servers("app")  # type: ignore[union-attr]
            total = sum(server.weight for server in servers.values()) or 1.0
            for server in servers.values():
                # Of one vCPU: what a guest is asked for is more than its quota lets it have.
                percent = (
                    100.0 * wanted(time.monotonic() - self.begun) * server.weight / total * SIZE[0] / 1000.0
                )
                try:
                    get(server.address, f"/cgi-bin/load?cpu+{round(percent)}", 3.0)
                except OSError:
                    continue


def seen(state: ClusterState, vm: int, *, ahead: bool) -> float:
    """Demand of the application in parts of the primary's allocation: expected at most, or now."""
    limit = SIZE[0]
    if not ahead:
        return float(state.vms.demand[state.vms.app >= 0, 0].sum()) / limit
    row = state.forecasts.series[vm]
    horizon = int(np.flatnonzero(state.forecasts.horizons == AHEAD)[0])
    return float(state.forecasts.quantiles[row, 0, horizon, list(LEVELS).index(0.9)]) / limit


def answered(testbed: Testbed, *, ahead: bool, learn: int) -> tuple[float, float]:
    """Seconds of the cycle at which the rule fired and at which the shadow served half."""
    testbed.sweep()
    world = testbed.world(tick_s=TICK_S)
    forecast = ObservedForecast(EngineConfig(horizons=(1, AHEAD)))
    made = spawned(world, 0, size=SIZE)
    over = threading.Event()
    surge = Surge(world, time.monotonic(), over)
    threading.Thread(target=surge.run, daemon=True).start()
    fired = -1.0
    try:
        while time.monotonic() - surge.begun < (learn + 1) * CYCLE_S:
            state = world.observe()
            forecast(state)
            since = time.monotonic() - surge.begun
            vm = world.inventory().vm_slot[made.vm]
            if since > learn * CYCLE_S + 4.0 and seen(state, vm, ahead=ahead) > THRESHOLD:
                fired = since - learn * CYCLE_S
                break
            world.advance()
        assert fired >= 0.0

        def do(action: Action) -> Order:
            order = world.order(action, f"surge-{ahead}-{time.time()}")
            assert settled(world, order).standing is Standing.DONE
            world.observe()
            return order

        clone = do(shadow(world.inventory().vm_slot[made.vm], 1, 0.1))
        do(reshape(world.inventory().vm_slot[clone.vm], SIZE))
        do(shift(world.inventory().vm_slot[clone.vm], 1.0))
        return fired, time.monotonic() - surge.begun - learn * CYCLE_S
    finally:
        over.set()
        world.close()


@pytest.mark.skipif(not os.environ.get("FORESHADE_LIVE_ALL"), reason="four minutes: FORESHADE_LIVE_ALL=1")
def test_shadow_serves_before_the_primary_saturates(
    clean: Testbed, measured: Callable[[str, object], None]
) -> None:
    early = answered(clean, ahead=True, learn=2)
    late = answered(clean, ahead=False, learn=0)
    measured("surge: saturated after, s", round(SATURATED_S, 1))
    measured("surge: by the forecast, fired and served after, s", tuple(round(x, 1) for x in early))
    measured("surge: by the newest sample, fired and served after, s", tuple(round(x, 1) for x in late))
    assert early[1] < SATURATED_S
    assert early[1] < late[1]
