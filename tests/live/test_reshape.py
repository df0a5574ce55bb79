"""A guest with a disk of its own, reshaped in every resource and moved with its disk: the guest itself says so."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from http.client import HTTPConnection
from typing import Any

import pytest

from foreshade.adapters.libvirt_world import guest_agent
from foreshade.adapters.libvirt_world.world import LibvirtWorld
from foreshade.envs.model.action import Allocation, Boot, migrate, reshape, shadow
from foreshade.envs.order import Standing
from tests.live.testbed import STATE, Testbed, get, guest_xml, in_fabric, settled, spawned

IMAGES = "/var/lib/libvirt/images"
DISK_MIB = 64
SIZE = (1000.0, 192.0, 0.0, 0.0, 0.0)
POOL = f"<pool type='dir'><name>guests</name><target><path>{IMAGES}</path></target></pool>"


@pytest.fixture(scope="module")
def stored(testbed: Testbed) -> Iterator[Testbed]:
    """Every host has a storage pool with the same image in it."""
    for host in testbed.hosts:
        images = STATE / host / "lib/images"
        images.mkdir(exist_ok=True)
        with (images / "base.raw").open("wb") as image:
            image.write(b"the image\n".ljust(4096, b"\0"))
            image.truncate(DISK_MIB * 2**20)
        conn = testbed.connect(host)
        pool = conn.storagePoolDefineXML(POOL)
        pool.create()
        conn.close()
    (STATE / "stored.xml").write_text(guest_xml(plug_mib=256, disk=f"{IMAGES}/base.raw"))
    yield testbed
    for host in testbed.hosts:
        conn = testbed.connect(host)
        pool = conn.storagePoolLookupByName("guests")
        pool.destroy()
        pool.undefine()
        conn.close()


def world_of(testbed: Testbed, **changes: Any) -> LibvirtWorld:
    """With an application whose guests have disks."""
    template = testbed.settings().templates["web"].model_dump() | {
        "domain": str(STATE / "stored.xml"),
        "microvm": None,
        "saved": None,
        "pool": "guests",
    }
    said = {"templates": {"stored": template}, "apps": {"shop": {"template": "stored", "traffic": "app"}}}
    world = testbed.world(**(said | changes))
    world.observe()
    return world


def volumes(testbed: Testbed, host: str) -> list[str]:
    """What the host's pool holds beside the image."""
    conn = testbed.connect(host)
    pool = conn.storagePoolLookupByName("guests")
    pool.refresh()
    found = sorted(name for name in pool.listVolumes() if name != "base.raw")
    conn.close()
    return found


def in_guest(world: LibvirtWorld, host: str, vm: str, command: str) -> str:
    """What a shell in the guest prints."""
    return world.cluster.domain(
        host, vm, "run in", lambda d: guest_agent.run(d, ("/bin/sh", "-c", command), 10, 60.0), 90.0
    )


def memory_mib(world: LibvirtWorld, host: str, vm: str) -> float:
    """That the guest's kernel has."""
    (kib,) = re.findall(r"MemTotal:\s+(\d+)", in_guest(world, host, vm, "cat /proc/meminfo"))
    return int(kib) / 1024.0


def disk_mib_s(world: LibvirtWorld, vm: str, mib: int) -> float:
    """That the guest can read."""
    begun = time.monotonic()
    in_guest(world, "h1", vm, f"dd if=/dev/vda of=/dev/null bs=65536 count={mib * 16} iflag=direct 2>&1")
    return mib / (time.monotonic() - begun)


def download_mbit(address: str, mib: int) -> float:
    """That the guest can send."""

    def fetch() -> float:
        begun = time.monotonic()
        wire = HTTPConnection(address, timeout=60.0)
        wire.request("GET", "/blob")
        assert len(wire.getresponse().read()) == mib * 2**20
        return mib * 2**20 * 8 / 1e6 / (time.monotonic() - begun)

    return float(in_fabric(fetch))


