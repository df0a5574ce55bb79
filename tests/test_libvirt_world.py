"""Libvirt hosts as a world, on libvirt's test driver: the contract, and what must not go wrong."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from foreshade.envs.errors import ActionError, WorldError
from foreshade.envs.model.action import ActionKind, PowerTarget, despawn, migrate, power, reshape, spawn
from foreshade.envs.model.state import HostState, VmState
from foreshade.envs.order import Standing
from foreshade.envs.snapshot import VM_WORDS, Snapshot
from tests import libvirt_hosts
from tests.contract_world import Stage, WorldContract

libvirt = libvirt_hosts.needs_libvirt

from foreshade.adapters.clouds import FakeCloud, Lease, Node  # noqa: E402
from foreshade.adapters.libvirt_world.connection import MOST_STUCK  # noqa: E402
from foreshade.adapters.libvirt_world.incoming import definition_of  # noqa: E402
from foreshade.adapters.libvirt_world.record import NAMESPACE, Record  # noqa: E402
from foreshade.adapters.libvirt_world.world import LibvirtWorld  # noqa: E402
from foreshade.adapters.power import FakePower, PowerState  # noqa: E402
from foreshade.adapters.traffic import FakeTraffic  # noqa: E402

OURS = {"a": {"web-1": Record("shop", template="web")}, "b": {"web-2": Record("shop", template="web")}}
REDFISH = {"redfish": "https://bmc/redfish/v1", "resource": "/redfish/v1/Systems/1"}


class QuickCloud(FakeCloud):
    """Delivers at once."""

    def __init__(self, address: str) -> None:
        super().__init__()
        self.address = address

    def order(self, name: str) -> None:
        super().order(name)
        self.nodes[name] = Node(name, Lease.THERE, self.address)


class TestContract(WorldContract):
    """Two hosts with a guest each, a third that is empty, one to rent; power and cloud in memory."""

    @pytest.fixture
    def stage(self, tmp_path: Path) -> Iterator[Stage]:  # type: ignore[override]
        said = libvirt_hosts.settings(tmp_path, {**OURS, "c": {}})
        rented = tmp_path / "rented.xml"
        rented.write_text(libvirt_hosts.NODE.format(guests=""))
        hosts = [host.model_dump() | {"power": REDFISH | {"proven": True}} for host in said.hosts]
        cloud = {"provider": "dummy", "size": "s", "image": "i"}
        hosts.append({"name": "d", "uri": "test://{address}", "price_usd_h": 0.1, "cloud": cloud})
        said = type(said).model_validate(said.model_dump() | {"hosts": tuple(hosts)})
        traffic = FakeTraffic()
        for name in ("web-1", "web-2"):
            traffic.add("shop", name, "10.0.0.1", 80)
            traffic.weigh("shop", {name: 1.0})
        world = libvirt_hosts.world(
            said,
            traffic,
            powers={name: FakePower() for name in "abc"},
            clouds={"d": QuickCloud(str(rented))},
        )
        yield Stage(
            world,
            lambda: time.sleep(0.05),
            timeout_s=60.0,
            size=libvirt_hosts.SIZE,
            reshaped=lambda now: (2 * now[0], now[1] / 2, *now[2:]),
        )
        world.close()


@pytest.fixture
def alone(tmp_path: Path) -> Iterator[LibvirtWorld]:
    """Two hosts; on the first one of ours and a foreign guest."""
    said = libvirt_hosts.settings(tmp_path, {"a": {"web-1": Record("shop"), "theirs": None}, "b": {}})
    world = libvirt_hosts.world(said)
    yield world
    world.close()


def test_foreign_guest_is_seen_and_counted_and_never_touched(alone: LibvirtWorld) -> None:
    facts = alone.inventory().vms
    slot = alone.inventory().vm_slot["theirs"]
    state = alone.observe()
    assert not facts[slot].managed
    assert state.hosts.n_vms[0] == 2
    assert state.hosts.allocated[0, 0] == pytest.approx(2000.0 + 2 * 0, rel=0.1)
    assert state.vms.state[slot] == VmState.MIGRATING  # has load, is nobody's to move
    snapshot = Snapshot.of(state, alone.inventory(), alone.site(), 0.0)
    for shown in (snapshot, Snapshot.from_bytes(snapshot.to_bytes())):
        assert [VM_WORDS[code] for code in shown.vm_states if code] == ["foreign", "running"]
    for action in (despawn(slot), reshape(slot, libvirt_hosts.SIZE)):
        with pytest.raises(ActionError, match="theirs, which is foreign"):
            alone.order(action, "k")


def test_name_that_a_foreign_guest_took_meanwhile_is_refused(alone: LibvirtWorld, tmp_path: Path) -> None:
    order = alone.order(spawn(0, 0, libvirt_hosts.SIZE), "key")
    foreign = libvirt_hosts.guest(order.vm, None)
    alone.cluster.call("a", "make", lambda conn: conn.createXML(foreign, 0))
    result = alone.carry_out(order, 60.0)
    assert result.standing is Standing.UNTOUCHED
    assert "found a foreign VM of that name on a" in result.error
    assert alone.compensate(order, 60.0).error  # and not removed either
    assert alone.cluster.look("a", order.vm) is not None


@pytest.mark.parametrize("kind", ["despawn", "reshape"])
def test_vm_that_vanishes_between_plan_and_act_is_a_result(alone: LibvirtWorld, kind: str) -> None:
    slot = alone.inventory().vm_slot["web-1"]
    action = despawn(slot) if kind == "despawn" else reshape(slot, (2000.0, 512.0, 0.0, 0.0, 0.0))
    order = alone.order(action, "key")
    alone.cluster.domain("a", "web-1", "destroy", lambda domain: (domain.destroy(), domain.undefine()))
    result = alone.carry_out(order, 60.0)
    assert result.standing is (Standing.DONE if kind == "despawn" else Standing.UNTOUCHED)


def test_protected_guest_is_refused_whatever_was_decided(tmp_path: Path) -> None:
    tags = frozenset({"protected"})
    world = libvirt_hosts.world(libvirt_hosts.settings(tmp_path, {"a": {"web-1": Record("shop", tags=tags)}}))
    assert world.inventory().vms[0].protected
    result = world.carry_out(world.order(despawn(0), "k"), 60.0)
    assert (result.standing, "tag protected" in result.error) == (Standing.UNTOUCHED, True)
    world.close()


def test_metadata_that_cannot_be_read_makes_a_guest_foreign_and_is_said(alone: LibvirtWorld) -> None:
    element = '<vm app="shop" weight="heavy"/>'
    alone.cluster.domain(
        "a", "web-1", "spoil", lambda d: d.setMetadata(2, element, "foreshade", NAMESPACE, 0)
    )
    alone.observe()
    assert not alone.inventory().vms[alone.inventory().vm_slot["web-1"]].managed
    assert any("expected a number of at least 0, found 'heavy'" in line for line in alone.troubles())


def test_host_that_is_away_is_said_and_the_others_go_on(tmp_path: Path) -> None:
    said = libvirt_hosts.settings(tmp_path, OURS)
    away = {"name": "gone", "uri": "qemu+unix:///system?socket=/no/such/socket"}
    said = type(said).model_validate(said.model_dump() | {"hosts": (*said.model_dump()["hosts"], away)})
    quick = said.timeouts.model_copy(update={"connect": 0.2})
    world = LibvirtWorld(said.model_copy(update={"timeouts": quick}))
    assert all(world.cluster.hosts[name].connection.wait(60.0) for name in OURS)
    state = world.observe()
    assert state.hosts.state.tolist() == [HostState.ON, HostState.ON, HostState.MAINTENANCE]
    assert np.isinf(state.hosts.age_s[2])
    assert any(
        line.startswith("host gone: qemu+unix:") and "next try in" in line for line in world.troubles()
    )
    with pytest.raises(WorldError, match="host gone"):
        world.cluster.look("gone", "x")
    world.close()


def test_no_host_at_all_is_a_world_that_does_not_answer(tmp_path: Path) -> None:
    said = libvirt_hosts.settings(tmp_path, {"a": {}})
    host = said.hosts[0].model_copy(update={"uri": "qemu+unix:///system?socket=/no/such/socket"})
    quick = said.timeouts.model_copy(update={"connect": 0.2})
    world = LibvirtWorld(said.model_copy(update={"hosts": (host,), "timeouts": quick}))
    with pytest.raises(WorldError, match="expected one host at least to answer, found none"):
        world.observe()
    world.close()


def test_host_that_hangs_does_not_stop_the_tick_and_ages(alone: LibvirtWorld) -> None:
    live, freed = alone.cluster.hosts["b"], threading.Event()
    hanging = [live.connection.start("hang", lambda _conn: freed.wait()) for _ in range(MOST_STUCK)]
    state = alone.observe()
    assert not any(call.ended for call in hanging)
    assert live.failed_samples == 1  # it was not even asked: a sample may take a minute here
    assert state.hosts.age_s[1] > state.hosts.age_s[0]
    assert any("host b: expected answers, found 8 calls without one" in line for line in alone.troubles())
    result = alone.carry_out(alone.order(spawn(0, 1, libvirt_hosts.SIZE), "k"), 1.0)
    assert result.error.startswith("host b")
    freed.set()


def test_host_that_comes_back_is_connected_again(alone: LibvirtWorld) -> None:
    live = alone.cluster.hosts["b"]
    live.connection._drop(live.connection._conn, "the wire broke")
    deadline = time.monotonic() + 60.0
    while live.connection.times_connected < 2 and time.monotonic() < deadline:
        time.sleep(0.02)
    alone.observe()
    assert (live.connection.trouble, live.connection.times_connected) == ("", 2)


def test_host_is_switched_off_only_when_it_was_seen_coming_back(tmp_path: Path) -> None:
    said = libvirt_hosts.settings(tmp_path, {"a": {"web-1": Record("shop")}, "b": {}})
    hosts = tuple(host.model_dump() | {"power": REDFISH} for host in said.hosts)
    said = type(said).model_validate(
        said.model_dump() | {"hosts": hosts, "proofs": str(tmp_path / "proofs.json")}
    )
    bmc = FakePower()
    world = libvirt_hosts.world(said, powers={"b": bmc})
    off = world.order(power(1, PowerTarget.OFF), "k")
    assert "found it unproven" in world.carry_out(off, 60.0).error
    assert "off" not in bmc.calls
    bmc.state = PowerState.OFF  # somebody switches it off and on
    assert world.observe().hosts.state[1] == HostState.OFF
    bmc.state = PowerState.ON
    world.observe()
    assert world.inventory().hosts[1].power_on_proven
    assert world.carry_out(off, 60.0).standing is Standing.DONE
    again = libvirt_hosts.world(said, powers={"b": bmc})
    assert again.inventory().hosts[1].power_on_proven
    for one in (world, again):
        one.close()


def test_vms_of_a_host_without_power_wait_to_be_started_elsewhere(tmp_path: Path) -> None:
    said = libvirt_hosts.settings(tmp_path, OURS)
    hosts = tuple(host.model_dump() | {"power": REDFISH} for host in said.hosts)
    said = type(said).model_validate(said.model_dump() | {"hosts": hosts})
    bmcs = {name: FakePower() for name in "ab"}
    world = libvirt_hosts.world(said, powers=bmcs)
    bmcs["b"].state = PowerState.OFF
    state = world.observe()
    slot = world.inventory().vm_slot["web-2"]
    assert (state.vms.state[slot], state.vms.host[slot]) == (VmState.FAILED, -1)
    from foreshade.envs.model.action import place  # noqa: PLC0415

    order = world.order(place(slot, 0), "k")
    assert world.carry_out(order, 60.0).standing is Standing.DONE
    assert world.cluster.look("a", "web-2") is not None
    world.close()


def test_what_the_driver_cannot_do_leaves_the_capabilities(alone: LibvirtWorld) -> None:
    slot = alone.inventory().vm_slot["web-1"]
    assert ActionKind.MIGRATE not in alone.capabilities
    result = alone.carry_out(alone.order(migrate(slot, 1), "k"), 60.0)
    assert (result.standing, bool(result.error)) == (Standing.UNTOUCHED, True)


def test_copy_that_is_coming_in_is_known_without_its_xml_which_would_block() -> None:
    class Coming:
        def name(self) -> str:
            return "web-1"

        def UUIDString(self) -> str:  # noqa: N802
            return "u-1"

        def info(self) -> list[int]:
            return [libvirt.VIR_DOMAIN_PAUSED, 2 * 2**20, 2**20, 3, 0]

        def metadata(self, *_: object) -> str:
            return Record("shop", weight=0.5).element()

        def XMLDesc(self, _flags: int) -> str:  # noqa: N802
            raise AssertionError("libvirt answers when the whole of it is there")

    said = definition_of(Coming(), libvirt.VIR_DOMAIN_PAUSED, libvirt.VIR_DOMAIN_PAUSED_MIGRATION)
    assert (said.name, said.uuid, said.vcpus, said.memory_mib, said.current_mib) == (
        "web-1",
        "u-1",
        3,
        2048.0,
        1024.0,
    )
    assert said.record == Record("shop", weight=0.5)
    with pytest.raises(AssertionError, match="the whole of it"):
        definition_of(Coming(), libvirt.VIR_DOMAIN_RUNNING, 1)


def test_error_about_another_host_is_not_held_against_the_one_that_was_asked(alone: LibvirtWorld) -> None:
    live = alone.cluster.hosts["a"]

    def ask(_conn: object) -> None:
        libvirt.open("qemu+unix:///system?socket=/no/such/socket")  # as a migration's destination is opened

    with pytest.raises(libvirt.libvirtError, match="Failed to connect socket"):
        live.connection.call("move", ask, 5.0)
    assert live.connection.connected
    assert live.connection.times_connected == 1


def test_guest_is_not_reshaped_below_what_its_template_needs(tmp_path: Path) -> None:
    said = libvirt_hosts.settings(tmp_path, {"a": {"web-1": Record("shop", template="web")}})
    template = said.templates["web"].model_copy(update={"least_mib": 256.0})
    world = libvirt_hosts.world(said.model_copy(update={"templates": {"web": template}}))
    slot = world.inventory().vm_slot["web-1"]
    now = world.observe().vms.allocation[slot].tolist()
    order = world.order(reshape(slot, (500.0, 43.0, 0.0, 0.0, 0.0)), "small")
    assert order.allocation == (500.0, 256.0, 0.0, 0.0, 0.0)
    with pytest.raises(ActionError, match="expected another size, found what web-1 has already"):
        world.order(reshape(slot, (now[0], now[1] * 1.001, *now[2:])), "same")
    world.close()
