"""What a trace is like, in numbers: for a person who chooses one, and for the documentation."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import numpy as np
import numpy.typing as npt

from foreshade.envs.workloads.trace import SERIES_UNITS, FloatArray, Trace

#: Lags of the autocorrelation, in s.
LAGS_S: Mapping[str, int] = {"5min": 300, "1h": 3600, "1day": 86400, "1week": 604800}
#: VMs in the seeded sample that correlations are computed on: 200 give 19,900 pairs.
SAMPLE = 200

_PROVISIONED = {"cpu": "cpu_mhz", "memory": "memory_mib", "gpu": "gpus"}
I64 = npt.NDArray[np.int64]


def describe(trace: Trace, *, seed: int = 0) -> dict[str, Any]:
    """Return statistics of a trace as plain numbers, text and dicts (JSON-able; unknown = None).

    Per series: ``mean``, ``p50``, ``p95``, ``p99``, ``max`` over all samples; ``cv``, the mean over VMs of
    standard deviation / mean; ``zero_share`` and ``missing_share`` of the slots within the VMs' lives;
    ``autocorrelation`` by lag, the median over a sample of VMs and that of the sum of all;
    ``peak_to_mean`` of the sum; ``provisioned_used``, sum of use / sum of what was provisioned;
    ``pair_correlation``, the mean over pairs of a seeded sample. A lag needs two of its length.
    """
    vms = trace.vms
    duration_h = trace.n_ticks * trace.step_s / 3600
    end_s = trace.n_ticks * trace.step_s
    arrivals = int(((vms.arrival_s > 0) & (vms.arrival_s < end_s)).sum())
    departs = np.isfinite(vms.departure_s)
    departures = int((departs & (vms.departure_s <= end_s)).sum())
    life_h = (vms.departure_s[departs] - vms.arrival_s[departs]) / 3600
    start = datetime.fromtimestamp(trace.start_epoch_s, UTC).isoformat() if trace.start_epoch_s else None
    clock = np.arange(trace.n_ticks)[:, None] * trace.step_s
    alive = (clock + trace.step_s > vms.arrival_s) & (clock < vms.departure_s) if trace.series else None
    rng = np.random.default_rng(seed)
    sample = np.sort(rng.choice(len(vms), min(SAMPLE, len(vms)), replace=False))
    return {
        "name": trace.name,
        "source": trace.source,
        "start": start,
        "step_s": trace.step_s,
        "slots": trace.n_ticks,
        "days": duration_h / 24,
        "vms": len(vms),
        "applications": len(set(vms.application)),
        "requested": {
            "cores": _spread(vms.cores),
            "cpu_mhz": _spread(vms.cpu_mhz),
            "memory_mib": _spread(vms.memory_mib),
            "gpus": _spread(vms.gpus),
        },
        "arrivals_per_hour": arrivals / duration_h,
        "departures_per_hour": departures / duration_h,
        "ended_vms": int(departs.sum()),
        "lifetime_h": _spread(life_h),
        "series": {key: _series(trace, key, alive, sample) for key in SERIES_UNITS if key in trace.series},
        "defects": dict(trace.defects),
        "notes": list(trace.notes),
    }


def _series(trace: Trace, key: str, alive: npt.NDArray[np.bool_] | None, sample: I64) -> dict[str, Any]:
    values = trace.series[key]
    seen = ~np.isnan(values)
    count = int(seen.sum())
    slots = int(alive.sum()) if alive is not None else values.size
    if count == 0:
        return {"unit": SERIES_UNITS[key], "missing_share": 1.0}
    flat = values[seen]
    p50, p95, p99 = (float(q) for q in np.quantile(flat, (0.5, 0.95, 0.99)))
    filled = np.where(seen, values, np.float32(0))
    total = filled.sum(axis=1, dtype=np.float64)
    per_vm = np.maximum(seen.sum(axis=0), 1)
    mean = filled.sum(axis=0, dtype=np.float64) / per_vm
    variance = np.square(filled, dtype=np.float64).sum(axis=0) / per_vm - mean**2
    varying = mean > 0
    cv = np.sqrt(np.maximum(variance[varying], 0)) / mean[varying]
    provisioned = None
    if key in _PROVISIONED:
        size = np.nan_to_num(getattr(trace.vms, _PROVISIONED[key])).astype(np.float64)
        whole = float((seen * size).sum())
        provisioned = float(filled[:, size > 0].sum(dtype=np.float64)) / whole if whole > 0 else None
    chosen = values[:, sample]
    return {
        "unit": SERIES_UNITS[key],
        "mean": float(flat.mean(dtype=np.float64)),
        "p50": p50,
        "p95": p95,
        "p99": p99,
        "max": float(flat.max()),
        "cv": float(cv.mean()) if cv.size else None,
        "zero_share": float((flat == 0).sum()) / count,
        "missing_share": max(0.0, 1 - count / slots) if slots else None,
        "peak_to_mean": float(total.max() / total.mean()) if total.any() else None,
        "provisioned_used": provisioned,
        "autocorrelation": {
            label: {
                "vm": _autocorrelation(chosen, lag // trace.step_s),
                "sum": _autocorrelation(total[:, None].astype(np.float32), lag // trace.step_s),
            }
            for label, lag in LAGS_S.items()
            if lag % trace.step_s == 0 and trace.n_ticks >= 2 * lag // trace.step_s
        },
        "pair_correlation": _pairs(chosen),
    }


def _autocorrelation(values: FloatArray, lag: int) -> float | None:
    """Median over the columns of the correlation of a series with itself ``lag`` slots later."""
    early, late = values[:-lag], values[lag:]
    both = ~np.isnan(early) & ~np.isnan(late)
    count = np.maximum(both.sum(axis=0), 1)
    x = np.where(both, early, 0).astype(np.float64)
    y = np.where(both, late, 0).astype(np.float64)
    x -= np.where(both, x.sum(axis=0) / count, 0)
    y -= np.where(both, y.sum(axis=0) / count, 0)
    norm = np.sqrt((x * x).sum(axis=0) * (y * y).sum(axis=0))
    # a series that never moves correlates with nothing; rounding would make it look as if it did
    moving = norm > 1e-9 * count * np.maximum(np.square(np.nan_to_num(values)).max(axis=0), 1e-30)
    if not moving.any():
        return None
    return float(np.median((x * y).sum(axis=0)[moving] / norm[moving]))


def _pairs(values: FloatArray) -> float | None:
    """Mean correlation over the pairs of columns; a gap counts as the column's mean."""
    seen = ~np.isnan(values)
    filled = np.where(seen, values, 0).astype(np.float64)
    centred = filled - np.where(seen, filled.sum(axis=0) / np.maximum(seen.sum(axis=0), 1), 0)
    scale = np.sqrt((centred**2).sum(axis=0))
    moving = scale > 1e-6 * np.maximum(np.abs(filled).max(axis=0), 1e-30)
    unit = centred[:, moving] / scale[moving]
    n = unit.shape[1]
    if n < 2:
        return None
    # the sum over all pairs is the square of the sum, without the diagonal of ones
    return float((np.square(unit.sum(axis=1)).sum() - n) / (n * (n - 1)))


