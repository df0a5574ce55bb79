"""A guest's definition from its template: another name, UUID, MAC address, size, metadata; the rest as written."""

from __future__ import annotations

import hashlib
import uuid as uuids
import xml.etree.ElementTree as ET
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from foreshade.adapters.libvirt_world.allocation import CpuPlan
from foreshade.adapters.libvirt_world.library import said
from foreshade.adapters.libvirt_world.record import Record
from foreshade.envs.errors import InputError

_SPACE = uuids.UUID("4d000000-0000-5000-8000-00f0e5ade000")  # of the UUIDs that we make from names


@dataclass(frozen=True, slots=True)
class Identity:
    """What makes a guest another one than its twin."""

    name: str
    uuid: str
    mac: str


def identity(name: str, mac_prefix: str, taken: Iterable[str] = ()) -> Identity:
    """Always the same of one name, so that an order that is repeated makes the same guest.

    Raises:
        InputError: every address under the prefix that the name leads to is taken.

    """
    used = {mac.lower() for mac in taken}
    given = mac_prefix.count(":") + 1
    for attempt in range(256):
        digest = hashlib.sha256(f"{name}/{attempt}".encode()).digest()
        # 1 to 250: addresses that templates make of these bytes are neither a network's nor a broadcast.
        tail = [1 + byte % 250 for byte in digest[: 6 - given]]
        mac = ":".join([mac_prefix, *(f"{byte:02x}" for byte in tail)])
        if mac not in used:
            return Identity(name, str(uuids.uuid5(_SPACE, name)), mac)
    raise InputError(f"mac_prefix {mac_prefix}: expected a free address for {name}, found 256 that are taken")


def read_template(path: Path) -> str:
    """A template's XML.

    Raises:
        InputError: it cannot be read, or is not a domain's: file, expected, found.

    """
    try:
        text = path.read_text(encoding="utf-8")
        root = ET.fromstring(text)  # noqa: S314 - the operator's own file
    except (OSError, UnicodeDecodeError, ET.ParseError) as error:
        raise InputError(f"{path}: expected a domain's XML, found {said(error)}") from error
    if root.tag != "domain":
        raise InputError(f"{path}: expected a domain's XML, found <{root.tag}>")
    return text


def named(text: str, who: Identity, record: Record) -> ET.Element:
    """The definition with another identity and our metadata, its size untouched."""
    root = ET.fromstring(text)  # noqa: S314 - a template or libvirt's own text
    _set(root, "name", who.name)
    _set(root, "uuid", who.uuid)
    for old in root.findall("metadata"):
        root.remove(old)
    metadata = ET.Element("metadata")
    metadata.append(record.prefixed())
    root.insert(2, metadata)
    for number, mac in enumerate(root.iterfind("devices/interface/mac")):
        mac.set("address", _other(who.mac, number))
    for device in root.iterfind("devices/interface"):
        if device.find("mac") is None:
            ET.SubElement(device, "mac", address=who.mac)
        for target in device.findall("target"):
            device.remove(target)  # a tap of that name is its twin's
    for device in (*root.iterfind("devices/serial"), *root.iterfind("devices/console")):
        source = device.find("source")
        path = "" if source is None else source.get("path", "")
        if source is not None and path and device.get("type") == "file":
            source.set("path", str(Path(path).with_name(f"{who.name}.console")))
    for device in root.iterfind("devices/channel"):
        for source in device.findall("source"):
            device.remove(source)  # the agent's socket has its twin's name in it
    return root


def sized(root: ET.Element, cpu: CpuPlan, memory_mib: float) -> None:
    """Give it these CPUs and this memory; what its template has beyond stays as room to grow.

    A quota comes once it serves: a guest that is capped to a tenth of a CPU would take ten times as long to boot.
    """
    vcpu = root.find("vcpu")
    most = cpu.vcpus if vcpu is None else max(cpu.vcpus, int(vcpu.text or 1))
    if vcpu is None:
        vcpu = ET.SubElement(root, "vcpu")
    vcpu.text = str(most)
    vcpu.set("current", str(cpu.vcpus))
    kib = round(memory_mib * 1024)
    memory = root.find("memory")
    unit = {"b": 1 / 1024, "KiB": 1, "MiB": 1024, "GiB": 1024**2}
    if memory is None:
        memory = ET.SubElement(root, "memory", unit="KiB")
    else:
        most_kib = round(float(memory.text or 0) * unit.get(memory.get("unit", "KiB"), 1))
        if root.find("maxMemory") is None and most_kib < kib:
            memory.text, memory.attrib = str(kib), {"unit": "KiB"}
        most_kib = max(most_kib, kib) if root.find("maxMemory") is None else most_kib
        kib = min(kib, most_kib)
    current = root.find("currentMemory")
    if current is None:
        current = ET.Element("currentMemory")
        root.insert(list(root).index(memory) + 1, current)
    current.text, current.attrib = str(kib), {"unit": "KiB"}
    tune = root.find("cputune")
    if tune is None:
        tune = ET.SubElement(root, "cputune")
    for key in ("shares", "global_period", "global_quota"):
        for old in tune.findall(key):
            tune.remove(old)


def place_of(mac: str, pattern: str) -> str:
    """The address that a template's pattern makes of a MAC address: {a} to {f} are its bytes."""
    parts = mac.split(":")
    return pattern.format(**{key: int(part, 16) for key, part in zip("abcdef", parts, strict=True)})


def _other(mac: str, number: int) -> str:
    """Of a guest's further cards: the first byte that is ours to choose, moved on."""
    parts = mac.split(":")
    parts[4] = f"{(int(parts[4], 16) + number) % 256:02x}"
    return ":".join(parts)


def _set(root: ET.Element, tag: str, text: str) -> None:
    node = root.find(tag)
    if node is None:
        node = ET.Element(tag)
        root.insert(0, node)
    node.text = text
