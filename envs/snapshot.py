"""A cluster at one instant as a value: arrays by column with the names of its slots, that can be kept and sent."""

from __future__ import annotations

import io
import json
import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from foreshade._core import ClusterState
from foreshade.envs.errors import InputError
from foreshade.envs.inventory import HostFacts, Inventory, VmFacts
from foreshade.envs.model.action import ActionKind
from foreshade.envs.model.state import VmState
from foreshade.envs.site import Economy, Site, SiteWindow

Columns = Mapping[str, npt.NDArray[Any]]

HOSTS = (
    "capacity", "allocated", "usage", "overcommit", "contention", "power_w", "idle_w", "peak_w", "boot_s",
    "price_usd_h", "hazard_per_h", "hazard_confidence", "since_s", "age_s", "n_vms", "arriving", "rack", "zone",
    "model", "profile", "state", "anomaly",
)  # fmt: skip
VMS = (
    "flavour", "allocation", "usage", "demand", "contention", "weight", "credit", "since_move_s", "age_s",
    "anomaly_p", "widen", "birth", "app", "host", "destination", "primary", "state", "kind", "anomaly",
)  # fmt: skip
FORECASTS = ("moments", "quantiles", "levels", "horizons", "series", "share", "memory_share")
FOREIGN = max(VmState) + 1
VM_WORDS = (*(state.name.lower() for state in VmState), "foreign")  # by code of ``Snapshot.vm_states``
_FORMAT = 1


@dataclass(frozen=True)
class Snapshot:
    """Every column of a ``ClusterState``, in its units and shapes, that nobody writes to any more."""

    tick: int
    time_s: float  # since the scenario's start
    unix_s: float
    hosts: Columns
    vms: Columns
    forecasts: Columns
    inventory: Inventory
    site: Site

    @classmethod
    def of(cls, state: ClusterState, inventory: Inventory, site: Site, unix_s: float) -> Snapshot:
        """Copy a state."""
        return cls(
            state.tick,
            state.time_s,
            unix_s,
            {name: getattr(state.hosts, name).copy() for name in HOSTS},
            {name: getattr(state.vms, name).copy() for name in VMS},
            {name: getattr(state.forecasts, name).copy() for name in FORECASTS},
            inventory,
            site,
        )

    @cached_property
    def names(self) -> list[str]:
        """Of VMs, by slot; "" where it is free."""
        return [facts.name for facts in self.inventory.vms]

    @cached_property
    def vm_states(self) -> npt.NDArray[np.int64]:
        """(n_vms,) codes as people are shown them: ``VmState``, or ``FOREIGN`` where a VM is not ours.

        The state that decisions are made on knows no such thing: it shows somebody else's VM as one that is under
        way, so that nobody moves it.
        """
        states = self.vms["state"].astype(np.int64)
        managed = np.array([one.managed for one in self.inventory.vms], dtype=bool)[: len(states)]
        foreign = np.zeros(len(states), dtype=bool)
        foreign[: len(managed)] = ~managed
        return np.asarray(np.where(foreign & (states != VmState.ABSENT), FOREIGN, states), np.int64)

    def to_bytes(self) -> bytes:
        """The same as bytes, without pickles."""
        arrays = {
            f"{part}.{name}": column
            for part in ("hosts", "vms", "forecasts")
            for name, column in getattr(self, part).items()
        }
        site_arrays, site_said = _site_to_json(self.site)
        arrays.update(site_arrays)
        said = {
            "format": _FORMAT,
            **{name: getattr(self, name) for name in ("tick", "time_s", "unix_s")},
            "site": site_said,
            "inventory": _inventory_to_json(self.inventory),
        }
        text = np.frombuffer(json.dumps(said).encode(), dtype=np.uint8)
        out = io.BytesIO()
        np.savez(out, said=text, **arrays)
        return zlib.compress(out.getvalue(), 1)

    @classmethod
    def from_bytes(cls, data: bytes) -> Snapshot:
        """The snapshot of ``to_bytes``.

        Raises:
            InputError: it is none, or of another format.

        """
        try:
            with np.load(io.BytesIO(zlib.decompress(data)), allow_pickle=False) as file:
                arrays = {name: file[name] for name in file.files}
            said = json.loads(arrays.pop("said").tobytes())
        except (ValueError, KeyError, OSError, zlib.error) as error:
            raise InputError(f"snapshot: expected one of this program, found {error}") from error
        if said["format"] != _FORMAT:
            raise InputError(f"snapshot: expected format {_FORMAT}, found {said['format']}")
        parts: dict[str, dict[str, npt.NDArray[Any]]] = {"hosts": {}, "vms": {}, "forecasts": {}, "site": {}}
        for name, column in arrays.items():
            part, _, key = name.partition(".")
            parts[part][key] = column
        return cls(
            said["tick"],
            said["time_s"],
            said["unix_s"],
            parts["hosts"],
            parts["vms"],
            parts["forecasts"],
            _inventory_from_json(said["inventory"]),
            _site_from_json(parts["site"], said["site"]),
        )