def _spread(values: npt.NDArray[Any]) -> dict[str, float] | None:
    known = np.asarray(values, np.float64)
    known = known[np.isfinite(known)]
    if known.size == 0:
        return None
    p50, p95 = (float(q) for q in np.quantile(known, (0.5, 0.95)))
    return {"mean": float(known.mean()), "p50": p50, "p95": p95, "max": float(known.max())}


def render(description: Mapping[str, Any]) -> str:
    """Return a description as plain text, without colour or markup; ``to_play`` may stand beside its keys."""
    d = description
    lines = [
        f"{d['name']}  {d['source']}",
        f"{d['vms']:,} VMs, {d['applications']:,} applications",
        f"{d['slots']:,} slots of {d['step_s']} s ({d['days']:.1f} days), from {d['start'] or 'no calendar'}",
        f"arrivals {d['arrivals_per_hour']:.3g}/h, departures {d['departures_per_hour']:.3g}/h",
    ]
    if d["lifetime_h"]:
        life = d["lifetime_h"]
        lines.append(
            f"lives of the {d['ended_vms']:,} VMs that ended: mean {life['mean']:.3g} h, "
            f"median {life['p50']:.3g} h, p95 {life['p95']:.3g} h"
        )
    lines += ["", f"{'requested':<18}{'mean':>11}{'p50':>11}{'p95':>11}{'max':>11}"]
    lines += [
        f"{name:<18}" + "".join(f"{spread[k]:>11.4g}" for k in ("mean", "p50", "p95", "max"))
        for name, spread in d["requested"].items()
        if spread
    ]
    if d["series"]:
        heads = ("mean", "p50", "p95", "p99", "max", "cv", "zero", "peak/mean", "of prov")
        keys = ("mean", "p50", "p95", "p99", "max", "cv", "zero_share", "peak_to_mean", "provisioned_used")
        lines += ["", f"{'series':<18}" + "".join(f"{head:>10}" for head in heads)]
        lines += [
            f"{name + ' ' + s['unit']:<18}" + "".join(f"{_number(s.get(k)):>10}" for k in keys)
            for name, s in d["series"].items()
        ]
        lag_heads = [*(f"{lag} {of}" for lag in LAGS_S for of in ("vm", "sum")), "pairs"]
        lines += ["", f"{'autocorrelation':<18}" + "".join(f"{head:>10}" for head in lag_heads)]
        for name, s in d["series"].items():
            lags = s.get("autocorrelation", {})
            cells = [_number(lags.get(lag, {}).get(of)) for lag in LAGS_S for of in ("vm", "sum")]
            cells.append(_number(s.get("pair_correlation")))
            lines.append(f"{name:<18}" + "".join(f"{cell:>10}" for cell in cells))
    lines += ["", "met and mended: " + ("" if d["defects"] else "nothing")]
    lines += [f"  {kind:<34}{count:>12,}" for kind, count in d["defects"].items()]
    if d.get("to_play"):
        lines += ["", "given, clipped or left out to be played:"]
        lines += [f"  {kind:<34}{count:>12,}" for kind, count in d["to_play"].items()]
    lines += [f"note: {note}" for note in d["notes"]]
    return "\n".join(lines)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}"
