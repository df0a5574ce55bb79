"""Spells on a time line: anomalies as they begin and end, and windows of maintenance."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Literal

import numpy as np

from foreshade._core import AnomalyLabel
from foreshade.adapters.wire.forecast import Spell
from foreshade.agents.guard import Window
from foreshade.envs.model.state import VmState
from foreshade.envs.snapshot import Snapshot

_MOST = 2000  # ended spells that are kept
_MOST_TOLD = 50  # changes of one tick that are told one by one


class Spells:
    """Anomalies of hosts and VMs, from their first tick to their last."""

    def __init__(self) -> None:
        self._open: dict[tuple[str, str], Spell] = {}
        self._ended: deque[Spell] = deque(maxlen=_MOST)

    def observe(self, snapshot: Snapshot, tell: Callable[[Spell], None]) -> int:
        """Compare with the tick before; returns how many there are now."""
        now = datetime.fromtimestamp(snapshot.unix_s, UTC)
        found = dict(_strange(snapshot))
        told = 0
        for key in [key for key in self._open if found.get(key) != self._open[key].label]:
            ended = self._open.pop(key).model_copy(update={"end": now})
            self._ended.append(ended)
            told += 1
            if told <= _MOST_TOLD:
                tell(ended)
        for (of, name), label in found.items():
            if (of, name) not in self._open:
                spell = Spell(kind="anomaly", of=of, name=name, label=label, start=now, end=None)  # type: ignore[arg-type]
                self._open[of, name] = spell
                told += 1
                if told <= _MOST_TOLD:
                    tell(spell)
        return len(self._open)

    def all(self) -> list[Spell]:
        """Ended and open ones, by their begin."""
        return sorted([*self._ended, *self._open.values()], key=lambda spell: spell.start)


def window_spells(window: Window) -> list[Spell]:
    """A window that is known beforehand: one spell for each of its hosts, or one of the cluster."""
    start, end = datetime.fromtimestamp(window.start_s, UTC), datetime.fromtimestamp(window.end_s, UTC)
    kind: Literal["freeze", "maintenance"] = "freeze" if window.freeze else "maintenance"
    label = window.reason or kind
    if not window.hosts:
        return [Spell(kind=kind, of="cluster", name="cluster", label=label, start=start, end=end)]
    return [
        Spell(kind=kind, of="host", name=host, label=label, start=start, end=end)
        for host in sorted(window.hosts)
    ]


def _strange(snapshot: Snapshot) -> list[tuple[tuple[str, str], str]]:
    hosts, vms = snapshot.hosts, snapshot.vms
    found = [
        (("host", snapshot.inventory.hosts[h].name), _word(hosts["anomaly"][h]))
        for h in np.flatnonzero(hosts["anomaly"]).tolist()
    ]
    strange = np.flatnonzero((vms["anomaly"] != 0) & (vms["state"] != int(VmState.ABSENT))).tolist()
    found.extend((("vm", snapshot.names[v]), _word(vms["anomaly"][v])) for v in strange if snapshot.names[v])
    return found


def _word(code: int) -> str:
    return AnomalyLabel(int(code)).name.lower()
