"""What each action needs, and what it begins; refusals are named as the native ones are worded."""

from __future__ import annotations

import math
from typing import Any

from .host import wants
from .lives import MICRO_BOOT, RESTORED, SPARE, Lives
from .state import (
    ABSENT,
    ASLEEP,
    CPU,
    FAILED,
    MEMORY,
    MICRO,
    MIGRATING,
    OFF,
    ON,
    PAUSED,
    PENDING,
    PRODUCTION,
    RENTING,
    RESOURCES,
    RUNNING,
    SHADOW,
    STOPPING,
    UNRENTED,
    VM_BOOTING,
    VM_FAILED,
    Migration,
    Vm,
)

WAIT, SPAWN, DESPAWN, RESHAPE, MIGRATE, MICROVM, SHADOW_ACTION, SHIFT, POWER, RENT = range(10)

# A fragment of the native sentence for each reason.
REASONS = {
    "": "",
    "unknown_vm": "number of a VM",
    "unknown_host": "number of a host",
    "unknown_app": "number of an application",
    "unknown_rack": "number of a rack",
    "vm_gone": "the VM is gone",
    "vm_not_placeable": "pending or failed VM",
    "vm_not_running": "running VM",
    "vm_busy": "migrating, booting or stopping",
    "same_host": "already stands on that host",
    "host_not_on": "a host that is on",
    "no_room": "does not fit",
    "host_not_empty": "an empty host",
    "host_transition": "cannot go there",
    "rack_off": "rack is switched off",
    "rack_in_use": "rack whose hosts",
    "not_rented_host": "can be rented",
    "no_slot": "no VM slot",
    "bad_value": "a value is out of range",
    "not_hotpluggable": "the hypervisor cannot",
    "below_usage": "below what the VM uses",
    "not_allowed": "does not allow",
    "shadow_same_host": "a shadow may not stand",
    "last_member": "last production VM",
    "no_spare": "a paused spare",
}


class RefusedError(Exception):
    """Why an action was not begun."""


def need(ok: bool, reason: str) -> None:
    """Refuse unless."""
    if not ok:
        raise RefusedError(reason)


def usable(allocation: Any) -> bool:
    """Finite, not negative, some cpu and memory."""
    return (
        all(math.isfinite(x) and x >= 0 for x in allocation)
        and allocation[CPU] > 0
        and allocation[MEMORY] > 0
    )


