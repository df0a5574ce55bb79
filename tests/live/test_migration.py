"""Every way of moving a guest, each seen at work in what the hypervisors show, and a move that is taken back."""

from __future__ import annotations

import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import libvirt
import pytest

from foreshade.adapters.libvirt_world.world import LibvirtWorld
from foreshade.envs.errors import WorldError
from foreshade.envs.model.action import migrate
from foreshade.envs.order import Order, Result, Standing
from tests.live.testbed import NAMESPACES, STATE, Testbed, get, in_fabric, settled, spawned, until


@dataclass
class Seen:
    """What a move showed while it was under way."""

    throttle: int = 0  # percent that the guest was slowed by
    compressed: bool = False
    connections: int = 0  # for the guest's memory, at most
    downtime_ms: int = 0  # that is allowed
    events: list[str] = field(default_factory=list)  # of resuming and suspending, by host and detail


@contextmanager
def watched(testbed: Testbed, vm: str, source: str) -> Iterator[Seen]:
    """Looks at the source ten times a second, and listens on every host."""
    seen, over = Seen(), threading.Event()
    conns = {host: testbed.connect(host) for host in testbed.hosts}
    words = {
        (
            libvirt.VIR_DOMAIN_EVENT_SUSPENDED,
            libvirt.VIR_DOMAIN_EVENT_SUSPENDED_POSTCOPY,
        ): "left by post-copy",
        (libvirt.VIR_DOMAIN_EVENT_RESUMED, libvirt.VIR_DOMAIN_EVENT_RESUMED_POSTCOPY): "runs by post-copy",
    }

    def heard(_conn: Any, domain: Any, event: int, detail: int, host: str) -> None:
        if domain.name() == vm and (event, detail) in words:
            seen.events.append(f"{host} {words[event, detail]}")

    for host, conn in conns.items():
        conn.domainEventRegisterAny(None, libvirt.VIR_DOMAIN_EVENT_ID_LIFECYCLE, heard, host)

    def look() -> None:
        command = ["nsenter", f"--net={NAMESPACES}-{source}", "ss", "-Htn", "state", "established"]
        while not over.wait(0.1):
            try:
                domain = conns[source].lookupByName(vm)
                told = domain.jobStats()
                seen.downtime_ms = domain.migrateGetMaxDowntime()
            except libvirt.libvirtError:
                continue  # it has left
            seen.throttle = max(seen.throttle, int(told.get("auto_converge_throttle", 0)))
            seen.compressed |= "compression_cache" in told
            lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
            peers = [line.split()[3] for line in lines]
            seen.connections = max(seen.connections, sum(":491" in peer for peer in peers))

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield seen
    finally:
        over.set()
        thread.join(10.0)
        for conn in conns.values():
            conn.close()


def made(testbed: Testbed, key: str) -> str:
    """A guest on the first host."""
    world = testbed.world()
    vm = spawned(world, 0, key).vm
    world.close()
    return vm


def moved(world: LibvirtWorld, vm: str, to: int, key: str, limit_s: float = 90.0) -> tuple[Order, float]:
    """Move it, however it is configured; the order and its seconds."""
    world.observe()
    order = world.order(migrate(world.inventory().vm_slot[vm], to), key)
    begun = time.monotonic()
    result = settled(world, order, limit_s)
    assert result.standing is Standing.DONE, (key, result)
    return order, time.monotonic() - begun


WAYS: dict[str, tuple[dict[str, Any], Callable[[Seen], bool]]] = {
    "peer": ({"bandwidth_mib_s": 64.0, "downtime_ms": 550}, lambda seen: seen.downtime_ms == 550),
    "direct": ({"mode": "direct", "bandwidth_mib_s": 64.0}, lambda seen: seen.connections == 1),
    "tunnelled": ({"mode": "tunnelled", "bandwidth_mib_s": 64.0}, lambda seen: seen.connections == 0),
    "compressed": ({"compressed": True, "bandwidth_mib_s": 64.0}, lambda seen: seen.compressed),
    "parallel": ({"parallel": 2, "bandwidth_mib_s": 64.0}, lambda seen: seen.connections >= 3),
    "post-copy": (
        {"post_copy": True, "post_copy_after_s": 0.5, "bandwidth_mib_s": 16.0},
        lambda seen: any("by post-copy" in event for event in seen.events),
    ),
}


