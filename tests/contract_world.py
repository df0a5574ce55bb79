"""The contract of a world that a controller can drive, for every implementation of it.

A test module makes a subclass with a fixture ``stage``; what a world does not declare among its capabilities is
skipped there. A stage has at least two hosts that are on and two running VMs with room to move, and nothing else at
work on it.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest

from foreshade.adapters.store.journal import order_from_json, order_to_json
from foreshade.envs.errors import ActionError
from foreshade.envs.inventory import ControlledWorld
from foreshade.envs.model.action import (
    Action,
    ActionKind,
    Allocation,
    PowerTarget,
    despawn,
    five,
    microvm,
    migrate,
    power,
    rent,
    reshape,
    shadow,
    shift,
    spawn,
)
from foreshade.envs.model.state import HostState, VmKind, VmState
from foreshade.envs.order import Order, Standing


@dataclass
class Stage:
    """A world, and how its time passes."""

    world: ControlledWorld
    wait: Callable[[], None]  # lets some of the world's time pass
    patience: int = 60  # times that ``wait`` is called before an order must have ended
    timeout_s: float = 60.0  # of one call
    #: Allocation of a guest that is made, beside an application's first VM's own.
    size: Allocation | None = None
    #: What a running VM is reshaped to; None = three quarters of its CPU.
    reshaped: Callable[[Allocation], Allocation] = lambda now: five([now[0] * 0.75, *now[1:]])

    def see_through(self, order: Order) -> Standing:
        """Carry an order out and wait until it has ended."""
        result = self.world.carry_out(order, self.timeout_s)
        assert not result.error, result.error
        return self.await_end(order)

    def await_end(self, order: Order) -> Standing:
        for _ in range(self.patience):
            self.world.observe()
            standing = self.world.standing(order)
            if standing is not Standing.UNDER_WAY:
                return standing
            self.wait()
        raise AssertionError(f"{order.key} is under way after {self.patience} waits")

    def running(self) -> int:
        """Slot of a running production VM of ours."""
        vms, facts = self.world.observe().vms, self.world.inventory().vms
        for slot, state in enumerate(vms.state.tolist()):
            if state == VmState.RUNNING and vms.kind[slot] == VmKind.PRODUCTION and facts[slot].managed:
                return slot
        raise AssertionError("expected a running VM, found none")

    def elsewhere(self, vm: int) -> int:
        """Slot of a host that is on and on which the VM does not stand: the emptiest."""
        state = self.world.observe()
        here = int(state.vms.host[vm])
        free = state.hosts.capacity[:, 1] - state.hosts.allocated[:, 1]
        on = (state.hosts.state == HostState.ON) & (np.arange(len(free)) != here)
        return int(np.where(on, free, -np.inf).argmax())

    def allocation(self, vm: int) -> Allocation:
        return five(self.world.observe().vms.allocation[vm].tolist())


class WorldContract:
    """Tests; the fixture ``stage`` is the subclass's."""

    @pytest.fixture
    def stage(self) -> Stage:
        raise NotImplementedError

    def able(self, stage: Stage, kind: ActionKind) -> None:
        stage.world.observe()
        if kind not in stage.world.capabilities:
            pytest.skip(f"does not declare {kind.name.lower()}")

    def test_observing_shows_one_row_for_each_fact(self, stage: Stage) -> None:
        state, inventory = stage.world.observe(), stage.world.inventory()
        assert stage.world.synced
        assert len(inventory.hosts) == len(state.hosts.state)
        assert len(inventory.vms) == len(state.vms.state)
        assert state is stage.world.observe()
        there = state.vms.state != VmState.ABSENT
        names = [
            facts.name for facts, is_there in zip(inventory.vms, there.tolist(), strict=True) if is_there
        ]
        assert all(names)
        assert len(set(names)) == len(names)
        on = state.hosts.state == HostState.ON
        assert (state.hosts.capacity[on][:, :2] > 0).all()
        placed = there & (state.vms.host >= 0)
        assert (state.vms.allocation[placed][:, :2] > 0).all()
        apps = state.vms.app[placed]
        assert all(inventory.apps[app] for app in apps[apps >= 0].tolist())

    def test_what_is_allocated_is_the_sum_of_the_vms_or_more(self, stage: Stage) -> None:
        state = stage.world.observe()
        for host in np.flatnonzero(state.hosts.state == HostState.ON).tolist():
            here = state.vms.host == host
            total = state.vms.allocation[here].sum(axis=0)
            assert (state.hosts.allocated[host] >= total * (1 - 1e-4)).all()

    def test_the_site_has_a_row_for_each_host(self, stage: Stage) -> None:
        site, state = stage.world.site(), stage.world.observe()
        assert site.power_w.shape == (len(state.hosts.state), 11)
        assert site.capabilities <= stage.world.capabilities | {ActionKind.WAIT}
        assert site.tick_s == stage.world.tick_s

    def test_an_order_survives_json(self, stage: Stage) -> None:
        vm = stage.running()
        order = stage.world.order(migrate(vm, stage.elsewhere(vm), "because"), "key-json")
        assert order_from_json(json.loads(json.dumps(order_to_json(order)))) == order
        assert order.source == stage.world.inventory().hosts[stage.world.observe().vms.host[vm]].name

    def test_an_action_on_what_there_is_not_is_no_order(self, stage: Stage) -> None:
        n_vms, n_hosts = len(stage.world.observe().vms.state), len(stage.world.observe().hosts.state)
        for action in (migrate(n_vms, 0), migrate(stage.running(), n_hosts), power(n_hosts, PowerTarget.OFF)):
            with pytest.raises(ActionError):
                stage.world.order(action, "key-none")

    def test_an_order_on_a_vm_that_vanished_fails_without_raising(self, stage: Stage) -> None:
        self.able(stage, ActionKind.MIGRATE)
        vm = stage.running()
        order = stage.world.order(migrate(vm, stage.elsewhere(vm)), "key-gone")
        gone = Order(**{**_fields(order), "vm": "no-such-vm"})
        result = stage.world.carry_out(gone, stage.timeout_s)
        assert result.standing is Standing.UNTOUCHED
        assert result.error
        assert stage.world.standing(gone) is Standing.UNTOUCHED

    def test_migrate_moves_the_vm_and_no_other(self, stage: Stage) -> None:
        self.able(stage, ActionKind.MIGRATE)
        vm = stage.running()
        before, target = stage.world.observe().vms.host.copy(), stage.elsewhere(vm)
        order = stage.world.order(migrate(vm, target), "key-migrate")
        assert stage.world.standing(order) is Standing.UNTOUCHED
        assert stage.see_through(order) is Standing.DONE
        slot = stage.world.inventory().vm_slot[order.vm]
        after = stage.world.observe().vms.host
        assert after[slot] == target
        others = np.flatnonzero((before >= 0) & (np.arange(len(before)) != vm))
        assert (after[others] == before[others]).all()
        self.again(stage, order)

    def test_reshape_changes_the_allocation_and_comes_back(self, stage: Stage) -> None:
        self.able(stage, ActionKind.RESHAPE)
        vm = stage.running()
        before = stage.allocation(vm)
        wanted = stage.reshaped(before)
        order = stage.world.order(reshape(vm, wanted), "key-reshape")
        assert stage.see_through(order) is Standing.DONE
        assert np.allclose(stage.allocation(vm), wanted, rtol=0.02)
        self.again(stage, order)
        back = stage.world.order(reshape(vm, before), "key-reshape-back")
        assert stage.see_through(back) is Standing.DONE
        assert np.allclose(stage.allocation(vm), before, rtol=0.02)

    def test_shift_sets_the_weight(self, stage: Stage) -> None:
        self.able(stage, ActionKind.SHIFT)
        vm = stage.running()
        order = stage.world.order(shift(vm, 0.5), "key-shift")
        assert stage.see_through(order) is Standing.DONE
        assert stage.world.observe().vms.weight[vm] == pytest.approx(0.5, rel=0.02)
        self.again(stage, order)

    def test_what_is_spawned_runs_and_what_is_despawned_is_gone(self, stage: Stage) -> None:
        self.able(stage, ActionKind.SPAWN)
        vm = stage.running()
        app, host = int(stage.world.observe().vms.app[vm]), stage.elsewhere(vm)
        order = stage.world.order(spawn(app, host, stage.size or stage.allocation(vm)), "key-spawn")
        self.makes(stage, order, VmKind.PRODUCTION, host)

    def test_a_micro_vm_runs(self, stage: Stage) -> None:
        self.able(stage, ActionKind.MICROVM)
        vm = stage.running()
        app, host = int(stage.world.observe().vms.app[vm]), stage.elsewhere(vm)
        small = stage.size or five([amount * 0.25 for amount in stage.allocation(vm)])
        order = stage.world.order(microvm(app, host, small, 86_400.0), "key-micro")
        self.makes(stage, order, VmKind.MICRO, host)

    def test_a_shadow_stands_elsewhere_and_names_its_primary(self, stage: Stage) -> None:
        self.able(stage, ActionKind.SHADOW)
        vm = stage.running()
        host = stage.elsewhere(vm)
        order = stage.world.order(shadow(vm, host, 0.5), "key-shadow")
        self.makes(stage, order, VmKind.SHADOW, host, primary=vm)

    def test_a_host_goes_off_and_comes_back(self, stage: Stage) -> None:
        self.able(stage, ActionKind.POWER)
        host = self.emptied(stage)
        off = stage.world.order(power(host, PowerTarget.OFF), "key-off")
        assert stage.see_through(off) is Standing.DONE
        assert stage.world.observe().hosts.state[host] == HostState.OFF
        self.again(stage, off)
        on = stage.world.order(power(host, PowerTarget.ON), "key-on")
        assert stage.see_through(on) is Standing.DONE
        assert stage.world.observe().hosts.state[host] == HostState.ON

    def test_a_host_that_holds_vms_is_not_switched_off(self, stage: Stage) -> None:
        self.able(stage, ActionKind.POWER)
        vm = stage.running()
        host = int(stage.world.observe().vms.host[vm])
        result = stage.world.carry_out(
            stage.world.order(power(host, PowerTarget.OFF), "key-full"), stage.timeout_s
        )
        assert result.standing is Standing.UNTOUCHED
        assert result.error
        assert stage.world.observe().hosts.state[host] == HostState.ON

    def test_a_host_is_rented_and_given_back(self, stage: Stage) -> None:
        self.able(stage, ActionKind.RENT)
        state = stage.world.observe()
        host = int(np.flatnonzero(state.hosts.state == HostState.UNRENTED)[0])
        order = stage.world.order(rent(host), "key-rent")
        assert stage.see_through(order) is Standing.DONE
        assert stage.world.observe().hosts.state[host] == HostState.ON
        self.again(stage, order)
        back = stage.world.order(rent(host, on=False), "key-back")
        assert stage.see_through(back) is Standing.DONE
        assert stage.world.observe().hosts.state[host] == HostState.UNRENTED

    def test_taking_back_what_was_never_begun_changes_nothing(self, stage: Stage) -> None:
        self.able(stage, ActionKind.MIGRATE)
        vm = stage.running()
        before = stage.world.observe().vms.host.copy()
        order = stage.world.order(migrate(vm, stage.elsewhere(vm)), "key-undo")
        assert stage.world.compensate(order, stage.timeout_s).standing is Standing.UNTOUCHED
        assert (stage.world.observe().vms.host == before).all()

    # -- parts ---------------------------------------------------------------------------------------------------

    def again(self, stage: Stage, order: Order) -> None:
        """An order carried out twice changes the world once."""
        state = stage.world.observe()
        before = [
            state.vms.host.copy(),
            state.vms.state.copy(),
            state.vms.weight.copy(),
            state.hosts.state.copy(),
        ]
        assert stage.world.carry_out(order, stage.timeout_s).standing is Standing.DONE
        state = stage.world.observe()
        after = [state.vms.host, state.vms.state, state.vms.weight, state.hosts.state]
        assert all((b == a).all() for b, a in zip(before, after, strict=True))

    def makes(self, stage: Stage, order: Order, kind: VmKind, host: int, primary: int = -1) -> None:
        """An order that makes a VM, under its name, once; then the VM goes again."""
        assert order.vm not in stage.world.inventory().vm_slot
        assert stage.world.standing(order) is Standing.UNTOUCHED
        assert stage.see_through(order) is Standing.DONE
        slot = stage.world.inventory().vm_slot[order.vm]
        vms = stage.world.observe().vms
        assert vms.kind[slot] == kind
        assert vms.host[slot] == host
        assert vms.state[slot] in (VmState.RUNNING, VmState.PAUSED)
        assert vms.primary[slot] == primary
        self.again(stage, order)
        gone = stage.world.order(despawn(slot), f"{order.key}-gone")
        assert stage.see_through(gone) is Standing.DONE
        assert order.vm not in stage.world.inventory().vm_slot
        self.again(stage, gone)

    def emptied(self, stage: Stage) -> int:
        """A host of ours that is on and holds nothing; made so by moves where there is none."""
        state = stage.world.observe()
        own = (state.hosts.state == HostState.ON) & (state.hosts.price_usd_h == 0)
        count = np.where(own, state.hosts.n_vms + state.hosts.arriving, 1 << 30)
        host = int(count.argmin())
        for number, vm in enumerate(np.flatnonzero(state.vms.host == host).tolist()):
            action: Action = migrate(vm, stage.elsewhere(vm))
            assert stage.see_through(stage.world.order(action, f"key-empty-{number}")) is Standing.DONE
        return host


def _fields(order: Order) -> dict[str, object]:
    return {name: getattr(order, name) for name in Order.__dataclass_fields__}
