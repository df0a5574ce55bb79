"""What the libvirt world is made of, without libvirt: definitions, metadata, templates, images, rates, slots."""

from __future__ import annotations

import struct
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from foreshade.adapters.libvirt_world.allocation import cpu_plan, same, shown
from foreshade.adapters.libvirt_world.connection import unattended
from foreshade.adapters.libvirt_world.domain import definition
from foreshade.adapters.libvirt_world.guest_template import identity, named, place_of, sized
from foreshade.adapters.libvirt_world.record import Record, read_record
from foreshade.adapters.libvirt_world.sample import DomainCounters, HostSample, NodeCounters
from foreshade.adapters.libvirt_world.save_image import twin
from foreshade.adapters.libvirt_world.settings import LibvirtSettings
from foreshade.adapters.libvirt_world.site import HostSize
from foreshade.adapters.libvirt_world.slots import LEAST, Slots
from foreshade.adapters.libvirt_world.telemetry import LastReadings, Meter, Reading, VmReadings
from foreshade.envs.errors import InputError, ScenarioError, WorldError
from foreshade.envs.model.action import ActionKind
from foreshade.envs.model.state import VmKind
from foreshade.envs.yaml_document import build, parse

SIZE = HostSize((8000.0, 4096.0, 0, 0, 0), (4.0, 1.0, 4.0, 4.0, 1.0), 8, 1000.0, 0.0, 0.0, 0.0, 0.0, 0.0)
LIVE = """<domain type='kvm' id='3'><name>web-1</name><uuid>u-1</uuid>
  <metadata><f:vm xmlns:f="https://foreshade.dev/domain/1" app="shop" weight="0.5" kind="shadow" primary="web-0">
    <f:tag>no-migrate</f:tag><f:anti-affinity>db</f:anti-affinity></f:vm></metadata>
  <memory unit='GiB'>2</memory><currentMemory unit='KiB'>1048576</currentMemory><vcpu current='2'>4</vcpu>
  <cputune><shares>512</shares><global_period>100000</global_period><global_quota>150000</global_quota></cputune>
  <os><type machine='pc-q35-10.0'>hvm</type></os><devices>
  <interface type='bridge'><mac address='52:54:00:00:00:01'/><target dev='vnet3'/>
    <bandwidth><inbound average='6104'/><outbound average='6104'/></bandwidth></interface>
  <disk type='file' device='disk'><source file='/i.qcow2'/><target dev='vda'/>
    <iotune><total_bytes_sec>20971520</total_bytes_sec></iotune></disk>
  <disk type='file' device='cdrom'><target dev='sda'/></disk>
  <channel type='unix'><target name='org.qemu.guest_agent.0' state='connected'/></channel>
  <memballoon model='virtio'/></devices></domain>"""


def test_definition_is_read_with_its_units() -> None:
    said = definition(LIVE)
    assert (said.name, said.machine, said.vcpus, said.most_vcpus) == ("web-1", "q35", 2, 4)
    assert (said.memory_mib, said.current_mib, said.cores, said.shares) == (2048.0, 1024.0, 1.5, 512)
    assert (said.agent_connected, said.has_balloon, [d.target for d in said.disks]) == (True, True, ["vda"])
    assert said.record is not None
    assert (said.record.kind, said.record.primary, said.record.weight) == (VmKind.SHADOW, "web-0", 0.5)
    assert said.record.forbidden == {ActionKind.MIGRATE}
    # 1.5 CPUs of 1,000 MHz; the balloon; 20 MiB/s; 2 x 6,104 KiB/s are 100 Mbit/s.
    assert shown(said, None, SIZE) == pytest.approx((1500.0, 1024.0, 20.0, 100.0, 0.0), rel=1e-3)