def test_guest_is_moved_every_way(clean: Testbed, measured: Callable[[str, object], None]) -> None:
    vm = made(clean, "ways")
    shown = {}
    for number, (way, (said, holds)) in enumerate(WAYS.items()):
        world = clean.world(migration=said)
        to = (number + 1) % 3
        with watched(clean, vm, clean.hosts[number % 3]) as seen:
            order, took = moved(world, vm, to, f"way-{way}")
        assert clean.running() == {vm: clean.hosts[to]}
        assert holds(seen), (way, seen)
        done = world.migration.completed.get(order.key)
        shown[way] = f"{took:.1f} s" + ("" if done is None else f", downtime {done.downtime_ms} ms")
        assert not any("post-copy" in line or "downtime" in line for line in world.abilities)
        world.close()
    measured("ways of moving", shown)


def rewritten_mib_s(address: str) -> float:
    """What a guest that rewrites its memory writes by its own count, however little CPU it gets."""

    def count() -> float:
        lines = in_fabric(lambda: get(address, "/cgi-bin/stat", 20.0)).splitlines()
        return next((float(line.split()[1]) for line in lines if line.startswith("rewritten_mib")), 0.0)

    until(lambda: count() > 0.0, 60.0)
    begun, before = time.monotonic(), count()
    time.sleep(3.0)
    return (count() - before) / (time.monotonic() - begun)


