"""The ``cloudsim`` scenario: CloudSim 3.0.3's PlanetLab power benchmark as a world, bit for bit.

800 hosts of two models, one VM per PlanetLab series, one day in 287 control steps. The world opens at the
first of them (t = 300.1 s). Memory and bandwidth bind nothing after the first placement, an idle host is off
and wakes at once, and in the ``stock`` variant a VM that asks for nothing is deleted: figures of this
scenario compare with published CloudSim figures and with nothing else. ``docs/cloudsim.md`` has the details.

    >>> day = read_planetlab_percent("DIR/20110303")                   # doctest: +SKIP
    >>> simulate(day.percent, day.names, "lr_mmt_1.2").energy_kwh     # doctest: +SKIP
    163.15...
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from foreshade._core import (
    CloudSim,
    CloudSimAbortError,
    CloudSimMetrics,
    CloudSimMoveError,
    CloudSimPolicy,
    CloudSimSeries,
    ClusterState,
)
from foreshade.envs.errors import ActionError, InputError, SimulationError, WorkloadError
from foreshade.envs.model.action import Action, ActionKind, Outcome, Plan, migrate

Variant = Literal["stock", "keepzero"]

#: Hosts of the published experiments.
HOSTS = 800


@dataclass(frozen=True, slots=True)
class Method:
    """A column of the published tables: how hosts are judged, and how VMs are placed and power is counted."""

    label: str
    policy: CloudSimPolicy
    parameter: float = 0.0  # threshold of THR, safety factor of the others
    first_fit: bool = False  # place VMs on the first host that fits, not by least rise of power
    full_power: bool = False  # every host draws its peak all day

    @classmethod
    def parse(cls, label: str) -> Method:
        """From CloudSim's own label: ``npa``, ``dvfs``, or ``lr_mmt_1.2`` and its like."""
        if label in {"npa", "dvfs"}:
            return cls(label, CloudSimPolicy.NONE, first_fit=True, full_power=label == "npa")
        name, _, rest = label.partition("_mmt_")
        try:
            return cls(label, CloudSimPolicy[name.upper()], float(rest))
        except (KeyError, ValueError):
            raise InputError(
                f"method: expected npa, dvfs or {{thr,iqr,mad,lr,lrr}}_mmt_<parameter>, got {label!r}"
            ) from None


