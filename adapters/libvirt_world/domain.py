"""A domain's definition as libvirt shows it, as a value."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from dataclasses import dataclass

from foreshade.adapters.libvirt_world.library import said
from foreshade.adapters.libvirt_world.record import NAMESPACE, Record, read_record
from foreshade.envs.errors import InputError, WorldError

AGENT_CHANNEL = "org.qemu.guest_agent.0"
_TO_MIB = {"b": 2**-20, "bytes": 2**-20, "KiB": 2**-10, "MiB": 1.0, "GiB": 2.0**10, "TiB": 2.0**20, "KB": 1e3 / 2**20,
           "MB": 1e6 / 2**20, "GB": 1e9 / 2**20, "k": 2**-10, "M": 1.0, "G": 2.0**10}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Interface:
    """A guest's network card."""

    mac: str
    device: str  # its name on the host; "" while it does not run
    inbound_kib_s: float = 0.0  # limits; 0 = none
    outbound_kib_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Disk:
    """A guest's disk."""

    target: str
    mib_s: float = 0.0  # limit of reads and writes together; 0 = none
    source: str = ""


@dataclass(frozen=True, slots=True)
class Definition:
    """What of a domain's XML the orchestration needs."""

    name: str
    uuid: str
    machine: str
    vcpus: int  # plugged
    most_vcpus: int
    memory_mib: float  # with which it booted and what has been plugged since: the balloon's ceiling
    most_memory_mib: float  # with everything that its memory devices could add
    current_mib: float  # the balloon's target
    cores: float  # that the CPU quota lets it use; inf = no quota
    shares: int  # 0 = not set
    interfaces: tuple[Interface, ...] = ()
    disks: tuple[Disk, ...] = ()
    has_agent: bool = False  # a channel for it is there
    agent_connected: bool = False
    has_balloon: bool = False
    virtio_mem_mib: tuple[float, float, float] | None = None  # size, requested, current
    gpus: int = 0
    record: Record | None = None
    bad_record: str = ""  # why the metadata cannot be read: then it is treated as foreign

    @property
    def micro(self) -> bool:
        """Whether it runs on the machine type for small guests, which can plug nothing."""
        return self.machine.startswith("microvm")


def definition(text: str) -> Definition:
    """Read a domain's XML.

    Raises:
        WorldError: it is not a domain's.

    """
    try:
        root = ET.fromstring(text)  # noqa: S314 - libvirt's own answer
    except ET.ParseError as error:
        raise WorldError(f"expected a domain's XML, found {said(error)}") from error
    record, bad = None, ""
    node = root.find(f"metadata/{{{NAMESPACE}}}vm")
    if node is not None:
        try:
            record = read_record(node)
        except InputError as error:
            bad = str(error)
    vcpu = root.find("vcpu")
    most = int((vcpu.text if vcpu is not None else None) or 1)
    current = int(vcpu.get("current", most)) if vcpu is not None else 1
    memory = _mib(root.find("memory"), 0.0)
    machine = root.find("os/type")
    channel = root.find(f"devices/channel/target[@name='{AGENT_CHANNEL}']")
    balloon = root.find("devices/memballoon")
    plugged = [node for node in root.iterfind("devices/memory") if node.get("model") == "virtio-mem"]
    virtio_mem = None
    most_memory = memory
    if plugged:
        target = plugged[0].find("target")
        sizes = [
            _mib(target.find(key) if target is not None else None, 0.0)
            for key in ("size", "requested", "current")
        ]
        virtio_mem = (sizes[0], sizes[1], sizes[2])
    return Definition(
        name=root.findtext("name", ""),
        uuid=root.findtext("uuid", ""),
        machine="" if machine is None else _machine(machine.get("machine", "")),
        vcpus=current,
        most_vcpus=most,
        memory_mib=memory,
        most_memory_mib=most_memory,
        current_mib=_mib(root.find("currentMemory"), memory),
        cores=_cores(root, current),
        shares=int(root.findtext("cputune/shares", "0")),
        interfaces=tuple(_interface(node) for node in root.iterfind("devices/interface")),
        disks=tuple(
            _disk(node) for node in root.iterfind("devices/disk") if node.get("device", "disk") == "disk"
        ),
        has_agent=channel is not None,
        agent_connected=channel is not None and channel.get("state") == "connected",
        has_balloon=balloon is not None and balloon.get("model", "none") != "none",
        virtio_mem_mib=virtio_mem,
        gpus=sum(node.get("type") in ("pci", "mdev") for node in root.iterfind("devices/hostdev")),
        record=record,
        bad_record=bad,
    )


def _machine(name: str) -> str:
    """Without the version that libvirt resolves it to: pc-q35-10.0 is q35, microvm stays."""
    for known in ("q35", "microvm"):
        if known in name:
            return known
    return name


def _mib(node: ET.Element | None, default: float) -> float:
    if node is None or not (node.text or "").strip():
        return default
    return float(node.text or 0) * _TO_MIB.get(node.get("unit", "KiB"), 2**-10)


def _cores(root: ET.Element, vcpus: int) -> float:
    """CPUs that quotas let it use: libvirt's are per vCPU or of the whole domain, in microseconds a period."""
    whole = float("inf")
    tune = root.find("cputune")
    if tune is None:
        return whole
    for quota_key, period_key, times in (("quota", "period", vcpus), ("global_quota", "global_period", 1)):
        quota = float(tune.findtext(quota_key, "-1"))
        period = float(tune.findtext(period_key, "100000"))
        if quota > 0 and period > 0:
            whole = min(whole, times * quota / period)
    return whole


def _interface(node: ET.Element) -> Interface:
    mac, target = node.find("mac"), node.find("target")

    def average(way: str) -> float:
        limit = node.find(f"bandwidth/{way}")
        return 0.0 if limit is None else float(limit.get("average", "0"))

    return Interface(
        "" if mac is None else mac.get("address", ""),
        "" if target is None else target.get("dev", ""),
        average("inbound"),
        average("outbound"),
    )


def _disk(node: ET.Element) -> Disk:
    target, source = node.find("target"), node.find("source")
    limit = float(node.findtext("iotune/total_bytes_sec", "0")) / 2**20
    where = "" if source is None else next(iter(source.attrib.values()), "")
    return Disk("" if target is None else target.get("dev", ""), limit, where)
