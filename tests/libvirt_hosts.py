"""Hosts of libvirt's test driver, for tests that need no hypervisor: it makes, changes and ends guests, and can
neither migrate nor measure them.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from foreshade.adapters.libvirt_world.connection import Retries
from foreshade.adapters.libvirt_world.guest_template import identity, named
from foreshade.adapters.libvirt_world.record import Record
from foreshade.adapters.libvirt_world.settings import LibvirtSettings
from foreshade.adapters.libvirt_world.world import LibvirtWorld
from foreshade.adapters.traffic import FakeTraffic

needs_libvirt = pytest.importorskip(
    "libvirt",
    reason="libvirt-python is not installed: apt-get install libvirt-dev pkg-config, then make test",
)

GUEST = """<domain type='test'><name>web</name><memory unit='MiB'>1024</memory><vcpu current='1'>4</vcpu>
  <os><type>hvm</type></os><devices><interface type='bridge'><source bridge='br0'/></interface>
  <memballoon model='virtio'/></devices></domain>"""
#: 8 CPUs of 1 GHz and 16 GiB.
NODE = """<node><cpu><mhz>1000</mhz><model>x86_64</model><active>8</active><nodes>1</nodes><sockets>1</sockets>
  <cores>8</cores><threads>1</threads></cpu><memory>16777216</memory>{guests}</node>"""
SIZE = (1000.0, 512.0, 0.0, 0.0, 0.0)  # of a guest, as its host's profile has it: see ``settings``


def guest(name: str, record: Record | None) -> str:
    """A guest that runs when the host is opened; without record it is foreign."""
    import xml.etree.ElementTree as ET  # noqa: PLC0415

    root = named(GUEST, identity(name, "52:54:00:46"), record or Record("nobody"))
    if record is None:
        root.remove(next(iter(root.findall("metadata"))))
    return ET.tostring(root, encoding="unicode")


def settings(
    folder: Path, guests: Mapping[str, Mapping[str, Record | None]], **changes: Any
) -> LibvirtSettings:
    """Hosts by name with their guests by name; every host's core is worth 1,000 MHz to guests."""
    hosts = []
    for host, here in guests.items():
        node = folder / f"{host}.xml"
        node.write_text(NODE.format(guests="".join(guest(name, record) for name, record in here.items())))
        hosts.append({"name": host, "uri": f"test://{node}", "mhz": 1000.0 / 0.98})
    template = folder / "web.xml"
    template.write_text(GUEST)
    said: dict[str, Any] = {
        "hosts": tuple(hosts),
        "templates": {
            "web": {
                "domain": str(template),
                "microvm": str(template),
                "ready": "running",
                "address": "10.0.{e}.{f}",
            }
        },
        "apps": {"shop": {"template": "web"}},
        "tick_s": 0.2,
        "timeouts": {"connect": 60.0, "call": 60.0, "sample": 60.0, "stale": 60.0},  # of a busy machine
    }
    return LibvirtSettings.model_validate({**said, **changes})


def world(said: LibvirtSettings, traffic: FakeTraffic | None = None, **parts: Any) -> LibvirtWorld:
    """A world of them, observed once."""
    made = LibvirtWorld(said, traffic=traffic, retries=Retries(first_s=0.05, most_s=0.2), **parts)
    made.observe()
    return made
