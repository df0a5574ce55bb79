"""PlanetLab CPU days (CoMon), as shipped with CloudSim: ``DAY/NAME``, 288 integer percents at 300 s.

The VMs' sizes are not in the data: they are those of CloudSim's power benchmark, by quarter of the index
(Beloglazov & Buyya, CCPE 24(13), 2012), so that a result can be set beside the published ones.
"""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime

import numpy as np
import numpy.typing as npt

from foreshade.envs.errors import WorkloadError
from foreshade.envs.workloads.archive import locate, read_members
from foreshade.envs.workloads.trace import Trace, VmTable

STEP_S = 300
SLOTS_PER_DAY = 288
#: MIPS (one core, taken as MHz) and MB (taken as MiB) of the four VM types of the benchmark.
VM_TYPES = ((2500.0, 870.0), (2000.0, 1740.0), (1000.0, 1740.0), (500.0, 613.0))

_DAY_FILE = re.compile(r"(?:^|/)(\d{8})/([^/]+)$")
Percent = npt.NDArray[np.uint8]


def read_planetlab(path: str, *, day: str | None = None) -> Trace:
    """Read one day or all days below a folder or archive.

    Days are laid end to end on one clock (the published ones are not consecutive); the VMs of a day arrive
    with it and depart with it. A day's VMs are ordered by upper-cased name.

    Args:
        path: ``DIR/20110303``, ``DIR``, ``ARCHIVE`` or ``ARCHIVE/20110303``.
        day: only this day, as the folder is called.

    Raises:
        WorkloadError: no day, a file without 288 lines, or a line that is not an integer of 0 to 100.

    """
    days = _read_days(path, day)
    many = len(days) > 1
    names: list[str] = []
    cpu = np.full((SLOTS_PER_DAY * len(days), sum(len(n) for n, _ in days.values())), np.nan, np.float32)
    mhz: list[np.ndarray] = []
    memory: list[np.ndarray] = []
    begin: list[np.ndarray] = []
    for row, (name_of_day, (vm_names, percent)) in enumerate(sorted(days.items())):
        kind = vm_type(len(vm_names))
        rating = np.array([VM_TYPES[k][0] for k in kind], np.float32)
        first = len(names)
        cpu[row * SLOTS_PER_DAY : (row + 1) * SLOTS_PER_DAY, first : first + len(vm_names)] = (
            percent.T.astype(np.float32) * rating / np.float32(100)
        )
        names += [f"{name_of_day}/{n}" for n in vm_names] if many else list(vm_names)
        mhz.append(rating)
        memory.append(np.array([VM_TYPES[k][1] for k in kind], np.float32))
        begin.append(np.full(len(vm_names), row * SLOTS_PER_DAY * STEP_S, np.float64))
    arrival = np.concatenate(begin)
    end = arrival + SLOTS_PER_DAY * STEP_S
    vms = VmTable(
        name=tuple(names),
        cores=np.ones(len(names), np.float32),
        cpu_mhz=np.concatenate(mhz),
        memory_mib=np.concatenate(memory),
        gpus=np.zeros(len(names), np.float32),
        arrival_s=arrival,
        departure_s=np.where(end >= len(days) * SLOTS_PER_DAY * STEP_S, np.inf, end),
        application=tuple(names),
    )
    notes = ["sizes by quarter of the index, from CloudSim's benchmark: the data has none"]
    if many:
        notes.append("days laid end to end: " + ", ".join(sorted(days)))
    first_day = min(days)
    return Trace(
        name="planetlab" if many else f"planetlab-{first_day}",
        source=path,
        start_epoch_s=_epoch(first_day),
        step_s=STEP_S,
        vms=vms,
        series={"cpu": cpu},
        notes=tuple(notes),
    )


def read_planetlab_percent(spec_path: str) -> tuple[tuple[str, ...], Percent]:
    """Read one day as published: names by upper-cased name, and ``(n_vms, 288) uint8`` percent.

    Raises:
        WorkloadError: as ``read_planetlab``; or the path holds several days.

    """
    days = _read_days(spec_path.removeprefix("planetlab:"), None)
    if len(days) > 1:
        raise WorkloadError(f"{spec_path}: expected one day, found {', '.join(sorted(days))}; add /DAY")
    return next(iter(days.values()))


def vm_type(n_vms: int) -> list[int]:
    """Row of ``VM_TYPES`` of each of ``n_vms`` VMs: index // ceil(n / 4), as the benchmark deals them."""
    quarter = math.ceil(n_vms / len(VM_TYPES))
    return [index // quarter for index in range(n_vms)]


def _read_days(text: str, day: str | None) -> dict[str, tuple[tuple[str, ...], Percent]]:
    path, inner = locate(text)
    found: dict[str, dict[str, list[int]]] = {}
    for member, data in read_members(path, inner, lambda name: _in_day(name, path.name, day)):
        match = _DAY_FILE.search(f"{path.name}/{member}")
        if match is None:  # a predicate that let it through would be a bug, not an input
            continue
        found.setdefault(match[1], {})[match[2]] = _percents(data, f"{path}/{member}")
    if not found:
        what = f"a day folder {day!r}" if day else "day folders such as 20110303 with one file per VM"
        raise WorkloadError(f"{text}: expected {what}, found none")
    days = {}
    for name, files in found.items():
        order = sorted(files, key=lambda file: (file.upper(), file))
        days[name] = (tuple(order), np.array([files[file] for file in order], np.uint8))
    return days


def _in_day(name: str, container: str, day: str | None) -> bool:
    match = _DAY_FILE.search(f"{container}/{name}")
    return match is not None and day in {None, match[1]}


def _percents(data: bytes, where: str) -> list[int]:
    cells = data.split()
    if len(cells) != SLOTS_PER_DAY:
        raise WorkloadError(f"{where}: expected {SLOTS_PER_DAY} lines, found {len(cells)}")
    for line, cell in enumerate(cells, 1):
        if not (cell.isdigit() and len(cell) <= 3 and int(cell) <= 100):
            raise WorkloadError(
                f"{where}: line {line}: expected an integer percent of 0 to 100, "
                f"got {cell.decode('utf-8', 'replace')!r}"
            )
    return [int(cell) for cell in cells]


def _epoch(day: str) -> int:
    try:
        return int(datetime.strptime(day, "%Y%m%d").replace(tzinfo=UTC).timestamp())
    except ValueError:
        return 0  # a folder of eight digits that is no date: no calendar
