"""What Foreshade writes into a domain's metadata, in an XML namespace of its own.

A domain without it is foreign: seen, counted, never touched. An operator who wants a VM of theirs managed writes it:

    virsh metadata NAME --uri https://foreshade.dev/domain/1 --key foreshade --set '<vm app="shop" template="web"/>'
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from foreshade.adapters.libvirt_world.library import library
from foreshade.envs.errors import InputError
from foreshade.envs.model.action import ActionKind, Allocation, five
from foreshade.envs.model.state import VmKind

NAMESPACE = "https://foreshade.dev/domain/1"
PREFIX = "foreshade"
PROTECTED = "protected"
_FORBIDS = "no-"  # tag "no-migrate" opts a VM out of one kind


@dataclass(frozen=True, slots=True)
class Record:
    """One VM as we keep it beside its definition."""

    app: str
    template: str = ""
    kind: VmKind = VmKind.PRODUCTION
    primary: str = ""  # name of the VM that this shadow stands for
    weight: float = 1.0  # share of the application's traffic, relative
    credit: float = 1.0  # multiplier of the SLA credit
    order: str = ""  # key of the order that made it
    made_s: float = 0.0  # Unix time at which that began, by the controller's clock
    spare: bool = False  # boots, pauses and waits
    fidelity: float = 0.0  # of a shadow: share of its primary's load it is to replay
    expires_s: float = 0.0  # Unix time at which a micro-VM goes; 0 = never
    moved_s: float = 0.0  # Unix time of the last migration by us; 0 = never
    address: str = ""  # where it serves, once known
    flavour: Allocation | None = None  # provisioned at spawn; None = what it has
    #: What no device of it expresses: disk, network and GPUs that were asked for
    allocation: Allocation | None = None
    tags: frozenset[str] = frozenset()
    affinity: frozenset[str] = frozenset()  # labels; VMs with one in common stand together
    anti_affinity: frozenset[str] = frozenset()  # labels; VMs with one in common stand apart

    @property
    def protected(self) -> bool:
        """Whether it is never to be touched."""
        return PROTECTED in self.tags

    @property
    def forbidden(self) -> frozenset[ActionKind]:
        """Kinds of action that its tags opt it out of."""
        names = {kind.name.lower(): kind for kind in ActionKind}
        said = {tag.removeprefix(_FORBIDS) for tag in self.tags if tag.startswith(_FORBIDS)}
        return frozenset(names[word] for word in said if word in names)

    def element(self) -> str:
        """As the XML element that libvirt keeps, without prefix."""
        root = ET.Element("vm", {"app": self.app})
        plain: Mapping[str, Any] = {
            "template": self.template,
            "kind": "" if self.kind is VmKind.PRODUCTION else self.kind.name.lower(),
            "primary": self.primary,
            "weight": "" if self.weight == 1.0 else repr(self.weight),
            "credit": "" if self.credit == 1.0 else repr(self.credit),
            "order": self.order,
            "made": repr(self.made_s) if self.made_s else "",
            "spare": "yes" if self.spare else "",
            "fidelity": repr(self.fidelity) if self.fidelity else "",
            "expires": repr(self.expires_s) if self.expires_s else "",
            "moved": repr(self.moved_s) if self.moved_s else "",
            "address": self.address,
            "flavour": _joined(self.flavour),
            "allocation": _joined(self.allocation),
        }
        for key, value in plain.items():
            if value:
                root.set(key, value)
        for name, words in (
            ("tag", self.tags),
            ("affinity", self.affinity),
            ("anti-affinity", self.anti_affinity),
        ):
            for word in sorted(words):
                ET.SubElement(root, name).text = word
        return ET.tostring(root, encoding="unicode")

    def prefixed(self) -> ET.Element:
        """As it stands inside a domain's ``<metadata>``."""
        root = ET.fromstring(self.element())  # noqa: S314 - our own text
        for node in root.iter():
            node.tag = f"{{{NAMESPACE}}}{node.tag}"
        return root


def _joined(allocation: Allocation | None) -> str:
    return "" if allocation is None else " ".join(repr(float(x)) for x in allocation)


def read_record(node: ET.Element) -> Record:
    """The record of an element, with or without namespace.

    Raises:
        InputError: something in it is not what it should be: which attribute, expected, found.

    """

    def number(key: str, default: float, least: float = 0.0) -> float:
        text = node.get(key, "")
        if not text:
            return default
        try:
            value = float(text)
        except ValueError:
            value = float("nan")
        if not least <= value < float("inf"):
            raise InputError(f"metadata {key}: expected a number of at least {least:g}, found {text!r}")
        return value

    def amounts(key: str) -> Allocation | None:
        words = node.get(key, "").split()
        if not words:
            return None
        try:
            values = [float(word) for word in words]
            if len(values) != 5 or not all(0 <= v < float("inf") for v in values):
                raise ValueError
        except ValueError:
            raise InputError(
                f"metadata {key}: expected five amounts (MHz, MiB, MiB/s, Mbit/s, GPUs), found {node.get(key)!r}"
            ) from None
        return five(values)

    def words(name: str) -> frozenset[str]:
        return frozenset(
            (child.text or "").strip() for child in node if child.tag.rpartition("}")[2] == name
        ) - {""}

    app = node.get("app", "").strip()
    if not app:
        raise InputError("metadata app: expected the name of an application, found none")
    kind = node.get("kind", VmKind.PRODUCTION.name.lower()).upper()
    if kind not in VmKind.__members__:
        known = ", ".join(k.name.lower() for k in VmKind)
        raise InputError(f"metadata kind: expected one of {known}, found {node.get('kind')!r}")
    return Record(
        app=app,
        template=node.get("template", ""),
        kind=VmKind[kind],
        primary=node.get("primary", ""),
        weight=number("weight", 1.0),
        credit=number("credit", 1.0),
        order=node.get("order", ""),
        made_s=number("made", 0.0),
        spare=node.get("spare", "") == "yes",
        fidelity=number("fidelity", 0.0),
        expires_s=number("expires", 0.0),
        moved_s=number("moved", 0.0),
        address=node.get("address", ""),
        flavour=amounts("flavour"),
        allocation=amounts("allocation"),
        tags=words("tag"),
        affinity=words("affinity"),
        anti_affinity=words("anti-affinity"),
    )


def write_record(domain: Any, record: Record) -> None:
    """Put the record into a domain's metadata, running and stored definition alike.

    Raises:
        libvirtError: as libvirt has it.

    """
    libvirt = library()
    flags = 0
    if domain.isActive():
        flags |= libvirt.VIR_DOMAIN_AFFECT_LIVE
    if domain.isPersistent():
        flags |= libvirt.VIR_DOMAIN_AFFECT_CONFIG
    domain.setMetadata(libvirt.VIR_DOMAIN_METADATA_ELEMENT, record.element(), PREFIX, NAMESPACE, flags)