def test_guest_that_writes_faster_than_it_can_be_copied_is_slowed_until_it_moves(
    clean: Testbed, measured: Callable[[str, object], None]
) -> None:
    vm = made(clean, "busy")
    world = clean.world()
    address = world._hands.traffic.servers("app")[vm].address  # type: ignore[union-attr]
    world.close()
    in_fabric(lambda: get(address, "/cgi-bin/load?dirty+8"))
    writes = rewritten_mib_s(address)
    link = min(8.0, max(1.0, writes // 3.0))
    # What may be left for the last round is far less than the 8 MiB that are rewritten while they are sent.
    said = {"bandwidth_mib_s": link, "downtime_ms": 40}
    plain = clean.world(migration=said)
    plain.observe()
    order = plain.order(migrate(plain.inventory().vm_slot[vm], 1), "busy-plain")
    assert plain.carry_out(order, 5.0).standing is Standing.UNDER_WAY
    # An idle guest is there in the third round.
    until(lambda: (p := plain.migration.progress(vm, "h1")) is None or p.iteration >= 6, 60.0 + 300.0 / link)
    assert plain.standing(order) is Standing.UNDER_WAY
    assert plain.compensate(order, 30.0).standing is Standing.UNTOUCHED
    plain.close()
    slowed = clean.world(migration={**said, "auto_converge": True})
    with watched(clean, vm, "h1") as seen:
        _, took = moved(slowed, vm, 1, "busy-slowed", 60.0 + 300.0 / link)
    assert clean.running() == {vm: "h2"}
    assert seen.throttle > 0
    shown = {"writes MiB/s": round(writes, 1), "link": link, "s": round(took, 1), "throttle": seen.throttle}
    measured("auto-converge", shown)
    slowed.close()


def test_move_is_watched_and_taken_back(clean: Testbed) -> None:
    vm = made(clean, "abort")
    world = clean.world(migration={"bandwidth_mib_s": 8.0})
    world.observe()
    order = world.order(migrate(world.inventory().vm_slot[vm], 1), "abort-move")
    box: list[Result] = []
    thread = threading.Thread(target=lambda: box.append(world.carry_out(order, 90.0)), daemon=True)
    thread.start()
    until(lambda: (p := world.migration.progress(vm, "h1")) is not None and p.sent_mib > 2.0, 40.0)
    before = world.migration.progress(vm, "h1")
    assert before is not None
    until(
        lambda: (p := world.migration.progress(vm, "h1")) is not None and p.sent_mib > before.sent_mib, 40.0
    )
    # Libvirt answers for an incoming copy only once it is there: neither a tick nor a question may wait for that.
    assert world.standing(order) is Standing.UNDER_WAY
    state = world.observe()
    assert world.migration.progress(vm, "h1") is not None  # it is not there yet
    assert not any("expected a sample" in line for line in world.troubles())
    slot = world.inventory().vm_slot[vm]
    assert (state.vms.host[slot], state.vms.destination[slot]) == (0, 1)
    assert world.inventory().vms[slot].managed
    assert world.compensate(order, 30.0).standing is Standing.UNTOUCHED
    thread.join(30.0)
    assert box[0].standing is Standing.UNTOUCHED
    assert "aborted" in box[0].error or "cancel" in box[0].error
    assert clean.running() == {vm: "h1"}
    world.cluster.call("h1", "speed", lambda conn: conn.lookupByName(vm).migrateSetMaxSpeed(1024, 0))
    assert settled(world, order).standing is Standing.DONE
    world.close()


@pytest.mark.parametrize("uri", ["qemu+unix:///system?socket=/no/such", "qemu+tcp://10.77.9.9/system"])
def test_destination_out_of_reach_is_an_error_and_the_guest_stays(clean: Testbed, uri: str) -> None:
    vm = made(clean, f"reach-{uri}")
    world = clean.world(hosts=clean.host_settings(h2={"peer_uri": uri}))
    world.observe()
    order = world.order(migrate(world.inventory().vm_slot[vm], 1), f"reach-move-{uri}")
    result = world.carry_out(order, 20.0)
    assert result.standing is Standing.UNTOUCHED
    assert "unable to connect" in result.error or "Failed to connect" in result.error
    assert world.cluster.hosts["h1"].connection.times_connected == 1  # it is the other's fault
    assert clean.running() == {vm: "h1"}
    world.close()


# -- transports --


def over(transport: str, who: str = "driver") -> Callable[[str], dict[str, str]]:
    """URIs of a host by a transport: as whoever has the key or certificate of ``who`` reaches it, and its peers."""

    def uris(host: str) -> dict[str, str]:
        address = f"10.77.0.{host[1:]}"
        if transport == "tls":
            uri = f"qemu+tls://{address}/system?pkipath="
            return {"uri": f"{uri}{STATE}/pki/{who}", "peer_uri": f"{uri}/etc/libvirt/pki"}
        uri = f"qemu+ssh://root@{address}/system?no_verify=1&keyfile={STATE}/ssh/"
        return {"uri": f"{uri}{who}", "peer_uri": f"{uri}driver"}

    return uris


def needs(transport: str) -> None:
    """The testbed's SSH server is fetched from Debian."""
    if transport == "ssh" and not (STATE / "ssh/x/usr/sbin/sshd").exists():
        pytest.skip("openssh-server could not be downloaded")


@pytest.mark.parametrize("transport", ["tls", "ssh"])
def test_hosts_are_driven_and_guests_moved_by_that_transport(
    clean: Testbed, transport: str, measured: Callable[[str, object], None]
) -> None:
    needs(transport)
    uris = over(transport)

    def act() -> float:
        world = clean.world(
            hosts=clean.host_settings(**{host: uris(host) for host in clean.hosts}),
            migration={"tls": transport == "tls", "bandwidth_mib_s": 1024.0},
        )
        made = spawned(world, 0)
        _, took = moved(world, made.vm, 1, f"move-by-{transport}")
        assert clean.running() == {made.vm: "h2"}
        assert not world.troubles()
        world.close()
        return took

    measured(f"move by {transport}, s", round(in_fabric(act), 1))


@pytest.mark.parametrize(
    ("transport", "says"), [("tls", "TLS"), ("ssh", "Cannot recv data")], ids=["tls", "ssh"]
)
def test_wrong_credentials_are_said_and_the_other_hosts_go_on(
    clean: Testbed, transport: str, says: str
) -> None:
    needs(transport)
    strange = over(transport, "stranger")

    def act() -> list[str]:
        world = clean.world(hosts=clean.host_settings(h2=strange("h2")), timeouts={"connect": 4.0})
        state = world.observe()
        assert state.hosts.age_s[0] < 5.0
        assert state.hosts.age_s[1] > 1e6
        found = list(world.troubles())
        world.close()
        return found

    (line,) = in_fabric(act)
    assert line.startswith("host h2: qemu+")
    assert says in line
    assert "\n" not in line


def test_memory_goes_to_no_host_that_another_authority_vouches_for(clean: Testbed) -> None:
    vm = made(clean, "vouched")
    theirs, kept = STATE / "h2/etc/pki", STATE / "h2/etc/pki.kept"
    shutil.copytree(theirs, kept)
    try:
        for name in ("cert", "key"):
            shutil.copy(STATE / f"pki/stranger/client{name}.pem", theirs / f"server-{name}.pem")
        world = clean.world(migration={"tls": True, "bandwidth_mib_s": 1024.0})
        world.observe()
        order = world.order(migrate(world.inventory().vm_slot[vm], 1), "vouched-move")
        result = settled(world, order)
        assert result.standing is Standing.UNTOUCHED
        assert "certificate" in result.error or "TLS" in result.error
        assert clean.running() == {vm: "h1"}
        world.close()
    finally:
        shutil.rmtree(theirs)
        kept.rename(theirs)


def test_no_host_at_all_by_wrong_credentials_is_a_world_that_does_not_answer(clean: Testbed) -> None:
    strange = over("tls", "stranger")

    def act() -> None:
        said = clean.host_settings(**{host: strange(host) for host in clean.hosts})
        world = clean.world(hosts=said, timeouts={"connect": 4.0})
        with pytest.raises(WorldError, match="expected one host at least to answer"):
            world.observe()
        world.close()

    in_fabric(act)
