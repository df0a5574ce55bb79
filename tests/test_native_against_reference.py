"""The native simulator beside the plain-Python reading of docs/physics.md: every tick, every number."""

from __future__ import annotations

import math
import random
from collections import Counter
from typing import Any

import numpy as np
import pytest

from tests.reference.actions import REASONS
from tests.reference.simulator import ReferenceSimulator
from tests.reference.state import PAUSED
from tests.worlds import MIGRATE, POWER, SPAWN, Native, random_action, random_scenario

TOLERANCE = 1e-4  # single against double precision
SEEDS = range(12)
HAPPENINGS = """
    migrations migrations_failed migration_downtime_s migration_unmet_mhz_s host_shutdowns host_boots
    host_failures hosts_reclaimed crashed_s oom_kills sla_violations spawned scheduled dark_s overloaded_s
    energy carbon rent late downtime boot
"""


def assert_close(name: str, native: Any, reference: Any, scale: float = 1.0) -> None:
    """Within the tolerance of the larger, or of ``scale`` near 0; equal infinities."""
    a, b = np.asarray(native, float), np.asarray(reference, float)
    assert a.shape == b.shape, name
    np.testing.assert_allclose(a, b, rtol=TOLERANCE, atol=TOLERANCE * scale, err_msg=name)


def assert_same_accounts(where: str, native: dict[str, Any], reference: dict[str, Any]) -> None:
    assert native.keys() == reference.keys()
    for name, value in native.items():
        if name == "cost":
            for term, usd in value.items():
                assert_close(f"{where} cost {term}", usd, reference["cost"][term], scale=1e-2)
        elif isinstance(value, int):
            assert value == reference[name], f"{where} {name}"
        else:
            # differences of nearly equal rates keep the error of the rates: 1 MHz × 300 s
            scale = 1e-2 if name.endswith("kwh") else 1e3
            assert_close(f"{where} {name}", value, reference[name], scale)


def idle_hosts(world: ReferenceSimulator) -> list[int]:
    """Hosts that could change their power state, or all."""
    hosts = range(len(world.hosts))
    return [h for h in hosts if not world.hosts[h].vms and not world.spec(h).rented] or list(hosts)


def resumption(world: ReferenceSimulator, dice: random.Random) -> dict[str, Any] | None:
    """An action that resumes one of the spares that stand paused, where there is one."""
    spares = [vm for vm in world.vms if vm.state == PAUSED]
    if not spares:
        return None
    vm = dice.choice(spares)
    return {"kind": SPAWN, "app": vm.app, "host": vm.host, "allocation": vm.allocation, "value": 2.0}


def roll(seed: int, counts: Counter[str], slow_mbit_s: float = 0.0) -> None:
    """Play a scenario in both; with ``slow_mbit_s`` migrations take ticks, and many more are asked for."""
    dc, work = random_scenario(seed, failures=seed % 3 != 0)
    if slow_mbit_s:
        slow = [*dc.profiles]
        for profile in slow:
            profile.migration_mbit_s = slow_mbit_s
        dc.profiles = slow
    start = 3 if seed % 4 == 3 else 0
    native, reference = Native(dc, work, seed), ReferenceSimulator(dc, work, seed, start)
    native.sim.reset(seed, start)
    dice = random.Random(1_000 + seed)
    columns: dict[str, float] = {"usage": 10.0, "demand": 10.0, "power_w": 1.0}
    for k in range(start, len(work["demand"])):
        for _ in range(dice.randrange(14) if k > start else 8):
            action = random_action(dice)
            if slow_mbit_s and dice.random() < 0.7:
                action = {"kind": MIGRATE, "vm": dice.randrange(13), "host": dice.randrange(8)}
            if action["kind"] == POWER and "host" in action and dice.random() < 0.7:
                action["host"] = dice.choice(idle_hosts(reference))
            resumed = resumption(reference, dice) if dice.random() < 0.15 else None
            action = resumed or action
            refusal, vm = native.do(**action)
            reason, expected = reference.execute(action)
            where = f"seed {seed} tick {k} {action}"
            assert (refusal == "") == (reason == ""), f"{where}: {refusal!r} or {reason!r}"
            assert REASONS[reason] in refusal, where
            if reason == "" and vm >= 0 and expected >= 0:
                assert vm == expected, where
            counts["resumed"] += resumed is not None and reason == ""
            counts[f"{action['kind']} {'refused' if reason else 'begun'}"] += 1
        native.tick()
        reference.advance()
        where = f"seed {seed} tick {k}"
        hosts, vms = reference.observe()
        state = native.look()
        for table, shown in ((hosts, state.hosts), (vms, state.vms)):
            for name, column in table.items():
                assert_close(f"{where} {name}", getattr(shown, name), column, columns.get(name, 1.0))
        assert_same_accounts(where, native.sim.last_tick(), reference.last_accounts.as_native())
        assert math.isclose(
            native.sim.worst_vm_unmet, reference.worst_vm_unmet(), rel_tol=1e-3, abs_tol=1e-5
        ), where
    assert_same_accounts(f"seed {seed} totals", native.sim.totals(), reference.totals.as_native())
    for name, value in native.sim.totals().items():
        for key, number in value.items() if name == "cost" else ((name, value),):
            counts[key] += int(np.sum(number) > 0)


@pytest.mark.parametrize("seed", range(4))
def test_migrations_that_take_ticks_keep_their_place_in_the_queue(seed: int) -> None:
    roll(seed, Counter(), slow_mbit_s=40.0)


@pytest.mark.parametrize(("seed", "mbit_s"), [(37, 250.0), (74, 400.0)])
def test_a_migration_begins_with_what_its_vm_gets_beside_one_that_has_just_come(
    seed: int, mbit_s: float
) -> None:
    roll(seed, Counter(), slow_mbit_s=mbit_s)


@pytest.mark.parametrize("seed", SEEDS)
def test_native_simulator_agrees_with_the_reference_in_a_random_scenario(seed: int) -> None:
    roll(seed, Counter())


def test_random_scenarios_reach_every_kind_of_action_and_event() -> None:
    counts: Counter[str] = Counter()
    for seed in range(100, 106):
        roll(seed, counts)
    for kind in range(1, 10):
        assert counts[f"{kind} begun"] > 0, kind
        assert counts[f"{kind} refused"] > 0, kind
    assert counts["resumed"] > 0
    for name in HAPPENINGS.split():
        assert counts[name] > 0, name
