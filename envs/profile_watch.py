"""Telemetry turned into what a profiler learns from: one state after the other, and what was asked of the world."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from foreshade._core import ClusterState
from foreshade.envs.model.action import Action, ActionKind
from foreshade.envs.profiler import LEAST, Profiler
from foreshade.envs.site import Site

_SERVING = (3, 4)  # running, migrating
_MBIT_PER_MIB = 8.388608
#: Of a change that was asked for, what must be there for it to have worked.
_DONE = 0.9


@dataclass(frozen=True, slots=True)
class _Sent:
    """An order that the next states show the end of."""

    at_s: float
    action: Action
    host: int
    before: tuple[float, float]  # CPU and memory allocation
    memory_mib: float  # in use


class ProfileWatch:
    """Watches one world; ``look`` at every state in turn, ``sent`` after what the world accepted."""

    def __init__(self, profiler: Profiler, site: Site) -> None:
        self.profiler = profiler
        self._site = site
        self._hypervisors = sorted(set(site.hypervisors))
        self._classes = sorted({"", *site.app_kinds})
        self._host = np.array([self._hypervisors.index(name) for name in site.hypervisors], np.int64)
        self._app = np.array([self._classes.index(kind) for kind in site.app_kinds], np.int64)
        self._memory: npt.NDArray[np.float32] | None = None
        self._seen: npt.NDArray[np.bool_] | None = None
        self._birth: npt.NDArray[np.uint32] | None = None
        self._open: dict[int, _Sent] = {}

    def class_of(self, app: int) -> str:
        """Class of an application; "" = unknown."""
        return self._classes[self._app[app]] if 0 <= app < len(self._app) else ""

    def sent(self, state: ClusterState, actions: Sequence[Action]) -> None:
        """Actions that the world took up on this state."""
        for action in actions:
            if action.kind not in (ActionKind.MIGRATE, ActionKind.RESHAPE) or action.vm < 0:
                continue
            allocation = state.vms.allocation[action.vm]
            self._open[action.vm] = _Sent(
                state.time_s,
                action,
                int(state.vms.host[action.vm]),
                (float(allocation[0]), float(allocation[1])),
                float(state.vms.usage[action.vm, 1]),
            )

    def look(self, state: ClusterState) -> None:
        """Learn from a state; each once, in order."""
        if not self._hypervisors:
            return
        vms = state.vms
        where = np.asarray(vms.host)
        serving = (
            np.isin(np.asarray(vms.state), _SERVING)
            & (where >= 0)
            & (np.asarray(vms.age_s) < self._site.tick_s)
        )
        self._shares(state, serving)
        self._ends(state)
        self._memory, self._seen = np.array(vms.usage[:, 1]), serving
        self._birth = np.array(vms.birth)

    def _shares(self, state: ClusterState, serving: npt.NDArray[np.bool_]) -> None:
        vms = state.vms
        rows = np.flatnonzero(serving)
        if not len(rows):
            return
        app = np.asarray(vms.app)[rows]
        known = (app >= 0) & (app < len(self._app))
        kind = np.where(
            known, self._app[np.clip(app, 0, max(len(self._app) - 1, 0))] if len(self._app) else 0, 0
        )
        group = self._host[np.asarray(vms.host)[rows]] * len(self._classes) + kind
        allocation = np.maximum(np.asarray(vms.allocation)[rows], 1.0)
        used = (np.asarray(vms.usage)[rows] / allocation).astype(np.float32)
        self._batch("steal", group, np.asarray(vms.contention)[rows])
        self._batch("memory_pressure", group, used[:, 1])
        self._batch("disk", group, used[:, 2])
        self._batch("network", group, used[:, 3])
        if (
            self._memory is None
            or self._seen is None
            or self._birth is None
            or len(self._memory) != len(vms.state)
        ):
            return
        both = self._seen[rows] & (self._birth[rows] == np.asarray(vms.birth)[rows])
        change = np.abs(used[:, 1] - self._memory[rows] / allocation[:, 1])
        self._batch("memory_wave", group[both], change[both])

    def _batch(self, quantity: str, group: npt.NDArray[np.int64], values: npt.NDArray[np.float32]) -> None:
        logs = np.log(np.maximum(values, LEAST)).astype(np.float64)
        counts = np.bincount(group, minlength=1)
        sums = np.bincount(group, logs)
        for g in np.flatnonzero(counts):
            mean = sums[g] / counts[g]
            spread = float(((logs[group == g] - mean) ** 2).sum())
            hypervisor, kind = divmod(int(g), len(self._classes))
            self.profiler.saw_many(
                self._hypervisors[hypervisor],
                self._classes[kind],
                quantity,
                float(counts[g]),
                float(mean),
                spread,
            )

    def _ends(self, state: ClusterState) -> None:
        vms = state.vms
        for vm, sent in list(self._open.items()):
            if state.time_s <= sent.at_s:
                continue
            name = self._site.hypervisors[sent.host] if sent.host >= 0 else ""
            kind = self.class_of(int(vms.app[vm]))
            if sent.action.kind == ActionKind.RESHAPE:
                del self._open[vm]
                if int(vms.host[vm]) == sent.host and name:
                    self._reshaped(name, kind, sent, vms.allocation[vm])
                continue
            if int(vms.state[vm]) == 4:  # on its way
                continue
            del self._open[vm]
            moved = int(vms.host[vm]) == sent.action.host
            took_s = state.time_s - float(vms.since_move_s[vm]) - sent.at_s
            if not name or int(vms.state[vm]) != 3:
                continue  # gone, or failed with its host
            self.profiler.tried(name, kind, "migration", good=float(moved), bad=float(not moved))
            declared = self.profiler.declared.get(name)
            # What is set up and announced takes the same for every size.
            sending_s = took_s - (
                declared.migration.setup_s + declared.migration.resume_s if declared else 0.0
            )
            if moved and sending_s > 0 and sent.memory_mib > 0:
                self.profiler.saw(name, kind, "migration_rate", sent.memory_mib * _MBIT_PER_MIB / sending_s)

    def _reshaped(self, name: str, kind: str, sent: _Sent, now: npt.NDArray[np.float32]) -> None:
        if sent.action.allocation is None:
            return
        for r, resource in enumerate(("cpu", "memory")):
            asked = sent.action.allocation[r] - sent.before[r]
            if abs(asked) < 1e-3 * max(sent.before[r], 1.0):
                continue
            done = (float(now[r]) - sent.before[r]) / asked >= _DONE
            self.profiler.tried(
                name,
                kind,
                f"{resource}_{'up' if asked > 0 else 'down'}",
                good=float(done),
                bad=float(not done),
            )