@pytest.mark.parametrize("mhz", [100.0, 700.0, 1000.0, 1500.0, 3999.0, 4000.0])
def test_cpu_plan_gives_what_is_then_shown(mhz: float) -> None:
    plan = cpu_plan(mhz, SIZE, 4)
    cores = min(float(plan.vcpus), plan.cores)
    assert cores * SIZE.core_mhz == pytest.approx(mhz, rel=0.02)
    assert plan.vcpus == -(-mhz // 1000) or abs(mhz / 1000 - plan.vcpus) <= 0.02 * plan.vcpus


def test_amounts_are_the_same_within_what_a_balloon_can_hit() -> None:
    assert same((1000, 512, 0, 100, 0), (1010, 513, 0, 100.1, 0)) == (True,) * 5
    assert same((1000, 512, 0, 0, 0), (1100, 540, 0, 5, 1)) == (False, False, True, False, False)


def test_record_survives_its_own_xml() -> None:
    record = Record(
        "shop",
        "web",
        VmKind.MICRO,
        weight=0.25,
        expires_s=12.5,
        order='a "quoted" key',
        flavour=(1.0, 2.0, 3.0, 4.0, 5.0),
        tags=frozenset({"protected", "gold"}),
        affinity=frozenset({"x"}),
    )
    assert read_record(ET.fromstring(record.element())) == record
    assert record.protected


@pytest.mark.parametrize(
    ("element", "says"),
    [
        ("<vm/>", "metadata app: expected the name of an application, found none"),
        ('<vm app="a" kind="big"/>', "metadata kind: expected one of production, shadow, micro, found 'big'"),
        ('<vm app="a" weight="nan"/>', "metadata weight: expected a number of at least 0, found 'nan'"),
        ('<vm app="a" flavour="1 2 3"/>', "metadata flavour: expected five amounts"),
    ],
)
def test_record_that_cannot_be_is_refused(element: str, says: str) -> None:
    with pytest.raises(InputError, match=says):
        read_record(ET.fromstring(element))


def test_guest_is_made_of_its_template_with_nothing_of_its_twin_left() -> None:
    who = identity("shop-1", "52:54:00:4d")
    root = named(LIVE.replace("f:vm", "f:old"), who, Record("shop"))
    sized(root, cpu_plan(2500.0, SIZE, 4), 4096.0)
    said = definition(ET.tostring(root, encoding="unicode"))
    assert (said.name, said.uuid, said.interfaces[0].mac) == (who.name, who.uuid, who.mac)
    assert (said.vcpus, said.most_vcpus, said.memory_mib, said.current_mib) == (3, 4, 4096.0, 4096.0)
    assert said.record == Record("shop")
    assert "vnet3" not in ET.tostring(root, encoding="unicode")


def test_identity_is_always_the_same_and_avoids_taken_addresses() -> None:
    first = identity("shop-1", "52:54:00:4d")
    assert identity("shop-1", "52:54:00:4d") == first
    other = identity("shop-1", "52:54:00:4d", [first.mac.upper()])
    assert (other.uuid, other.mac != first.mac) == (first.uuid, True)
    assert place_of("52:54:00:4d:0a:0b", "10.77.{e}.{f}") == "10.77.10.11"


def image(xml: str, cookie: bytes = b"") -> bytes:
    """A saved image as libvirt lays it out."""
    area = xml.encode() + b"\0" * 7 + cookie
    words = [2, len(area), 1, 0, len(area) - len(cookie) if cookie else 0, *[0] * 14]
    return b"LibvirtQemudSave" + struct.pack("=19I", *words) + area + b"QEVM stream"


@pytest.mark.parametrize("cookie", [b"", b"<cookie/>\0"])
def test_saved_image_gets_another_identity_and_keeps_its_stream(tmp_path: Path, cookie: bytes) -> None:
    source, target = tmp_path / "a", tmp_path / "b"
    source.write_bytes(image("<domain>web</domain>", cookie))
    twin(source, target, lambda text: text.replace("web", "a-longer-name"))
    made = target.read_bytes()
    words = struct.unpack("=19I", made[16:92])
    area = made[92 : 92 + words[1]]
    assert area.split(b"\0")[0] == b"<domain>a-longer-name</domain>"
    assert area[words[4] :] == cookie if cookie else words[4] == 0
    assert made[92 + words[1] :] == b"QEVM stream"


def test_file_that_is_no_saved_image_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"something else altogether, long enough")
    with pytest.raises(WorldError, match="expected a saved image, found b'something else a"):
        twin(tmp_path / "a", tmp_path / "b", str)
    assert not (tmp_path / "b").exists()


def sample(at_s: float, **counters: object) -> HostSample:
    """One running domain ``u-1``."""
    node = NodeCounters(2, 1000, 4096.0, 1024.0, int(at_s * 1e9), int(at_s * 2e9))
    said = DomainCounters(definition(LIVE), 1, 0, **counters)  # type: ignore[arg-type]
    return HostSample(at_s, node, {"u-1": said})


def test_rates_come_of_two_samples_and_contention_of_the_wait() -> None:
    meter = Meter()
    meter.add(sample(10.0, cpu_ns=0, delay_ns=0, disk_bytes=0, network_bytes=0))
    assert meter.vms["u-1"].cores is None
    meter.add(sample(12.0, cpu_ns=1_500_000_000, delay_ns=500_000_000, disk_bytes=2**21, network_bytes=10**6))
    now = meter.vms["u-1"]
    assert [r.value for r in (now.cores, now.contention, now.disk_mib_s, now.network_mbit) if r] == [
        0.75,
        0.25,
        1.0,
        4.0,
    ]
    assert meter.host.busy is not None
    assert meter.host.busy.value == 0.5
    assert now.age_s(15.0) == 3.0


