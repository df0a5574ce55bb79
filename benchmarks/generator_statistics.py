"""Print the generator's statistics beside those of the public sets found under FORESHADE_DATA, as markdown.

Usage: python benchmarks/generator_statistics.py [NAME?key=value&key=value]

Each cell is the first quartile / median / third quartile over the series of a set: one per VM in a trace, one
per application that is there all the time in a generated workload. A public set that is not to be had is left
out of the table, and the reason goes to standard error.
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from foreshade.envs.errors import ForeshadeError
from foreshade.envs.workloads.generator import generate
from foreshade.envs.workloads.workload import Workload

F64 = npt.NDArray[np.float64]
#: Series kept of a set for the pairwise correlations; all pairs of more would take minutes.
PAIRS_OF = 300
REAL_SETS = ("bitbrains?days=7", "planetlab?days=1", "google", "gpu-pods")


@dataclass(frozen=True, slots=True)
class Sample:
    """Series of one set on one clock; NaN = not measured."""

    name: str
    step_s: int
    cpu: F64 | None  # (n_ticks, n) share of the provisioned
    memory: F64 | None  # (n_ticks, n) share of the provisioned
    disk: F64 | None  # (n_ticks, n) MiB/s
    net: F64 | None  # (n_ticks, n) Mbit/s
    gpu: F64 | None  # (n_ticks, n) share of the requested


def autocorrelation(x: F64, lag: int) -> F64:
    """Of each column, with the gaps left out."""
    if lag < 1 or x.shape[0] < 1.3 * lag + 2:
        return np.empty(0)
    a, b = x[:-lag], x[lag:]
    both = np.isfinite(a) & np.isfinite(b)
    return _correlate(np.where(both, a, np.nan), np.where(both, b, np.nan))


def _correlate(a: F64, b: F64) -> F64:
    both = np.isfinite(a) & np.isfinite(b)
    n = np.maximum(both.sum(0), 1)
    a, b = np.where(both, a, 0.0), np.where(both, b, 0.0)
    a = np.where(both, a - a.sum(0) / n, 0.0)
    b = np.where(both, b - b.sum(0) / n, 0.0)
    scale = np.sqrt((a * a).sum(0) * (b * b).sum(0))
    out: F64 = (a * b).sum(0)[scale > 1e-12] / scale[scale > 1e-12]
    return out


def pairwise(x: F64) -> F64:
    """Correlations between pairs of columns."""
    chosen = np.random.default_rng(0).permutation(x.shape[1])[:PAIRS_OF]
    x = x[:, chosen]
    x = np.where(np.isfinite(x), x, np.nanmean(x, axis=0))
    x = x[:, x.std(axis=0) > 1e-12]
    if x.shape[1] < 2:
        return np.empty(0)
    correlation: F64 = np.asarray(np.corrcoef(x.T))
    return correlation[np.triu_indices(x.shape[1], 1)]


def series_statistics(label: str, x: F64 | None, step_s: int) -> dict[str, F64]:
    """The rows of one resource: one value per series with any load."""
    if x is None or x.shape[1] == 0:
        return {}
    x = x[:, np.isfinite(x).mean(axis=0) > 0.5]
    mean = np.nanmean(x, axis=0)
    busy = mean > 0.0
    deviation, peak = np.nanstd(x, axis=0), np.nanmax(x, axis=0)
    finite = np.isfinite(x)
    return {
        f"{label}: mean": mean,
        f"{label}: coefficient of variation": deviation[busy] / mean[busy],
        f"{label}: peak to mean": peak[busy] / mean[busy],
        f"{label}: autocorrelation 5 min": autocorrelation(x, max(round(300 / step_s), 1)),
        f"{label}: autocorrelation 1 h": autocorrelation(x, round(3600 / step_s)),
        f"{label}: autocorrelation 1 day": autocorrelation(x, round(86400 / step_s)),
        f"{label}: correlation of pairs": pairwise(x),
        f"{label}: share of zeros": np.where(finite, x == 0.0, False).sum(axis=0) / finite.sum(axis=0),
    }


def statistics(sample: Sample) -> dict[str, F64]:
    """All rows of one set."""
    rows: dict[str, F64] = {}
    for label, x in (
        ("CPU (share)", sample.cpu),
        ("memory (share)", sample.memory),
        ("disk (MiB/s)", sample.disk),
        ("network (Mbit/s)", sample.net),
        ("GPU (share)", sample.gpu),
    ):
        rows |= series_statistics(label, x, sample.step_s)
        if sample.cpu is not None and x is not None and x is not sample.cpu and x is not sample.gpu:
            rows[f"{label}: correlation with CPU"] = _correlate(sample.cpu, x)
    if sample.cpu is not None:
        total = np.nanmean(sample.cpu, axis=1)
        rows["CPU, mean of all series: coefficient of variation"] = np.array([total.std() / total.mean()])
        rows["CPU, mean of all series: autocorrelation 1 h"] = autocorrelation(
            total[:, None], round(3600 / sample.step_s)
        )
    return rows


def generated(workload: Workload) -> Sample:
    """The applications that are there all the time, relative to what their VMs have."""
    vms, apps = workload.vms, workload.apps
    stays = (vms.arrival_tick == 0) & (vms.departure_tick == workload.n_ticks)
    rows = np.unique(vms.app[stays])
    provided = np.zeros((len(apps), 5))
    np.add.at(provided, vms.app, vms.flavour.astype(np.float64))
    demand = workload.demand[:, apps.series[rows]].astype(np.float64)
    members = apps.members[rows]
    gpu_rows = [i for i, series in enumerate(workload.gpu_series) if series in set(apps.series[rows])]
    app_of = {int(apps.series[row]): int(row) for row in rows}
    gpu_provided = np.array([provided[app_of[int(workload.gpu_series[i])], 4] for i in gpu_rows])
    return Sample(
        workload.source,
        workload.tick_s,
        np.minimum(demand[:, :, 0] / provided[rows, 0], 1.0),  # usage: a trace shows no more than there is
        demand[:, :, 1] / provided[rows, 1],
        demand[:, :, 2] / members,
        demand[:, :, 3] / members,
        workload.gpu[:, gpu_rows] / gpu_provided if gpu_rows else None,
    )


def measured(spec: str) -> Sample:
    """A public set through the importers."""
    from foreshade.envs.workloads.spec import load_trace  # noqa: PLC0415 - the table is printed without it

    trace = load_trace(spec)
    ticks = max(300 // trace.step_s, 1)  # finer traces are averaged: the lags and the zeros then compare
    series = {name: _averaged(values, ticks) for name, values in trace.series.items()}

    def share(name: str, of: npt.NDArray[np.float32]) -> F64 | None:
        if name not in series or not bool(np.isfinite(of).any()):
            return None
        kept = np.isfinite(of) & (of > 0.0)
        return series[name] / np.where(kept, of, np.nan)

    def total(*names: str) -> F64 | None:
        found = [series[name] for name in names if name in series]
        return sum(found[1:], found[0]) if found else None

    return Sample(
        spec,
        trace.step_s * ticks,
        share("cpu", trace.vms.cpu_mhz),
        share("memory", trace.vms.memory_mib),
        total("disk_read", "disk_write"),
        total("net_rx", "net_tx"),
        share("gpu", trace.vms.gpus),
    )


def _averaged(x: npt.NDArray[np.float32], ticks: int) -> F64:
    kept = x[: x.shape[0] // ticks * ticks].astype(np.float64).reshape(-1, ticks, x.shape[1])
    known = np.isfinite(kept)
    total, count = np.where(known, kept, 0.0).sum(axis=1), known.sum(axis=1)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def lives(workload: Workload) -> str:
    """One line on who comes and goes."""
    vms = workload.vms
    life_s = (vms.departure_tick - vms.arrival_tick) * float(workload.tick_s)
    started = (vms.arrival_tick > 0) & (vms.arrival_tick < workload.n_ticks - 86_400 // workload.tick_s)
    long = life_s >= 86_400.0
    core_hours = vms.flavour[:, 0] * life_s
    alive = [
        int(((vms.arrival_tick <= t) & (vms.departure_tick > t)).sum())
        for t in range(0, workload.n_ticks, max(3600 // workload.tick_s, 1))
    ]
    quartiles = (
        np.percentile(life_s[started] / 3600.0, [25, 50, 75, 90]) if started.any() else np.full(4, np.nan)
    )
    return (
        f"{len(vms)} VMs in all, {min(alive)} to {max(alive)} at a time; of those started on the way "
        f"{np.mean(life_s[started] < 86_400.0) if started.any() else 0:.0%} live less than a day "
        f"(quartiles {quartiles[0]:.2g} / {quartiles[1]:.2g} / {quartiles[2]:.2g} h, nine tenths under "
        f"{quartiles[3]:.2g} h); those seen for a day or longer have "
        f"{core_hours[long].sum() / core_hours.sum():.1%} of the core-hours."
    )


def main(spec: str = "enterprise?vms=1000&days=7") -> int:
    name, _, text = spec.partition("?")
    options = dict(part.split("=", 1) for part in text.split("&") if "=" in part)
    begin = time.perf_counter()
    try:
        workload = generate(name, **options)
    except ForeshadeError as error:
        print(error, file=sys.stderr)
        return 2
    took_s = time.perf_counter() - begin
    samples = [generated(workload)]
    for real in REAL_SETS:
        try:
            samples.append(measured(real))
        except (ForeshadeError, ImportError) as error:
            print(f"{real} is left out: {error}", file=sys.stderr)
    columns = [statistics(sample) for sample in samples]
    labels = [label for column in columns for label in column]
    print("| statistic | " + " | ".join(f"`{sample.name}`" for sample in samples) + " |")
    print("|---|" + "---|" * len(samples))
    for label in dict.fromkeys(labels):
        cells = [_cell(column.get(label)) for column in columns]
        print(f"| {label} | " + " | ".join(cells) + " |")
    print(f"\nGenerated in {took_s:.2f} s: {lives(workload)}")
    return 0


def _cell(values: F64 | None) -> str:
    if values is None or len(values) == 0:
        return ""
    if len(values) == 1:
        return f"{values[0]:.2g}"
    return " / ".join(f"{v:.2g}" for v in np.percentile(values, [25, 50, 75]))


if __name__ == "__main__":
    raise SystemExit(main(*sys.argv[1:2]))
