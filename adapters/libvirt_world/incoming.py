"""A domain's definition, also while the domain is still being copied to its host.

Libvirt answers for the XML of an incoming copy only once the whole of it is there, which may take minutes; what
needs no job of the domain is answered at once.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from typing import Any

from foreshade.adapters.libvirt_world.domain import Definition, definition
from foreshade.adapters.libvirt_world.library import library
from foreshade.adapters.libvirt_world.record import NAMESPACE, Record, read_record
from foreshade.envs.errors import InputError


def is_incoming(state: int, reason: int) -> bool:
    """Whether a domain in this state may be a copy that is coming in; a source that is paused at its end is too."""
    libvirt = library()
    return (state, reason) == (libvirt.VIR_DOMAIN_PAUSED, libvirt.VIR_DOMAIN_PAUSED_MIGRATION)


def definition_of(domain: Any, state: int, reason: int) -> Definition:
    """What a virDomain is; of one that is coming in only its name, sizes and metadata.

    Raises:
        libvirtError: as libvirt has it.

    """
    if not is_incoming(state, reason):
        return definition(domain.XMLDesc(0))
    _, memory_kib, current_kib, vcpus, _ = domain.info()
    record, bad = _record(domain)
    return Definition(
        name=domain.name(),
        uuid=domain.UUIDString(),
        machine="",
        vcpus=vcpus,
        most_vcpus=vcpus,
        memory_mib=memory_kib / 1024.0,
        most_memory_mib=memory_kib / 1024.0,
        current_mib=current_kib / 1024.0,
        cores=float("inf"),
        shares=0,
        record=record,
        bad_record=bad,
    )


def _record(domain: Any) -> tuple[Record | None, str]:
    libvirt = library()
    try:
        text = domain.metadata(libvirt.VIR_DOMAIN_METADATA_ELEMENT, NAMESPACE, 0)
    except libvirt.libvirtError as error:
        if error.get_error_code() != libvirt.VIR_ERR_NO_DOMAIN_METADATA:
            raise
        return None, ""  # foreign
    try:
        return read_record(ET.fromstring(text)), ""  # noqa: S314 - libvirt's own answer
    except (InputError, ET.ParseError) as error:
        return None, str(error)
