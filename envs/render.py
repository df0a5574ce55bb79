"""A cluster to look at: racks of hosts, each with its VMs, its load and what moves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from foreshade._core import ClusterState
from foreshade.envs.extras import require
from foreshade.envs.model.action import Action
from foreshade.envs.model.state import HostState, Resource, VmState

WIDTH = 1000  # of a picture, pixels
_BAR = 20  # characters of a text bar
_LEFT, _GAP, _ROW = 12, 6, 46

Colour = tuple[int, int, int]
_PAPER: Colour = (250, 250, 248)
_INK: Colour = (40, 44, 52)
_FAINT: Colour = (214, 216, 220)
_MOVE: Colour = (40, 90, 200)
#: Utilisation from 0 to 1 and beyond, white through amber to red: (share, colour).
_HEAT: Sequence[tuple[float, Colour]] = (
    (0.0, (232, 242, 232)),
    (0.5, (120, 190, 120)),
    (0.8, (240, 190, 70)),
    (1.0, (215, 60, 50)),
)
_SLEEPING = {HostState.OFF, HostState.ASLEEP, HostState.UNRENTED}


def text(state: ClusterState, last_plan: Sequence[Action]) -> str:
    """A line for each host: rack, state, VMs, CPU, memory; above them the sums, below them the last plan."""
    hosts, cpu, memory = state.hosts, *_shares(state)
    lines = [_headline(state)]
    for h in np.lexsort((np.arange(len(hosts.rack)), hosts.rack)):
        name = HostState(hosts.state[h]).name.lower().replace("_", " ")
        lines.append(
            f"rack {hosts.rack[h]:3d} host {h:4d} {name:13s} {hosts.n_vms[h]:4d} VMs "
            f"cpu [{_bar(cpu[h])}] {cpu[h]:5.0%}  memory [{_bar(memory[h])}] {memory[h]:5.0%}"
        )
    lines.append("last plan: " + (", ".join(map(_said, last_plan)) or "nothing"))
    return "\n".join(lines)


def picture(state: ClusterState, last_plan: Sequence[Action]) -> npt.NDArray[np.uint8]:
    """(height, WIDTH, 3): a row for each rack, a box for each host, a bar for each VM, an arrow for each
    move.

    A host's box is as warm as its CPU is busy, its lower edge as full as its memory is promised; the bars in
    it are its VMs, as high as they are busy. Hosts that draw no power are hollow.

    Raises:
        MissingExtraError: Pillow is not installed.

    """
    image_module: Any = require("PIL.Image", "render", "render_mode rgb_array")
    draw_module: Any = require("PIL.ImageDraw", "render", "render_mode rgb_array")
    hosts, vms = state.hosts, state.vms
    racks = sorted({int(rack) for rack in hosts.rack})
    height = 60 + len(racks) * (_ROW + 22) + 30
    image = image_module.new("RGB", (WIDTH, height), _PAPER)
    draw = draw_module.Draw(image)
    draw.text((_LEFT, 10), _headline(state), fill=_INK)
    cpu, memory = _shares(state)
    boxes: dict[int, tuple[float, float, float, float]] = {}
    for row, number in enumerate(racks):
        members = np.flatnonzero(hosts.rack == number)
        top = 56 + row * (_ROW + 22)
        draw.text((_LEFT, top - 14), f"rack {number}", fill=_INK)
        width = min(120.0, (WIDTH - 2 * _LEFT) / len(members))
        gap = _GAP if width > 4 * _GAP else 0
        for place, member in enumerate(members.tolist()):
            left = _LEFT + place * width
            boxes[member] = (left, top, left + max(1.0, width - gap), top + _ROW)
    for h, box in boxes.items():
        asleep = HostState(hosts.state[h]) in _SLEEPING
        on = hosts.state[h] == HostState.ON
        draw.rectangle(box, fill=None if asleep else _heat(cpu[h]) if on else _FAINT, outline=_INK)
        left, _, right, bottom = box
        if not asleep:
            filled = left + (right - left) * min(1.0, float(memory[h]))
            draw.rectangle((left, bottom - 4, filled, bottom), fill=_INK)
        _draw_vms(draw, state, np.flatnonzero(vms.host == h), box)
    for v in np.flatnonzero(vms.destination >= 0):
        source, target = boxes.get(int(vms.host[v])), boxes[int(vms.destination[v])]
        if source is not None:
            end = _middle(target)
            draw.line((*_middle(source), *end), fill=_MOVE, width=2)
            draw.ellipse((end[0] - 4, end[1] - 4, end[0] + 4, end[1] + 4), fill=_MOVE)
    said = ", ".join(map(_said, last_plan[:8])) or "nothing"
    more = f" and {len(last_plan) - 8} more" if len(last_plan) > 8 else ""
    draw.text((_LEFT, height - 22), f"last plan: {said}{more}", fill=_INK)
    return np.asarray(image, dtype=np.uint8)


def _draw_vms(draw: Any, state: ClusterState, who: Any, box: tuple[float, float, float, float]) -> None:
    left, top, right, bottom = box
    room = (right - left - 4) / max(1, len(who))
    width = min(6.0, room)
    if width < 1.0:
        return  # more VMs than pixels
    vms = state.vms
    for place, v in enumerate(who):
        allocated = float(vms.allocation[v, Resource.CPU])
        busy = min(1.0, float(vms.demand[v, Resource.CPU]) / allocated) if allocated > 0.0 else 0.0
        x = left + 3 + place * width
        colour = _MOVE if vms.state[v] == VmState.MIGRATING else _INK
        high = (bottom - top - 10) * busy
        draw.rectangle((x, bottom - 6 - max(1.0, high), x + max(0.0, width - 2), bottom - 6), fill=colour)


def _shares(state: ClusterState) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    hosts = state.hosts
    promisable = np.maximum(hosts.capacity[:, Resource.MEMORY] * hosts.overcommit[:, Resource.MEMORY], 1.0)
    cpu = hosts.usage[:, Resource.CPU] / np.maximum(hosts.capacity[:, Resource.CPU], 1.0)
    return cpu, hosts.allocated[:, Resource.MEMORY] / promisable


def _headline(state: ClusterState) -> str:
    on = int((state.hosts.state == HostState.ON).sum())
    waiting = int(((state.vms.state == VmState.PENDING) | (state.vms.state == VmState.FAILED)).sum())
    moving = int((state.vms.destination >= 0).sum())
    there = int((state.vms.state != VmState.ABSENT).sum())
    return (
        f"tick {state.tick}  {state.time_s / 3600.0:.1f} h  {on} of {len(state.hosts.state)} hosts on  "
        f"{there} VMs, {waiting} waiting, {moving} moving  {float(state.hosts.power_w.sum()) / 1000.0:.2f} kW"
    )


def _bar(share: float) -> str:
    full = min(_BAR, round(float(share) * _BAR))
    return "#" * full + "." * (_BAR - full)


def _said(action: Action) -> str:
    where = {"vm": action.vm, "host": action.host, "app": action.app, "rack": action.rack}
    return " ".join(
        [action.kind.name.lower(), *(f"{key} {number}" for key, number in where.items() if number >= 0)]
    )


def _heat(share: float) -> Colour:
    points = [point for point, _ in _HEAT]
    red, green, blue = (
        round(float(np.interp(share, points, [colour[part] for _, colour in _HEAT]))) for part in range(3)
    )
    return red, green, blue


def _middle(box: tuple[float, float, float, float]) -> tuple[float, float]:
    return (box[0] + box[2]) / 2.0, (box[1] + box[3]) / 2.0
