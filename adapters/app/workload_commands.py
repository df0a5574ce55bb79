"""What ``foreshade workload describe|generate|convert`` do."""

from __future__ import annotations

import json
from pathlib import Path

from foreshade.envs.errors import WorkloadError
from foreshade.envs.workloads.describe import describe, render
from foreshade.envs.workloads.from_trace import to_workload
from foreshade.envs.workloads.spec import GENERATED, Spec, load_trace, load_workload
from foreshade.envs.workloads.table import write_table
from foreshade.envs.workloads.to_trace import to_trace
from foreshade.envs.workloads.trace import Trace


def describe_spec(spec: str, *, as_json: bool) -> str:
    """Size, statistics and defects of what a spec names, as text or JSON."""
    trace = _trace(spec)
    said = {**describe(trace), "to_play": _mended_to_play(trace)}
    return json.dumps(said, indent=1) if as_json else render(said)


def convert_spec(spec: str, out: Path) -> str:
    """Write what a spec names as a table; returns a line that says what was written."""
    trace = _trace(spec)
    write_table(trace, out)
    return f"{out}: {len(trace.vms)} VMs, {trace.n_ticks} slots of {trace.step_s} s"


def _mended_to_play(trace: Trace) -> dict[str, int]:
    """What a simulator's copy of the trace lacks, adds or clips, beyond what was met in reading it."""
    try:
        made = to_workload(trace).defects
    except WorkloadError:  # it cannot be played, and can be described all the same
        return {}
    return {kind: count for kind, count in made.items() if trace.defects.get(kind) != count}


def _trace(spec: str) -> Trace:
    if Spec.parse(spec).kind == GENERATED:
        return to_trace(load_workload(spec))
    return load_trace(spec)