class CloudSimWorld:
    """A PlanetLab day that any agent can drive; implements ``World`` with the kinds ``MIGRATE`` and ``WAIT``.

    ``percent`` is ``(n_vms, 288)`` whole percent of each VM's own rating; row ``i`` belongs to ``names[i]``.
    VMs are numbered in the order of their upper-cased names, as in the published runs; ``names`` gives that
    order.
    Raises ``WorkloadError`` for input that cannot be played.
    """

    def __init__(
        self,
        percent: npt.ArrayLike,
        names: Sequence[str],
        *,
        variant: Variant = "stock",
        hosts: int = HOSTS,
        first_fit: bool = False,
        full_power: bool = False,
    ) -> None:
        matrix = np.asarray(percent)
        if matrix.ndim != 2 or not np.issubdtype(matrix.dtype, np.integer):
            raise WorkloadError(
                f"percent matrix: expected integers of shape (n_vms, 288), "
                f"got {matrix.dtype} of shape {matrix.shape}"
            )
        if len(names) != matrix.shape[0]:
            raise WorkloadError(f"names: expected {matrix.shape[0]}, one per VM, got {len(names)}")
        if variant not in {"stock", "keepzero"}:
            raise InputError(f"variant: expected stock or keepzero, got {variant!r}")
        if hosts < 1:
            raise InputError(f"hosts: expected at least 1, got {hosts}")
        order = sorted(range(len(names)), key=lambda i: (names[i].upper(), names[i]))
        self.names = tuple(names[i] for i in order)
        # Clipped only so far that what does not fit 32 bits is still refused as out of range.
        ordered = np.ascontiguousarray(np.clip(matrix[order], -1, 101), dtype=np.int32)
        try:
            self._day = CloudSim(
                ordered,
                n_hosts=hosts,
                keep_zero=variant == "keepzero",
                full_power=full_power,
                first_fit=first_fit,
            )
        except ValueError as error:
            raise WorkloadError(str(error)) from error
        self._day.advance()
        self._state = self._day.new_state()

    @property
    def capabilities(self) -> frozenset[ActionKind]:
        """Migrations; power follows load by itself."""
        return frozenset({ActionKind.MIGRATE, ActionKind.WAIT})

    @property
    def tick_s(self) -> float:
        """Five minutes."""
        return 300.0

    @property
    def done(self) -> bool:
        """Whether the migrations of the last control step have ended."""
        return self._day.done

    def observe(self) -> ClusterState:
        """The cluster just after this control step's accounting; the demand is the request itself."""
        self._day.observe(self._state)
        return self._state

    def execute(self, plan: Plan) -> Sequence[Outcome]:
        """Start the plan's migrations in order.

        A VM may get two in one step, to two hosts, as CloudSim's own policies have it; it ends on the second.
        """
        if all(action.kind is ActionKind.MIGRATE for action in plan.actions):
            moves = np.array([(a.vm, a.host) for a in plan.actions], dtype=np.int32).reshape(-1, 2)
            try:
                self._day.migrate(moves)
            except CloudSimMoveError:
                pass  # none was started: the actions are told apart below
            else:
                return [Outcome(accepted=True)] * len(plan.actions)
        return [self._start(action) for action in plan.actions]

    def advance(self) -> Mapping[str, float]:
        """Run to the next control step. Energy has no price in this scenario, so nothing is charged."""
        try:
            self._day.advance()
        except CloudSimMoveError as error:
            raise ActionError(str(error)) from error
        return {}

    def optimise(self, policy: CloudSimPolicy, parameter: float) -> list[Action]:
        """The migrations that one of CloudSim's own policies makes at this step, none of them started.

        Raises ``ActionError`` once migrations have been started at this step, ``InputError`` for the
        parameter and ``SimulationError`` where CloudSim itself ends.
        """
        try:
            moves = self._day.optimise(policy, parameter)
        except CloudSimMoveError as error:
            raise ActionError(str(error)) from error
        except CloudSimAbortError as error:
            raise SimulationError(str(error)) from error
        except ValueError as error:
            raise InputError(str(error)) from error
        return [migrate(vm, host, policy.name) for vm, host in moves.tolist()]

    def run(self, policy: CloudSimPolicy, parameter: float = 0.0) -> CloudSimMetrics:
        """Play the rest of the day natively under one of CloudSim's own policies; raises as ``optimise``."""
        try:
            self._day.run(policy, parameter)
        except CloudSimMoveError as error:
            raise ActionError(str(error)) from error
        except CloudSimAbortError as error:
            raise SimulationError(str(error)) from error
        except ValueError as error:
            raise InputError(str(error)) from error
        return self._day.metrics()

    def metrics(self) -> CloudSimMetrics:
        """CloudSim's figures of the day so far, as fractions."""
        return self._day.metrics()

    def series(self) -> CloudSimSeries:
        """IT power, hosts on, migrations, requested and allocated MIPS at each control step so far."""
        return self._day.series()

    def _start(self, action: Action) -> Outcome:
        if action.kind is ActionKind.WAIT:
            return Outcome(accepted=True)
        if action.kind is not ActionKind.MIGRATE:
            return Outcome(accepted=False, error=f"expected migrate or wait, got {action.kind.name.lower()}")
        try:
            self._day.migrate(np.array([[action.vm, action.host]], dtype=np.int32))
        except CloudSimMoveError as error:
            return Outcome(accepted=False, error=str(error))
        return Outcome(accepted=True)


def simulate(
    percent: npt.ArrayLike,
    names: Sequence[str],
    label: str,
    variant: Variant = "stock",
    hosts: int = HOSTS,
) -> CloudSimMetrics:
    """One day under one of CloudSim's own methods, e.g. ``dvfs`` or ``thr_mmt_0.8``."""
    method = Method.parse(label)
    world = CloudSimWorld(
        percent,
        names,
        variant=variant,
        hosts=hosts,
        first_fit=method.first_fit,
        full_power=method.full_power,
    )
    return world.run(method.policy, method.parameter)
