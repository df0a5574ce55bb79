"""Disks of guests that are made from a template: overlays on its images, in a storage pool that libvirt manages."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from typing import Any

from foreshade.adapters.libvirt_world.library import library, said
from foreshade.envs.errors import WorldError


def volume_name(guest: str, target: str) -> str:
    """Of one disk of one guest."""
    return f"{guest}.{target}.qcow2"


def make_overlays(conn: Any, pool_name: str, root: ET.Element, guest: str) -> None:
    """Give every disk of the definition that has an image a volume of its own on top of it; what is there stays.

    Raises:
        WorldError: the pool, or an image in it, is not there.

    """
    libvirt = library()
    try:
        pool = conn.storagePoolLookupByName(pool_name)
        for disk in root.iterfind("devices/disk"):
            source, target = disk.find("source"), disk.find("target")
            if (
                disk.get("device", "disk") != "disk"
                or source is None
                or target is None
                or not source.get("file")
            ):
                continue
            base = conn.storageVolLookupByPath(source.get("file"))
            name = volume_name(guest, target.get("dev", "vda"))
            if name not in pool.listVolumes():
                pool.createXML(_overlay(name, base), 0)
            volume = pool.storageVolLookupByName(name)
            source.set("file", volume.path())
            driver = disk.find("driver")
            if driver is None:
                driver = ET.SubElement(disk, "driver", name="qemu")
            driver.set("type", "qcow2")
    except libvirt.libvirtError as error:
        raise WorldError(f"pool {pool_name}: expected a disk for {guest}, found {said(error)}") from error


def make_room(conn: Any, pool_name: str, root: ET.Element, guest: str) -> None:
    """Empty volumes on a destination, on top of the same images, for the disks that a migration copies there.

    Raises:
        WorldError: the pool, or an image in it, is not there.

    """
    libvirt = library()
    try:
        pool = conn.storagePoolLookupByName(pool_name)
        there = pool.listVolumes()
        for disk in root.iterfind("devices/disk"):
            target, below = disk.find("target"), disk.find("backingStore/source")
            if disk.get("device", "disk") != "disk" or target is None or below is None:
                continue
            name = volume_name(guest, target.get("dev", "vda"))
            if name not in there:
                pool.createXML(_overlay(name, conn.storageVolLookupByPath(below.get("file"))), 0)
    except libvirt.libvirtError as error:
        raise WorldError(f"pool {pool_name}: expected room for {guest}, found {said(error)}") from error


def _overlay(name: str, base: Any) -> str:
    about = ET.fromstring(base.XMLDesc(0))  # noqa: S314 - libvirt's own answer
    kind = about.find("target/format")
    root = ET.Element("volume")
    ET.SubElement(root, "name").text = name
    ET.SubElement(root, "capacity", unit="bytes").text = str(base.info()[1])
    target = ET.SubElement(root, "target")
    ET.SubElement(target, "format", type="qcow2")
    backing = ET.SubElement(root, "backingStore")
    ET.SubElement(backing, "path").text = base.path()
    ET.SubElement(backing, "format", type="raw" if kind is None else kind.get("type", "raw"))
    return ET.tostring(root, encoding="unicode")


def remove_overlays(conn: Any, pool_name: str, guest: str) -> None:
    """Delete the volumes that ``make_overlays`` made for a guest; none is none.

    Raises:
        WorldError: one cannot be deleted.

    """
    libvirt = library()
    try:
        pool = conn.storagePoolLookupByName(pool_name)
        for name in pool.listVolumes():
            if name.startswith(f"{guest}.") and name.endswith(".qcow2"):
                pool.storageVolLookupByName(name).delete(0)
    except libvirt.libvirtError as error:
        raise WorldError(f"pool {pool_name}: expected no disk of {guest}, found {said(error)}") from error