def test_every_resource_of_a_guest_is_changed_and_changed_back(
    stored: Testbed, measured: Callable[[str, object], None]
) -> None:
    stored.sweep()
    world = world_of(stored)
    made = spawned(world, 0, size=SIZE, boot=Boot.COLD)
    vm = made.vm
    assert volumes(stored, "h1") == [f"{vm}.vda.qcow2"]
    address = world._hands.traffic.servers("app")[vm].address  # type: ignore[union-attr]
    assert in_fabric(lambda: get(address))
    in_guest(world, "h1", vm, "dd if=/dev/zero of=/www/blob bs=1048576 count=3 2>&1")

    def reshaped(wanted: Allocation) -> None:
        world.observe()
        order = world.order(reshape(world.inventory().vm_slot[vm], wanted), f"reshape-{wanted}")
        result = settled(world, order)
        assert result.standing is Standing.DONE, result
        state = world.observe()
        shown = state.vms.allocation[world.inventory().vm_slot[vm]].tolist()
        assert shown == pytest.approx(wanted, rel=0.02, abs=2.0)

    before = memory_mib(world, "h1", vm)
    free_disk = disk_mib_s(world, vm, 16)
    reshaped((2000.0, 320.0, 4.0, 16.0, 0.0))
    assert in_guest(world, "h1", vm, "nproc") == "2"
    grown = memory_mib(world, "h1", vm)
    assert grown - before == pytest.approx(128.0, abs=8.0)
    limited_disk, limited_net = disk_mib_s(world, vm, 12), download_mbit(address, 3)
    assert limited_disk < 4.4
    assert limited_net < 8.0 * 1.3  # half of it is for what is received
    reshaped((600.0, 160.0, 0.0, 0.0, 0.0))
    assert in_guest(world, "h1", vm, "nproc") == "1"
    assert memory_mib(world, "h1", vm) == pytest.approx(before - 32.0, abs=8.0)
    freed_disk, freed_net = disk_mib_s(world, vm, 16), download_mbit(address, 3)
    assert freed_disk > 2.0 * limited_disk  # no limit is no limit, and not the smallest one
    assert freed_net > limited_net
    measured(
        "reshape: disk MiB/s free, at 4, free; network Mbit/s at 8 each way, free",
        [round(x, 1) for x in (free_disk, limited_disk, freed_disk, limited_net, freed_net)],
    )
    assert not [line for line in world.abilities if "cannot" in line and "CPUs up" not in line]
    assert world.compensate(made, 30.0).standing is Standing.UNTOUCHED
    assert volumes(stored, "h1") == []
    world.close()


def test_guest_moves_with_its_own_disk_and_leaves_none_behind(stored: Testbed) -> None:
    stored.sweep()
    world = world_of(stored, migration={"copy_disks": True, "bandwidth_mib_s": 1024.0})
    made = spawned(world, 0, size=SIZE, boot=Boot.COLD)
    vm = made.vm
    word = f"written-{time.time():.0f}"
    in_guest(world, "h1", vm, f"echo {word} | dd of=/dev/vda bs=512 seek=40000 conv=notrunc 2>&1; sync")
    world.observe()
    order = world.order(migrate(world.inventory().vm_slot[vm], 1), "with-disk-move")
    result = settled(world, order)
    assert result.standing is Standing.DONE, result
    assert stored.running() == {vm: "h2"}
    assert (volumes(stored, "h1"), volumes(stored, "h2")) == ([], [f"{vm}.vda.qcow2"])
    seen = in_guest(
        world, "h2", vm, "dd if=/dev/vda bs=512 skip=40000 count=1 iflag=direct 2>/dev/null | head -1"
    )
    assert seen.strip("\0\n ") == word
    assert in_guest(world, "h2", vm, "head -1 /dev/vda") == "the image"
    world.observe()
    twin = world.order(shadow(world.inventory().vm_slot[vm], 2, 0.5), "with-disk-shadow")
    result = settled(world, twin)
    assert result.standing is Standing.DONE, result
    assert volumes(stored, "h3") == [f"{twin.vm}.vda.qcow2"]
    # What cannot arrive leaves nothing there.
    world.observe()
    bad = world_of(
        stored,
        migration={"copy_disks": True},
        hosts=stored.host_settings(h1={"peer_uri": "qemu+tcp://10.77.9.9/system"}),
    )
    order = bad.order(migrate(bad.inventory().vm_slot[vm], 0), "with-disk-nowhere")
    assert settled(bad, order).standing is Standing.UNTOUCHED
    assert volumes(stored, "h1") == []
    assert stored.running()[vm] == "h2"
    bad.close()
    world.close()
    stored.sweep()
