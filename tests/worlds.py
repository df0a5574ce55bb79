"""Hand-made and random data centres for the tests of the simulator's physics."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

import numpy as np

from foreshade import _core as core

Spec = dict[str, Any]

SPAWN, DESPAWN, RESHAPE, MIGRATE, MICROVM, SHADOW, SHIFT, POWER, RENT = range(1, 10)
EVERYTHING = list(range(10))
OFTEN = [SPAWN, SPAWN, DESPAWN, RESHAPE, RESHAPE, *[MIGRATE] * 5, MICROVM, SHADOW, SHADOW, SHIFT, SHIFT]
OFTEN += [POWER, POWER, POWER, RENT, 0]


def filled(kind: Any, values: Spec) -> Any:
    """A native spec with the named fields set; an unknown name is an error."""
    made = kind()
    for name, value in values.items():
        getattr(made, name)
        setattr(made, name, value)
    return made


def server(**values: Any) -> Any:
    """10,000 MHz, 10,240 MiB, 100 W idle, 200 W at full load, straight."""
    plain = {
        "name": "plain", "capacity": [10_000.0, 10_240.0, 1_000.0, 1_000.0, 0.0], "cores": 4,
        "power_w": [100.0 + 10 * i for i in range(11)],
    }  # fmt: skip
    return filled(core.ServerModel, plain | values)


def profile(**values: Any) -> Any:
    """A hypervisor that costs nothing, boots VMs at once and migrates at 800 Mbit/s."""
    plain = {"name": "plain", "migration_mbit_s": 800.0, "downtime_limit_s": 0.0, "migration_slowdown": 0.0}
    return filled(core.HypervisorProfile, plain | values)


def host(**values: Any) -> Any:
    """One of ours, of the first model, profile and rack, without overcommitment."""
    return filled(core.Host, values)


def rack(**values: Any) -> Any:
    """A rack with an uplink that never matters."""
    return filled(core.Rack, {"uplink_mbit_s": 100_000.0} | values)


def data_centre(n_ticks: int, hosts: list[Any], prices: Spec | None = None, **values: Any) -> Any:
    """A data centre where nothing costs anything but what is said."""
    plain: Spec = {"models": [server()], "profiles": [profile()], "racks": [rack()], "hosts": hosts}
    money: Spec = {"electricity_usd_kwh": [0.0] * n_ticks}
    return filled(core.DataCentre, plain | {"prices": filled(core.Prices, money | (prices or {}))} | values)


@dataclass
class App:
    """One application: T of its series, (cpu, memory, disk, network) for each tick or for all."""

    want: Any
    floor: float = 0.0
    offloadable: float = 1.0
    gpu: Any = None  # GPUs wanted, for each tick or for all
    members: int = 0  # 0 = as many VMs as name it


def workload(
    n_ticks: int,
    apps: list[App],
    vms: list[tuple[int, list[float]]],
    arrival: list[int] | None = None,
    departure: list[int] | None = None,
    credit: list[float] | None = None,
    allowed: list[int] | None = None,
) -> Spec:
    """The arguments of ``Plant``: applications with a series each, VMs as (application, flavour)."""
    demand = np.zeros((n_ticks, len(apps), 4), np.float32)
    with_gpu = [a for a, app in enumerate(apps) if app.gpu is not None]
    gpu = np.zeros((n_ticks, len(with_gpu)), np.float32)
    for a, app in enumerate(apps):
        demand[:, a, :] = app.want
    for column, a in enumerate(with_gpu):
        gpu[:, column] = apps[a].gpu
    owners = [a for a, _ in vms]
    return {
        "demand": demand,
        "gpu": gpu,
        "gpu_series": np.array(with_gpu, np.int32),
        "app_series": np.arange(len(apps), dtype=np.int32),
        "app_members": np.array([x.members or max(1, owners.count(a)) for a, x in enumerate(apps)], np.int32),
        "app_memory_floor": np.array([app.floor for app in apps], np.float32),
        "app_offloadable": np.array([app.offloadable for app in apps], np.float32),
        "vm_app": np.array(owners, np.int32),
        "vm_flavour": np.array([flavour for _, flavour in vms], np.float32),
        "vm_arrival": np.array(arrival or [0] * len(vms), np.int32),
        "vm_departure": np.array(departure or [n_ticks] * len(vms), np.int32),
        "vm_credit": np.array(credit or [1.0] * len(vms), np.float32),
        "allowed": EVERYTHING if allowed is None else allowed,
    }


class Native:
    """The native simulator with its state, driven by the keywords of actions."""

    def __init__(self, dc: Any, work: Spec, seed: int = 1) -> None:
        self.plant = core.Plant(dc, **work)
        self.sim = core.Simulator(self.plant, seed)
        self.state = core.ClusterState()
        self.sim.prepare(self.state)

    def do(self, **action: Any) -> tuple[str, int]:
        """One action: why it was refused, or "", and the VM it is about."""
        result: tuple[str, int] = self.sim.execute([core.Action(**action)])[0]
        return result

    def must(self, **action: Any) -> int:
        """One action that has to be accepted; the VM it is about."""
        refusal, vm = self.do(**action)
        assert refusal == ""
        return vm

    def tick(self, n: int = 1) -> Spec:
        """Play ticks; what the last one summed up to."""
        for _ in range(n):
            self.sim.advance()
        last: Spec = self.sim.last_tick()
        return last

    def look(self) -> Any:
        """What telemetry shows."""
        self.sim.observe(self.state)
        return self.state


def random_scenario(seed: int, n_ticks: int = 16, *, failures: bool = True) -> tuple[Any, Spec]:
    """Everything at once: shared applications, GPUs, overload, overcommitted memory, rent, failures.

    Allocations are powers of two times whole numbers, so that single precision adds them exactly and both
    simulators agree about what just fits.
    """
    dice = random.Random(seed)
    models = [
        server(
            name=f"m{i}",
            capacity=[cpu, memory, 800.0, 4_000.0, gpus],
            cores=dice.choice([4, 16]),
            power_w=[60.0 + 20 * i + dice.uniform(8, 20) * step for step in range(11)],
            off_w=7.0,
            sleep_w=12.0,
            boot_w=150.0,
            boot_s=dice.uniform(50, 400),
            shutdown_s=dice.uniform(20, 90),
            sleep_enter_s=dice.uniform(5, 20),
            wake_s=dice.uniform(10, 40),
            gpu_idle_w=20.0,
            gpu_peak_w=250.0,
        )
        for i, (cpu, memory, gpus) in enumerate([(16_000.0, 32_768.0, 2.0), (24_000.0, 49_152.0, 0.0)])
    ]
    profiles = [
        profile(
            name=f"p{i}",
            efficiency=[0.95, 0.97, 0.9, 0.92, 1.0] if i else [1.0] * 5,
            vm_cpu_mhz=25.0 * i,
            vm_memory_mib=128.0 * i,
            boot_s=[dice.uniform(20, 130), 7.3, 1.7, 2.9],
            shutdown_s=11.3,
            cpu_down=i == 0,
            memory_down=True,
            swap_factor=12.0,
            oom_overflow=dice.choice([0.05, 0.6]),
            migration_mbit_s=dice.choice([120.0, 900.0]),
            migration_setup_s=1.3,
            downtime_limit_s=0.3,
            resume_s=0.1,
            max_rounds=dice.choice([4, 30]),
            max_concurrent=dice.choice([1, 2]),
            migration_cpu_mhz_per_mbit=0.5,
            migration_slowdown=0.1,
            dirty_share_per_s=dice.choice([0.002, 0.02]),
            working_set=0.15,
        )
        for i in range(2)
    ]
    hosts = [
        host(
            model=dice.randrange(2),
            profile=dice.randrange(2),
            rack=h % 3,
            overcommit=[3.0, 2.5, 4.0, 4.0, 1.0],
            rented=h == 5,
            price_usd_h=0.7 if h == 5 else 0.3 if h == 6 else 0.0,
            committed=h == 6,
            provision_s=77.7,
            reclaims_per_h=4.0 if h == 5 else 0.0,
            notice_s=130.0,
        )
        for h in range(8)
    ]
    apps = []
    for a in range(6):
        want = np.array([[9_000.0, 24_000.0, 220.0, 900.0]]) * dice.uniform(0.3, 1.4)
        wave = np.array([[dice.uniform(0.2, 1.3) for _ in range(4)] for _ in range(n_ticks)])
        gpu = [dice.uniform(0, 1.5) for _ in range(n_ticks)] if a < 2 else None
        apps.append(App(want * wave, floor=dice.choice([0.0, 0.3]), offloadable=0.35, gpu=gpu))
    vms = []
    for v in range(13):
        a = v % 6
        size = dice.choice([1, 2, 3])
        vms.append((a, [2_500.0 * size, 4_096.0 * size, 64.0 * size, 256.0 * size, 0.5 if a < 2 else 0.0]))
    arrival = [0 if dice.random() < 0.8 else dice.randrange(1, n_ticks) for _ in vms]
    departure = [n_ticks if dice.random() < 0.8 else dice.randrange(2, n_ticks + 1) for _ in vms]
    windows = [
        (2, 0.0, 700.0),
        (2, 433.0, 1_100.0),
        (2, 500.0, 600.0),
        (dice.randrange(8), 1_500.0, 2_611.0),
        (dice.randrange(8), 3_007.5, 3_333.0),
    ]
    law = {"mtbf_h": 1.5, "repair_h": 0.13, "recall": 0.6, "false_alarms_per_host_day": 9.0, "lead_h": 0.2}
    dc = data_centre(
        n_ticks,
        hosts,
        models=models,
        profiles=profiles,
        racks=[rack(zone=r, overhead_w=90.0, uplink_mbit_s=700.0, heat_c_per_kw=0.6) for r in range(3)],
        scheduler=dice.choice([core.Scheduler.first_fit, core.Scheduler.best_fit, core.Scheduler.worst_fit]),
        failures=filled(core.Failures, law if failures else {}),
        maintenance=[
            filled(core.MaintenanceWindow, {"host": h, "start_s": start, "end_s": end})
            for h, start, end in windows
        ],
        spare_slots=7,
        guest_cpu=1.0 if seed % 4 == 1 else 0.0,
        prices={
            "electricity_usd_kwh": [0.1 + 0.01 * k for k in range(n_ticks)],
            "carbon_g_kwh": [300.0 - k for k in range(n_ticks)],
            "carbon_usd_per_t": 80.0,
            "pue": 1.4,
            "unmet_usd_h": [0.05, 0.02, 0.03, 0.04, 1.0],
            "late_usd_ghz_h": 0.01,
            "downtime_usd_h": 0.3,
            "migration_usd": 0.01,
            "boot_usd": 0.02,
        },
    )
    credit = [dice.choice([0.5, 1.0, 2.0]) for _ in vms]
    return dc, workload(n_ticks, apps, vms, arrival, departure, credit)


def random_action(dice: random.Random, n_hosts: int = 8, n_vms: int = 20, n_apps: int = 6) -> Spec:
    """Mostly sensible, sometimes impossible, sometimes nonsense."""
    vm, where = dice.randrange(-1, n_vms + 1), dice.randrange(-1, n_hosts + 1)
    size = dice.choice([0.25, 0.5, 1, 2, 3, 6])
    allocation = [2_500.0 * size, 4_096.0 * size, 64.0 * size, 256.0 * size, 0.0]
    if dice.random() < 0.05:
        allocation[dice.randrange(2)] = dice.choice([0.0, -1.0, float("nan"), float("inf")])
    app = dice.randrange(-1, n_apps + 1)
    kind = dice.choice(OFTEN)
    if kind == SPAWN:
        if dice.random() < 0.4:
            return {"kind": kind, "vm": vm, "host": where}
        return {
            "kind": kind, "app": app, "host": where, "allocation": allocation,
            "value": dice.choice([0.0, 1.0, 2.0, 3.0]), "value2": dice.choice([0.0, 0.0, 1.0, 0.5]),
        }  # fmt: skip
    if kind == RESHAPE:
        return {"kind": kind, "vm": vm, "allocation": allocation}
    if kind == MICROVM:
        lifetime = dice.choice([0.0, dice.uniform(100, 2_000), dice.uniform(100, 2_000)])
        return {"kind": kind, "app": app, "host": where, "allocation": allocation, "value2": lifetime}
    if kind == SHADOW:
        fraction = dice.choice([0.0625, 0.125, 0.25, 1.5])
        return {
            "kind": kind,
            "vm": vm,
            "host": where,
            "value": fraction,
            "value2": dice.choice([0.0, 0.5, 1.0]),
        }
    if kind == SHIFT:
        return {"kind": kind, "vm": vm, "value": dice.choice([0.0, 0.25, 1.0, 2.0, -1.0])}
    if kind == POWER and dice.random() < 0.4:
        return {"kind": kind, "rack": dice.randrange(4), "value": float(dice.randrange(3))}
    if kind in (POWER, RENT):
        return {"kind": kind, "host": dice.choice([where, 5]), "value": dice.choice([0.0, 1.0, 1.0, 2.0])}
    return {"kind": kind, "vm": vm, "host": where}