def test_what_is_missing_or_began_again_keeps_its_last_value_and_ages() -> None:
    meter = Meter()
    meter.add(sample(10.0, cpu_ns=0))
    meter.add(sample(12.0, cpu_ns=10**9))
    meter.add(sample(14.0, cpu_ns=5))
    meter.add(sample(16.0))
    assert meter.vms["u-1"].cores is not None
    assert (meter.vms["u-1"].cores.value, meter.vms["u-1"].age_s(16.0)) == (0.5, 4.0)


def test_guest_that_has_just_moved_is_no_unknown_load() -> None:
    last = LastReadings()
    there = VmReadings(cores=Reading(0.25, 10.0), memory_mib=Reading(64.0, 9.0))
    assert last.of("u-1", there) == there
    arrived = VmReadings(memory_mib=Reading(70.0, 20.0))  # its new host has one sample so far, and no rate
    assert last.of("u-1", arrived) == VmReadings(cores=Reading(0.25, 10.0), memory_mib=Reading(70.0, 20.0))
    rated = VmReadings(cores=Reading(0.5, 30.0))
    assert last.of("u-1", rated).cores == Reading(0.5, 30.0)
    assert last.of("u-2", VmReadings()) == VmReadings()  # a new one is unknown
    last.keep({"u-2"})
    assert last.of("u-1", VmReadings()).cores is None


def test_balloon_that_stopped_telling_is_no_news() -> None:
    meter = Meter()
    told = {"guest_available_mib": 900.0, "guest_usable_mib": 500.0, "guest_told_s": 77}
    meter.add(sample(10.0, cpu_ns=0, **told))
    meter.add(sample(20.0, cpu_ns=10, **told))
    memory = meter.vms["u-1"].memory_mib
    assert memory is not None
    assert (memory.value, memory.at_s) == (400.0, 10.0)


def test_slots_are_kept_and_used_again_with_another_birth() -> None:
    slots = Slots()
    slots.update(["a", "b"], ["x"])
    generation, birth = slots.generation, slots.births[slots.slot("a")]
    slots.update(["b", "c"], ["x"])
    assert (slots.slot("a"), slots.generation) == (-1, generation)
    assert slots.births[slots.slot("c")] > birth
    kept = slots.slot("b")
    slots.update([f"n{i}" for i in range(LEAST)] + ["b"], ["x", "y"])
    assert (slots.slot("b"), slots.n, slots.apps) == (kept, 4 * LEAST, ["x", "y"])
    assert slots.generation > generation


@pytest.mark.parametrize(
    ("uri", "opened"),
    [
        ("qemu+ssh://root@kvm1/system", "qemu+ssh://root@kvm1/system?no_tty=1"),
        ("qemu+libssh2://k/system?keyfile=x", "qemu+libssh2://k/system?keyfile=x&no_tty=1"),
        ("qemu+tls://kvm1/system", "qemu+tls://kvm1/system"),
        ("qemu:///system", "qemu:///system"),
    ],
)
def test_ssh_never_asks_a_person(uri: str, opened: str) -> None:
    assert unattended(uri) == opened
    with pytest.raises(InputError, match="expected a libvirt URI"):
        unattended("kvm1")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("hosts: [{name: a, uri: 'qemu:///system', cpu: 4}]", r"x.yaml:1: hosts\[0\].cpu: .*unknown key"),
        (
            "hosts:\n- {name: a, uri: u:///}\n- {name: a, uri: u:///}",
            "expected each host once, found a again",
        ),
        ("hosts: [{name: a, uri: u:///, saves: /x}]", "expected both of saves, saves_here, found one"),
        (
            "hosts: [{name: a, uri: u:///}]\napps: {s: {template: t}}",
            "expected a template of apps.s, found none named",
        ),
        ("hosts: []", "x.yaml:1: hosts: expected at least 1, found a list of 0"),
        (
            "hosts: [{name: a, uri: u:///}]\nmigration: {mode: tunnelled, tls: true}",
            "x.yaml:2: migration: expected mode peer or direct with tls, found tunnelled",
        ),
    ],
)
def test_settings_that_cannot_be_are_refused(text: str, says: str) -> None:
    with pytest.raises(ScenarioError, match=says):
        build(LibvirtSettings, parse(text, "x.yaml"))
