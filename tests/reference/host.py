"""What the VMs of one host want and get, and what that draws: all follows from the world as it stands."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from .laws import fair_share, late_share, power_at
from .state import (
    ASLEEP,
    BOOTING,
    CPU,
    DISK,
    FAILED,
    GPU,
    MAINTENANCE,
    MEMORY,
    MIGRATING,
    NETWORK,
    OFF,
    ON,
    RESOURCES,
    SHADOW,
    SHUTTING_DOWN,
    VM_BOOTING,
    WAKING,
    Vm,
)

if TYPE_CHECKING:
    from .world import World

# USD per unit·s from prices per GHz·h, GiB·h, (100 MiB/s)·h, (Gbit/s)·h, GPU·h
PER_UNIT_S = (1 / 1000 / 3600, 1 / 1024 / 3600, 1 / 100 / 3600, 1 / 1000 / 3600, 1 / 3600)


@dataclass
class Portion:
    """One VM of a host: d, c = min(d, allocation), and what it gets."""

    vm: Vm
    useful: bool
    demand: list[float]
    capped: list[float]
    got: list[float]


@dataclass
class Rates:
    """One host at one instant."""

    power_w: float = 0.0
    used: list[float] = field(default_factory=lambda: [0.0] * 5)
    late: float = 0.0
    contention: float = 0.0
    overloaded: bool = False
    overflow: float = 0.0
    portions: list[Portion] = field(default_factory=list)


def wants(world: World, vm: Vm) -> tuple[list[float], bool]:
    """Demand of a standing VM, and whether it is demand of its application."""
    if vm.state == VM_BOOTING:
        return [0.5 * vm.allocation[CPU], 0.3 * vm.allocation[MEMORY], 0.0, 0.0, 0.0], False
    trace = world.trace(vm.app)
    serving = world.serving_shares(vm.app)
    share = serving.get(vm.id, 0.0)
    useful = share > 0
    replayed = share
    if not useful and vm.kind == SHADOW and vm.up:
        replayed = vm.fidelity * serving.get(vm.primary, 0.0)
    floor = float(world.work["app_memory_floor"][vm.app])
    memory = floor * vm.size / float(world.work["app_members"][vm.app]) + (1 - floor) * share
    demand = [trace[r] * (memory if r == MEMORY else replayed) for r in RESOURCES]
    return demand, useful


def solve(world: World, host: int) -> Rates:
    """Wants, caps, swapping and fair shares of one host that is on."""
    spec, profile, server = world.spec(host), world.profile(host), world.server(host)
    usable = [server.capacity[r] * profile.efficiency[r] for r in RESOURCES]
    rates = Rates()
    for number in world.hosts[host].vms:
        vm = world.vms[number]
        demand, useful = wants(world, vm)
        capped = [min(demand[r], vm.allocation[r]) for r in RESOURCES]
        rates.portions.append(Portion(vm, useful, demand, capped, list(capped)))
    n = len(rates.portions)
    arriving = sum(m.memory_mib for m in world.migrations if m.destination == host and m.phase != "queued")
    standing = sum(p.capped[MEMORY] for p in rates.portions)
    memory = standing + n * profile.vm_memory_mib + arriving
    rates.overflow = max(0.0, memory / usable[MEMORY] - 1)
    speed = 1 / (1 + profile.swap_factor * rates.overflow)
    short = min(1.0, max(0.0, memory - usable[MEMORY]) / standing) if standing > 0 else 0.0
    slow = {
        p.vm.id: 1 - profile.migration_slowdown if p.vm.state == MIGRATING else 1.0 for p in rates.portions
    }
    migration_mbit_s = world.migration_mbit_s(host)
    overhead = n * profile.vm_cpu_mhz + migration_mbit_s * profile.migration_cpu_mhz_per_mbit
    room = {
        CPU: max(0.0, usable[CPU] - overhead),
        DISK: usable[DISK],
        NETWORK: max(0.0, usable[NETWORK] - migration_mbit_s),
        GPU: usable[GPU],
    }
    for p in rates.portions:
        p.got[CPU] = p.capped[CPU] * speed * slow[p.vm.id]
        p.got[MEMORY] = p.capped[MEMORY] * (1 - short)
    for r, capacity in room.items():
        shares = fair_share(
            [p.got[r] for p in rates.portions], [p.vm.allocation[r] for p in rates.portions], capacity
        )
        for p, got in zip(rates.portions, shares, strict=True):
            p.got[r] = got
    rates.used = [sum(p.got[r] for p in rates.portions) for r in RESOURCES]
    rates.used[CPU] = min(usable[CPU], rates.used[CPU] + overhead)
    rates.used[MEMORY] = min(usable[MEMORY], rates.used[MEMORY] + n * profile.vm_memory_mib + arriving)
    rates.used[NETWORK] = min(usable[NETWORK], rates.used[NETWORK] + migration_mbit_s)
    rates.overloaded = sum(p.capped[CPU] * slow[p.vm.id] for p in rates.portions) > room[CPU]
    wanted = sum(p.capped[CPU] for p in rates.portions)
    rates.contention = 1 - sum(p.got[CPU] for p in rates.portions) / wanted if wanted > 0 else 0.0
    rho = rates.used[CPU] / usable[CPU]
    served = sum(p.got[CPU] for p in rates.portions if p.useful)
    knee = world.dc.knee
    tight = sum(
        max(0.0, p.capped[CPU] - knee * p.vm.allocation[CPU]) / (1 - knee) for p in rates.portions if p.useful
    )
    rates.late = min(served, late_share(server.cores, world.dc.slo_stretch, rho) * served + tight)
    if not spec.rented:
        gpus = server.capacity[GPU] * server.gpu_idle_w + rates.used[GPU] * (
            server.gpu_peak_w - server.gpu_idle_w
        )
        rates.power_w = power_at(server.power_w, rho) + gpus
    return rates


def rates_of(world: World, host: int) -> Rates:
    """Rates of a host in any state."""
    state = world.hosts[host].state
    if state == ON:
        return solve(world, host)
    if world.spec(host).rented:
        return Rates()
    server: Any = world.server(host)
    watts = {
        OFF: server.off_w, FAILED: server.off_w, ASLEEP: server.sleep_w, BOOTING: server.boot_w,
        WAKING: server.boot_w, SHUTTING_DOWN: server.power_w[0], MAINTENANCE: server.power_w[0],
    }  # fmt: skip
    return Rates(power_w=watts.get(state, 0.0))