class Acting(Lives):
    """A world that can be acted on."""

    def execute(self, action: dict[str, Any]) -> tuple[str, int]:
        """One action, given by the keywords of ``Action``: (reason it was refused, VM it is about)."""
        full: dict[str, Any] = {
            "vm": -1, "host": -1, "app": -1, "rack": -1, "value": 0.0, "value2": 0.0, "allocation": [0.0] * 5
        } | action  # fmt: skip
        kind = full["kind"]
        handlers = {
            SPAWN: self.spawn, DESPAWN: self.despawn, RESHAPE: self.reshape, MIGRATE: self.migrate,
            MICROVM: self.microvm, SHADOW_ACTION: self.shadow, SHIFT: self.shift, POWER: self.power,
            RENT: self.rent,
        }  # fmt: skip
        try:
            placing = kind == SPAWN and full["vm"] >= 0
            need(kind in self.work["allowed"] or kind == WAIT or placing, "not_allowed")
            return "", handlers[kind](full) if kind != WAIT else -1
        except RefusedError as refused:
            self.tick_accounts.counts["refused"] += 1
            return str(refused), -1

    def known(self, number: int) -> Vm:
        """The VM of that number, unless it is gone."""
        need(0 <= number < len(self.vms), "unknown_vm")
        need(self.vms[number].state != ABSENT, "vm_gone")
        return self.vms[number]

    def need_room(self, host: int, allocation: list[float]) -> None:
        """The host is there, on, and has room."""
        need(0 <= host < len(self.hosts), "unknown_host")
        need(self.hosts[host].state == ON, "host_not_on")
        need(self.fits(host, allocation), "no_room")

    def new_vm(self, app: int, kind: int, allocation: list[float]) -> Vm:
        """A VM in a free slot."""
        need(bool(self.free), "no_slot")
        number = self.free.pop()
        self.births += 1
        vm = Vm(
            number, app=app, kind=kind, state=PENDING, flavour=list(allocation), allocation=list(allocation),
            serial=self.vms[number].serial + 1, birth=self.births,
        )  # fmt: skip
        self.vms[number] = vm
        self.members[app].append(number)
        self.tick_accounts.counts["spawned"] += 1
        return vm

    def spawn(self, a: dict[str, Any]) -> int:
        """A waiting VM on a host, or a new member of an application."""
        if a["vm"] >= 0:
            vm = self.known(a["vm"])
            need(vm.state in (PENDING, VM_FAILED), "vm_not_placeable")
            self.need_room(a["host"], vm.allocation)
            self.start_vm(vm, a["host"], 0)
            return vm.id
        need(0 <= a["app"] < len(self.members), "unknown_app")
        need(usable(a["allocation"]) and 0 <= a["value"] <= 2 and a["value2"] in (0, 1), "bad_value")
        path = int(a["value"])
        if path == SPARE:
            need(a["value2"] == 0, "bad_value")
            return self.resume(a)
        self.need_room(a["host"], a["allocation"])
        vm = self.new_vm(a["app"], PRODUCTION, a["allocation"])
        vm.spare = a["value2"] == 1
        self.start_vm(vm, a["host"], path)
        return vm.id

    def resume(self, a: dict[str, Any]) -> int:
        """The spare that has stood on the host longest becomes a member."""
        need(0 <= a["host"] < len(self.hosts), "unknown_host")
        life = self.hosts[a["host"]]
        need(life.state == ON, "host_not_on")
        fitting = [
            self.vms[v]
            for v in life.vms
            if self.vms[v].state == PAUSED
            and self.vms[v].kind != SHADOW
            and self.vms[v].app == a["app"]
            and self.vms[v].allocation == list(a["allocation"])
        ]
        need(bool(fitting), "no_spare")
        vm = fitting[0]
        vm.spare = False
        self.set_vm(vm, VM_BOOTING)
        self.push(self.now + self.profile(vm.host).boot_s[SPARE], "vm_booted", vm.id, vm.serial)
        return vm.id

    def despawn(self, a: dict[str, Any]) -> int:
        """Graceful end, unless the application would be left without anybody to want its load."""
        vm = self.known(a["vm"])
        need(vm.state not in (MIGRATING, STOPPING) and vm.destination < 0, "vm_busy")
        others = [v for v in self.members[vm.app] if v != vm.id and self.vms[v].owns_load]
        need(not vm.owns_load or bool(others), "last_member")
        if vm.host < 0:
            self.remove_vm(vm)
            return vm.id
        self.set_vm(vm, STOPPING)
        self.push(self.now + self.profile(vm.host).shutdown_s, "vm_stopped", vm.id, vm.serial)
        return vm.id

    def reshape(self, a: dict[str, Any]) -> int:
        """Hot-plug."""
        vm, new = self.known(a["vm"]), a["allocation"]
        need(vm.state in (RUNNING, PAUSED), "vm_not_running")
        need(vm.destination < 0, "vm_busy")
        need(usable(new), "bad_value")
        profile, old = self.profile(vm.host), vm.allocation
        possible = {
            CPU: profile.cpu_up if new[CPU] > old[CPU] else profile.cpu_down,
            MEMORY: profile.memory_up if new[MEMORY] > old[MEMORY] else profile.memory_down,
            2: profile.disk, 3: profile.network, 4: False,
        }  # fmt: skip
        need(all(new[r] == old[r] or possible[r] for r in RESOURCES), "not_hotpluggable")
        born = (self.vms[vm.primary] if vm.primary >= 0 else vm).flavour[CPU]
        most = self.dc.guest_cpu * born * (1 + 1e-6) if self.dc.guest_cpu else float("inf")
        need(new[CPU] <= max(old[CPU], most), "not_hotpluggable")
        if self.played >= 0 and new[MEMORY] < old[MEMORY]:
            need(new[MEMORY] >= min(wants(self, vm)[0][MEMORY], old[MEMORY]), "below_usage")
        now = self.allocated(vm.host)
        for r in RESOURCES:
            within = now[r] - old[r] + new[r] <= self.limit(vm.host, r) * (1 + 1e-6)
            need(new[r] <= old[r] or within, "no_room")
        vm.allocation = list(new)
        if vm.kind == SHADOW:
            vm.size = min(1.0, new[MEMORY] / self.vms[vm.primary].allocation[MEMORY])
        return vm.id

    def stands_apart(self, vm: Vm, host: int) -> bool:
        """No shadow shares a host with its primary, now or when both have arrived."""
        if vm.kind == SHADOW:
            partners = [self.vms[vm.primary]]
        else:
            partners = [self.vms[v] for v in self.members[vm.app] if self.vms[v].primary == vm.id]
        return all(host not in (p.host, p.destination) for p in partners)

    def migrate(self, a: dict[str, Any]) -> int:
        """Ask for a live migration."""
        vm = self.known(a["vm"])
        need(vm.destination < 0, "vm_busy")
        need(vm.state == RUNNING, "vm_not_running")
        need(a["host"] != vm.host, "same_host")
        self.need_room(a["host"], vm.allocation)
        need(self.stands_apart(vm, a["host"]), "shadow_same_host")
        vm.destination = a["host"]
        self.migrations.append(Migration(vm.id, vm.host, a["host"]))
        self.tick_accounts.counts["migrations"] += 1
        self.tick_accounts.cost["migration"] += self.dc.prices.migration_usd
        return vm.id

    def microvm(self, a: dict[str, Any]) -> int:
        """A helper whose weight and size are measured against the application's first member."""
        need(0 <= a["app"] < len(self.members), "unknown_app")
        need(usable(a["allocation"]) and a["value2"] > 0, "bad_value")
        self.need_room(a["host"], a["allocation"])
        production = [v for v in self.members[a["app"]] if self.vms[v].kind == PRODUCTION]
        need(bool(production), "unknown_app")
        first = self.vms[production[0]]
        vm = self.new_vm(a["app"], MICRO, a["allocation"])
        vm.weight = vm.allocation[CPU] / first.flavour[CPU]
        vm.size = min(1.0, vm.allocation[MEMORY] / first.flavour[MEMORY])
        self.start_vm(vm, a["host"], MICRO_BOOT)
        self.push(self.now + a["value2"], "vm_expired", vm.id, vm.birth)
        return vm.id

    def shadow(self, a: dict[str, Any]) -> int:
        """A warm clone."""
        primary = self.known(a["vm"])
        need(primary.kind == PRODUCTION and primary.host >= 0, "vm_not_running")
        need(0 < a["value"] <= 1 and 0 <= a["value2"] <= 1, "bad_value")
        need(a["host"] < 0 or a["host"] not in (primary.host, primary.destination), "shadow_same_host")
        allocation = [x * a["value"] for x in primary.allocation]
        self.need_room(a["host"], allocation)
        vm = self.new_vm(primary.app, SHADOW, allocation)
        vm.primary, vm.weight, vm.size = primary.id, 0.0, a["value"]
        vm.fidelity, vm.credit = a["value2"], primary.credit
        self.start_vm(vm, a["host"], RESTORED)
        return vm.id

    def shift(self, a: dict[str, Any]) -> int:
        """Traffic weight; of a shadow -1 suspends it, and 0 then resumes it."""
        vm = self.known(a["vm"])
        if vm.kind == SHADOW and vm.state == PAUSED and a["value"] == 0:
            self.set_vm(vm, VM_BOOTING)
            self.push(self.now + self.profile(vm.host).boot_s[SPARE], "vm_booted", vm.id, vm.serial)
            return vm.id
        need(vm.up, "vm_not_running")
        if vm.kind == SHADOW and vm.weight <= 0 and a["value"] == -1:
            need(vm.state == RUNNING and vm.destination < 0, "vm_busy")
            self.set_vm(vm, PAUSED)
            return vm.id
        need(0 <= a["value"] <= 1e6, "bad_value")
        vm.weight = a["value"]
        return vm.id

    def power(self, a: dict[str, Any]) -> int:
        """Hosts and racks."""
        need(0 <= a["value"] <= 2, "bad_value")
        target = ("off", "on", "sleep")[int(a["value"])]
        if a["rack"] >= 0:
            need(a["rack"] < len(self.racks), "unknown_rack")
            if target == "on":
                self.rack_starts(a["rack"])
                return -1
            states = [life.state for h, life in enumerate(self.hosts) if self.spec(h).rack == a["rack"]]
            need(all(s in (OFF, ASLEEP, FAILED, UNRENTED) for s in states), "rack_in_use")
            self.rack_on[a["rack"]] = False
            return -1
        need(0 <= a["host"] < len(self.hosts), "unknown_host")
        life = self.hosts[a["host"]]
        need(not self.spec(a["host"]).rented, "host_transition")
        if target == "on":
            need(life.state in (OFF, ASLEEP), "host_transition")
            need(self.rack_on[self.spec(a["host"]).rack], "rack_off")
            self.power_on(a["host"])
            return -1
        need(life.state == ON, "host_transition")
        need(not life.vms and not self.arriving(a["host"]), "host_not_empty")
        self.power_down(a["host"], target == "sleep")
        return -1

    def rent(self, a: dict[str, Any]) -> int:
        """Order a cloud host, or give it back."""
        need(0 <= a["host"] < len(self.hosts), "unknown_host")
        spec, life = self.spec(a["host"]), self.hosts[a["host"]]
        need(spec.rented, "not_rented_host")
        if a["value"] > 0:
            need(life.state == UNRENTED, "host_transition")
            self.set_host(a["host"], RENTING)
            self.push(self.now + spec.provision_s, "host_ready", a["host"], life.serial)
            return -1
        need(life.state in (ON, RENTING), "host_transition")
        need(not life.vms and not self.arriving(a["host"]), "host_not_empty")
        life.noticed = False
        self.set_host(a["host"], UNRENTED)
        return -1
