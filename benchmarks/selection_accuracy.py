"""Print the table of the selection in ``docs/forecasting.md``: engine, learned models and selection of all.

    python benchmarks/selection_accuracy.py FOLDER [20110303 … | cpu | memory]

FOLDER holds what ``foreshade forecast train`` wrote: ``FOLDER/DAY`` trained on the other PlanetLab days,
``FOLDER/bitbrains`` on the first 14 days of Bitbrains. FORESHADE_DATA names the folder of the traces. Ratios
are of mean pinball losses to the engine's in the same run.
"""

from __future__ import annotations

import sys
from pathlib import Path

from foreshade.envs.forecast.entrants import Stable
from foreshade.envs.forecast.score import score

DAYS = ("20110303", "20110306", "20110309", "20110322", "20110325")


BITBRAINS_VMS = 80  # drawn with seed 0: a resource takes a CPU minute


def show(label: str, workload: str, resource: str, trained: Path, sample: int | None = None) -> None:
    learned = [kind for kind in ("boosted", "lstm") if (trained / resource / kind).is_dir()]
    models = ["engine", "seasonal", *learned, "selection"]
    rows = {
        (r["model"], r["horizon"]): r
        for r in score(workload, models, resource, sample, entrants=Stable(trained=trained))
    }
    for horizon in sorted({h for _, h in rows}):
        engine = rows["engine", horizon]
        ratios = [f"{rows[m, horizon]['pinball'] / engine['pinball']:.3f}" for m in ("seasonal", *learned)]
        chosen = rows["selection", horizon]
        print(
            f"| {label} | {resource} | {horizon} | {engine['pinball']:.4g} | {' | '.join(ratios)} "
            f"| {'' if 'lstm' in learned else '– | '}**{chosen['pinball'] / engine['pinball']:.3f}** "
            f"| {engine['cov80']:.3f}, {engine['cov95']:.3f} "
            f"| {chosen['cov80']:.3f}, {chosen['cov95']:.3f} |",
            flush=True,
        )


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    for name in sys.argv[2:] or (*DAYS, "cpu", "memory"):
        if name in DAYS:
            show(f"planetlab {name}", f"planetlab?day={name}", "cpu", folder / name)
        else:
            show("bitbrains", "bitbrains", name, folder / "bitbrains", BITBRAINS_VMS)