def _inventory_to_json(inventory: Inventory) -> dict[str, Any]:
    def plain(facts: HostFacts | VmFacts) -> dict[str, Any]:
        usual = _USUAL[type(facts)]
        said: dict[str, Any] = {key: now for key, was in usual.items() if (now := getattr(facts, key)) != was}
        for labels in ("tags", "together", "apart"):
            if labels in said:
                said[labels] = sorted(said[labels])
        if "forbidden" in said:
            said["forbidden"] = sorted(kind.name for kind in said["forbidden"])
        return said

    return {
        "hosts": [plain(host) for host in inventory.hosts],
        "vms": [plain(vm) for vm in inventory.vms],
        "apps": list(inventory.apps),
        "racks": list(inventory.racks),
        "zones": list(inventory.zones),
        "generation": inventory.generation,
    }


_USUAL: Mapping[type, Mapping[str, object]] = {VmFacts: asdict(VmFacts()), HostFacts: asdict(HostFacts(""))}


def _inventory_from_json(said: Mapping[str, Any]) -> Inventory:
    def host(one: Mapping[str, Any]) -> HostFacts:
        return HostFacts(**{"name": "", **one, "tags": frozenset(one.get("tags", ()))})

    def vm(one: Mapping[str, Any]) -> VmFacts:
        forbidden = frozenset(ActionKind[name] for name in one.get("forbidden", ()))
        labels = {key: frozenset(one.get(key, ())) for key in ("tags", "together", "apart")}
        return VmFacts(**{**one, **labels, "forbidden": forbidden})

    return Inventory(
        tuple(host(one) for one in said["hosts"]),
        tuple(vm(one) for one in said["vms"]),
        tuple(said["apps"]),
        tuple(said["racks"]),
        tuple(said["zones"]),
        said["generation"],
    )


#: What a site is told and a snapshot is not asked for: rules about places, which are native.
_NOT_KEPT = frozenset({"affinity"})


def _site_to_json(site: Site) -> tuple[dict[str, npt.NDArray[Any]], dict[str, Any]]:
    """Arrays and the rest; the tariffs whole, as ticks count from the site's start."""
    arrays: dict[str, npt.NDArray[Any]] = {}
    said: dict[str, Any] = {
        "capabilities": sorted(kind.name for kind in site.capabilities),
        "windows": [asdict(window) for window in site.windows],
    }
    for field_ in fields(Site):
        value = getattr(site, field_.name)
        if isinstance(value, np.ndarray):
            arrays[f"site.{field_.name}"] = value
        elif field_.name not in said and field_.name != "economy" and field_.name not in _NOT_KEPT:
            said[field_.name] = value
    economy = {}
    for field_ in fields(Economy):
        value = getattr(site.economy, field_.name)
        if isinstance(value, np.ndarray):
            arrays[f"site.economy.{field_.name}"] = value
        else:
            economy[field_.name] = value
    return arrays, {**said, "economy": economy}


def _site_from_json(arrays: Columns, said: Mapping[str, Any]) -> Site:
    own: dict[str, Any] = {name: column for name, column in arrays.items() if not name.startswith("economy.")}
    apart = ("economy", "capabilities", "windows")
    own |= {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in said.items()
        if name not in apart
    }
    economy: dict[str, Any] = {
        name.removeprefix("economy."): column for name, column in arrays.items() if name not in own
    }
    economy |= {**said["economy"], "unmet_usd_h": tuple(said["economy"]["unmet_usd_h"])}
    return Site(
        **own,
        capabilities=frozenset(ActionKind[name] for name in said["capabilities"]),
        windows=tuple(SiteWindow(**{**one, "hosts": tuple(one["hosts"])}) for one in said["windows"]),
        economy=Economy(**economy),
    )
