"""What a global model is trained on: one resource of one or more workloads, and when that was."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from foreshade.envs.errors import InputError
from foreshade.envs.forecast.learned.quantile_model import F32, I64
from foreshade.envs.forecast.score import series_of
from foreshade.envs.workloads.spec import Spec, load_trace

_THURSDAY_S = 3 * 86_400  # 1970-01-01 was a Thursday: this long after a Monday


def ticks_since_monday(epoch_s: float, step_s: int) -> int:
    """Ticks from the last Monday at midnight (UTC) to an instant."""
    return int((epoch_s + _THURSDAY_S) // step_s) % (7 * 86_400 // step_s)


@dataclass(frozen=True, slots=True)
class TrainingSet:
    """Series side by side, each at its own place of the week."""

    resource: str
    workloads: tuple[str, ...]  # specs
    history: F32  # (n_series, n_ticks), NaN = missing
    start_tick: I64  # (n_series,) ticks since a Monday at midnight at the first column
    classes: tuple[str, ...]  # (n_series,)
    periods_s: tuple[tuple[float, float], ...]  # Unix time from, to of each workload

    @property
    def source(self) -> Mapping[str, Any]:
        """What a manifest says of it."""
        return {
            "resource": self.resource,
            "workloads": list(self.workloads),
            "periods_s": [list(period) for period in self.periods_s],
        }


def training_set(specs: Sequence[str], resource: str) -> TrainingSet:
    """Read one resource of all workloads; shorter ones end in gaps.

    Raises:
        InputError: no workload, different clocks, or a workload that does not measure the resource.

    """
    if not specs:
        raise InputError("training: expected at least one workload")
    parts, starts, periods, steps = [], [], [], set()
    classes: list[str] = []
    for spec in specs:
        trace = load_trace(spec)
        found = series_of(trace, resource, kind=Spec.parse(spec).kind)
        parts.append(found.values)
        starts.append(
            np.full(len(found.values), ticks_since_monday(trace.start_epoch_s, trace.step_s), np.int64)
        )
        classes += found.classes
        length_s = trace.step_s * found.values.shape[1]
        periods.append((float(trace.start_epoch_s), float(trace.start_epoch_s + length_s)))
        steps.add(trace.step_s)
    if len(steps) > 1:
        raise InputError(f"training: expected workloads of one step, got {sorted(steps)} s")
    longest = max(part.shape[1] for part in parts)
    padded = [np.pad(part, ((0, 0), (0, longest - part.shape[1])), constant_values=np.nan) for part in parts]
    return TrainingSet(
        resource, tuple(specs), np.concatenate(padded), np.concatenate(starts), tuple(classes), tuple(periods)
    )
