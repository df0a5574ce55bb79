"""``KIND:PATH?key=value&key=value``: one line that names a workload, for command lines and scenarios."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import MappingProxyType

from foreshade.envs.errors import WorkloadError
from foreshade.envs.workloads.alibaba_gpu import read_alibaba_gpu
from foreshade.envs.workloads.azure import read_azure
from foreshade.envs.workloads.from_trace import to_workload
from foreshade.envs.workloads.gwa import read_gwa
from foreshade.envs.workloads.huawei import read_huawei
from foreshade.envs.workloads.packed import read_google_vms, read_gpu_pods
from foreshade.envs.workloads.planetlab import read_planetlab
from foreshade.envs.workloads.selection import select
from foreshade.envs.workloads.table import read_table
from foreshade.envs.workloads.trace import Trace
from foreshade.envs.workloads.workload import Workload

DATA_VARIABLE = "FORESHADE_DATA"
GENERATED = "generated"

Option = int | float | str
_Parser = Callable[[str], Option]


@dataclass(frozen=True, slots=True)
class Kind:
    """A format that can be named in a spec."""

    read: Callable[..., Trace]
    published: str  # where a person gets the data
    stored: str = ""  # where it lies below FORESHADE_DATA, as a glob; "" = a path must be given
    options: Mapping[str, _Parser] = field(default_factory=dict)


_SHARES: Mapping[str, _Parser] = MappingProxyType({"usage_cpu": float, "usage_memory": float})
_SIZES: Mapping[str, _Parser] = MappingProxyType({"cores": float, "memory_mib": float})
KINDS: Mapping[str, Kind] = MappingProxyType(
    {
        "planetlab": Kind(
            read_planetlab,
            "https://github.com/beloglazov/planetlab-workload-traces",
            "planetlab/*.tar.gz",
            {"day": str},
        ),
        "bitbrains": Kind(
            partial(read_gwa, name="bitbrains"), "https://atlarge-research.com/gwa-t-12/", "bitbrains/*"
        ),
        "materna": Kind(
            partial(read_gwa, name="materna"), "https://atlarge-research.com/gwa-t-13/", "materna/*"
        ),
        "azure": Kind(read_azure, "https://github.com/Azure/AzurePublicDataset", "azure", {"reading": str}),
        "huawei": Kind(
            read_huawei,
            "https://github.com/huaweicloud/VM-placement-dataset",
            "huawei_east_1/*.csv*",
            _SHARES,
        ),
        "alibaba-gpu": Kind(
            read_alibaba_gpu,
            "https://github.com/alibaba/clusterdata (cluster-trace-gpu-v2023)",
            "alibaba_gpu/*v2023*",
            {"pods": str, **_SHARES},
        ),
        "google": Kind(read_google_vms, "https://github.com/google/cluster-data", "google_vms/*.npz", _SIZES),
        "gpu-pods": Kind(
            read_gpu_pods,
            "https://github.com/alibaba/clusterdata (cluster-trace-v2026-GenAI)",
            "alibaba_gpu/pods.npz",
            _SIZES,
        ),
        "table": Kind(read_table, "docs/workloads.md for the columns of your own table", "", {"step": int}),
    }
)
#: Understood by every kind but ``generated``, which has its own.
COMMON: Mapping[str, _Parser] = MappingProxyType(
    {
        "vms": int,  # sample this many
        "seed": int,  # of the sample
        "from_day": float,  # skip this many days
        "days": float,  # then keep this many
        "ticks": int,  # or this many control intervals
        "memory_floor": float,  # see to_workload
        "offloadable": float,
    }
)


@dataclass(frozen=True, slots=True)
class Spec:
    """A spec taken apart; option values are still text."""

    kind: str
    path: str  # "" = look in the folder that FORESHADE_DATA names
    options: Mapping[str, str]

    @classmethod
    def parse(cls, text: str) -> Spec:
        """Take a spec apart.

        Raises:
            WorkloadError: unknown kind or option, an option twice or without a value.

        """
        body, _, query = text.partition("?")
        kind, _, path = body.partition(":")
        if kind != GENERATED and kind not in KINDS:
            raise WorkloadError(f"{text}: unknown kind {kind!r}; known are {', '.join((*KINDS, GENERATED))}")
        options: dict[str, str] = {}
        for part in filter(None, query.split("&")):
            key, equals, value = part.partition("=")
            if not equals or not value:
                raise WorkloadError(f"{text}: expected key=value after '?', got {part!r}")
            if key in options:
                raise WorkloadError(f"{text}: option {key!r} is given twice")
            options[key] = value
        if kind != GENERATED:
            known = {**COMMON, **KINDS[kind].options}
            for key in options:
                if key not in known:
                    raise WorkloadError(
                        f"{text}: unknown option {key!r}; {kind} knows {', '.join(sorted(known))}"
                    )
        return cls(kind, path, options)


def load_trace(spec: str) -> Trace:
    """Read the trace that a spec names and cut it to its options; ``ticks`` counts the trace's own slots.

    Raises:
        WorkloadError: the spec or what it names cannot be used, in one line.

    """
    return _trace(spec, Spec.parse(spec), None)


def load_workload(spec: str, *, tick_s: int = 300, **limits: Option | None) -> Workload:
    """Read or generate the workload that a spec names, on a clock of ``tick_s``.

    Args:
        spec: ``KIND:PATH?key=value``; ``ticks`` counts control intervals.
        tick_s: control interval in s.
        limits: further options, over those of the spec: ``load_workload("bitbrains", vms=100, days=7)``.

    Raises:
        WorkloadError: the spec or what it names cannot be used, in one line.

    """
    given = "&".join(f"{key}={value}" for key, value in limits.items() if value is not None)
    parsed = Spec.parse(spec)
    parsed = Spec(
        parsed.kind, parsed.path, {**parsed.options, **Spec.parse(f"{parsed.kind}?{given}").options}
    )
    if parsed.kind == GENERATED:
        # the generator is imported when it is asked for: traces can be read without it
        from foreshade.envs.workloads.generator import generate  # noqa: PLC0415

        wishes = dict(parsed.options)
        if tick_s != 300:
            wishes.setdefault("tick_s", str(tick_s))
        return generate(parsed.path, **wishes)
    options = _values(spec, COMMON, parsed.options)
    shape = {key: float(options[key]) for key in ("memory_floor", "offloadable") if key in options}
    return to_workload(_trace(spec, parsed, tick_s), tick_s=tick_s, **shape)


def _trace(spec: str, parsed: Spec, tick_s: int | None) -> Trace:
    if parsed.kind == GENERATED:
        raise WorkloadError(f"{spec}: a generated workload has no trace; it is loaded as a workload")
    kind = KINDS[parsed.kind]
    options = _values(spec, kind.options, parsed.options)
    common = _values(spec, COMMON, parsed.options)
    vms = int(common["vms"]) if "vms" in common else None
    seed = int(common.get("seed", 0))
    if vms is not None and vms <= 0:
        raise WorkloadError(f"{spec}: vms: expected a number above 0, got {vms}")
    from_day = float(common.get("from_day", 0.0))
    days = float(common["days"]) if "days" in common else None
    if from_day < 0 or (days is not None and days <= 0):
        raise WorkloadError(f"{spec}: expected from_day of at least 0 and days above 0")
    if parsed.kind == "azure":
        # the readings are read once, and only those of the sample are kept
        options.update(seed=seed)
        options.update({} if vms is None else {"vms": vms})
        options.update({} if days is None else {"days": from_day + days})
        vms = None
    trace = kind.read(parsed.path or stored(parsed.kind), **options)
    length_s = float("inf") if days is None else days * 86400
    if "ticks" in common:
        if int(common["ticks"]) <= 0:
            raise WorkloadError(f"{spec}: ticks: expected a number above 0, got {common['ticks']}")
        length_s = min(length_s, float(common["ticks"]) * (tick_s or trace.step_s))
    return select(trace, vms=vms, seed=seed, from_s=from_day * 86400, length_s=length_s)


def _values(spec: str, known: Mapping[str, _Parser], options: Mapping[str, str]) -> dict[str, Option]:
    values: dict[str, Option] = {}
    for key, text in options.items():
        if key in known:
            try:
                values[key] = known[key](text)
            except ValueError as error:
                what = "a whole number" if known[key] is int else "a number"
                raise WorkloadError(f"{spec}: {key}: expected {what}, got {text!r}") from error
    return values


def stored(kind: str) -> str:
    """Where a kind's data lies below FORESHADE_DATA.

    Raises:
        WorkloadError: there is none; the line says what to give and where it is published.

    """
    told = f"give {kind}:PATH; see {KINDS[kind].published}"
    folder = os.environ.get(DATA_VARIABLE)
    pattern = KINDS[kind].stored
    if not pattern:
        raise WorkloadError(f"{kind}: no path: {told}")
    if not folder:
        raise WorkloadError(f"{kind}: no path, and {DATA_VARIABLE} is not set: {told}")
    found = sorted(Path(folder).glob(pattern))
    if not found:
        raise WorkloadError(f"{kind}: {DATA_VARIABLE}={folder} has no {pattern}: {told}")
    return str(found[0])
