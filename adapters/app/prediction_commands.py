"""``foreshade forecast|anomaly|hazard``: what predicts and detects, judged on public data."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from foreshade.envs.errors import InputError
from foreshade.envs.knobs import MOST_SEED

forecast_app = typer.Typer(
    help="Score forecasts, and make rolling-origin tables of them.", no_args_is_help=True
)
anomaly_app = typer.Typer(help="Judge the anomaly detectors on public benchmarks.", no_args_is_help=True)
hazard_app = typer.Typer(help="Train and judge the disk failure model.", no_args_is_help=True)

Json = Annotated[bool, typer.Option("--json", help="Print JSON and nothing else on standard output.")]


@forecast_app.command("score")
def forecast_score(
    workload: Annotated[str, typer.Option(help="A trace: KIND:PATH?key=value.")],
    models: Annotated[
        str,
        typer.Option(
            help="Models, separated by commas: engine naive seasonal window_N boosted lstm selection "
            "autoarima autoets mstl prophet."
        ),
    ] = "engine,naive,seasonal_naive",
    resource: Annotated[
        str | None, typer.Option(help="cpu memory disk_read …; default: all measured.")
    ] = None,
    sample: Annotated[int | None, typer.Option(min=1, help="Series to draw.")] = None,
    seed: Annotated[int, typer.Option(min=0, max=MOST_SEED, help="Of the draw and of training.")] = 0,
    train: Annotated[
        list[str] | None, typer.Option(help="Workload to train learned models on; may be repeated.")
    ] = None,
    trained: Annotated[
        Path | None, typer.Option("--trained", "--policy-dir", help="Folder of 'foreshade forecast train'.")
    ] = None,
    rotation: Annotated[
        str, typer.Option(help="Classical models that take turns in the selection, separated by commas.")
    ] = "",
    device: Annotated[str, typer.Option(help="auto, cpu or cuda, for the LSTM's training.")] = "auto",
    as_json: Json = False,
) -> None:
    """Score models on a trace.

    Every series from its beginning, nothing looking ahead.
    """
    from foreshade.envs.forecast.entrants import Stable  # noqa: PLC0415
    from foreshade.envs.forecast.score import score  # noqa: PLC0415

    stable = Stable(tuple(train or ()), trained, seed, device, _names(rotation))
    rows = score(workload, _names(models), resource, sample, seed, stable)
    if as_json:
        _show({"results": rows}, as_json=True)
        return
    table = Table(box=None)
    for column in rows[0] if rows else ():
        table.add_column(column, justify="left" if column in {"model", "resource"} else "right")
    for row in rows:
        table.add_row(*(_cell(value) for value in row.values()))
    Console(width=None if sys.stdout.isatty() else 120).print(table)


@forecast_app.command("train")
def forecast_train(
    workload: Annotated[list[str], typer.Option(help="A trace: KIND:PATH?key=value; may be repeated.")],
    out: Annotated[Path, typer.Option(help="Folder; a model goes to OUT/RESOURCE/MODEL.")],
    model: Annotated[str, typer.Option(help="boosted or lstm.")] = "boosted",
    resource: Annotated[str, typer.Option(help="cpu memory disk_read …")] = "cpu",
    per_class: Annotated[
        bool, typer.Option("--per-class", help="One more for each application or flavour of 200 VMs.")
    ] = False,
    seed: Annotated[
        int, typer.Option(min=0, max=MOST_SEED, help="Of the rows drawn and of the network's start.")
    ] = 0,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda, for the LSTM.")] = "auto",
) -> None:
    """Train a model on all series of a resource.

    What is frozen runs without its training library.
    """
    from foreshade.envs.forecast.forecaster import HORIZONS  # noqa: PLC0415
    from foreshade.envs.forecast.learned.frozen_model import train  # noqa: PLC0415
    from foreshade.envs.forecast.learned.training_set import training_set  # noqa: PLC0415
    from foreshade.envs.frozen_folder import check_target  # noqa: PLC0415

    check_target(out / resource / model)  # before minutes of work, not after
    data = training_set(workload, resource)
    room = data.history.shape[1] - 2 * 288  # a day before the first origin, and days of origins
    horizons = tuple(h for h in HORIZONS if h < 288 or room > 288)
    found = train(data, model, horizons=horizons, seed=seed, device=device, per_class=per_class)
    folder = found.save(out / resource / model)
    ahead = ", ".join(str(h) for h in horizons)
    sys.stdout.write(f"model: {folder}, {len(data.history)} series, {ahead} steps ahead\n")


@forecast_app.command("plot")
def forecast_plot(
    workload: Annotated[str, typer.Option(help="A trace: KIND:PATH?key=value.")],
    out: Annotated[Path, typer.Option(help="File: .html, or .svg and .png with the extra plot.")],
    series: Annotated[list[int] | None, typer.Option(help="Rows to draw, from 0; may be repeated.")] = None,
    models: Annotated[str, typer.Option(help="As in score; fans are the first one's.")] = "engine",
    resource: Annotated[str, typer.Option(help="cpu memory disk_read …")] = "cpu",
    horizon: Annotated[int, typer.Option(min=1, help="Steps ahead.")] = 12,
    hours: Annotated[float, typer.Option(help="Length of what is drawn, up to the end.")] = 6.0,
    part: Annotated[str, typer.Option(help="both, fans or reliability.")] = "both",
    sample: Annotated[int | None, typer.Option(min=1, help="Series to draw at random.")] = None,
    seed: Annotated[int, typer.Option(min=0, max=MOST_SEED, help="Of the draw and of training.")] = 0,
    train: Annotated[list[str] | None, typer.Option(help="Workload to train learned models on.")] = None,
    trained: Annotated[
        Path | None, typer.Option("--trained", "--policy-dir", help="Folder of 'foreshade forecast train'.")
    ] = None,
) -> None:
    """Draw forecasts over what came, and their reliability.

    Fans over what came, and whether quantiles hold what they promise.
    """
    from foreshade.adapters.app.forecast_plot import check_target, roll, write_plot  # noqa: PLC0415
    from foreshade.envs.forecast.entrants import Stable  # noqa: PLC0415
    from foreshade.envs.forecast.score import case_of, entered  # noqa: PLC0415
    from foreshade.envs.workloads.spec import Spec, load_trace  # noqa: PLC0415

    check_target(out)
    kind = Spec.parse(workload).kind
    case = case_of(load_trace(workload), resource, kind=kind, sample=sample, seed=seed)
    entrants = Stable(tuple(train or ()), trained, seed)
    rolling = roll(case, entered(case, _names(models), entrants), horizon, hours)
    sys.stdout.write(f"plot: {write_plot(rolling, series or [0, 1, 2], out, part)}\n")


@forecast_app.command("precompute")
def forecast_precompute(
    workload: Annotated[str, typer.Option(help="KIND:PATH?key=value.")],
    out: Annotated[Path | None, typer.Option(help="Folder for the table; default: the cache.")] = None,
    tick_s: Annotated[int, typer.Option(min=1, help="Control interval of the table, s.")] = 300,
    quantiles: Annotated[bool, typer.Option(help="Keep the quantiles beside the moments.")] = True,
) -> None:
    """Write the forecasts of every tick of a workload.

    What the engine forecasts from the ticks before each.
    """
    from foreshade.envs.forecast.cache import cache_folder  # noqa: PLC0415
    from foreshade.envs.forecast.table import precompute  # noqa: PLC0415
    from foreshade.envs.workloads.spec import load_workload  # noqa: PLC0415

    played = load_workload(workload, tick_s=tick_s)
    files = precompute(played, played.n_ticks, out or cache_folder(), quantiles=quantiles)
    sys.stdout.write(f"moments: {files.moments}\n")
    if quantiles:
        sys.stdout.write(f"quantiles: {files.quantiles}\n")


@anomaly_app.callback()
def _anomaly() -> None:
    """Keep ``score`` a command of its own while it is the only one."""


@anomaly_app.command("score")
def anomaly_score(
    nab: Annotated[
        str | None, typer.Option(help="Folder or archive of the Numenta Anomaly Benchmark.")
    ] = None,
    smd: Annotated[
        str | None, typer.Option(help="The Server Machine Dataset: its folder, an archive, or packed (.npz).")
    ] = None,
    as_json: Json = False,
) -> None:
    """Score on NAB, on SMD, or on both.

    False alarms per series and day stand beside each score.
    """
    if nab is None and smd is None:
        raise InputError("anomaly score: expected --nab DIR, --smd FILE, or both; found neither")
    said: dict[str, Any] = {}
    if nab is not None:
        from foreshade.envs.anomaly.nab import score_nab  # noqa: PLC0415

        said["nab"] = score_nab(nab)
    if smd is not None:
        from foreshade.envs.anomaly.smd import score_smd  # noqa: PLC0415

        said["smd"] = score_smd(smd)
    _show(said, as_json=as_json)


@hazard_app.command("score")
def hazard_score(
    data: Annotated[Path, typer.Option(help="Drive records with SMART values (.parquet).")],
    model: Annotated[
        Path | None, typer.Option(help="A frozen model; without it one is trained first.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Judge the disk hazard on drives that never train."""
    from foreshade.envs.hazard.disk_model import DiskHazardModel  # noqa: PLC0415
    from foreshade.envs.hazard.score import score  # noqa: PLC0415

    _show({"hazard": score(data, None if model is None else DiskHazardModel.load(model))}, as_json=as_json)


@hazard_app.command("train")
def hazard_train(
    data: Annotated[Path, typer.Option(help="Drive records with SMART values (.parquet).")],
    out: Annotated[Path, typer.Option(help="Folder for the frozen model.")],
) -> None:
    """Train the disk hazard and freeze it to a folder with a manifest."""
    from foreshade.envs.frozen_folder import check_target  # noqa: PLC0415
    from foreshade.envs.hazard.train import train  # noqa: PLC0415

    check_target(out)
    train(data, out)
    sys.stdout.write(f"model: {out}\n")


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


def _show(said: Mapping[str, Any], *, as_json: bool) -> None:
    if as_json:
        sys.stdout.write(json.dumps(_finite(said), indent=1, allow_nan=False) + "\n")
        return
    for line in _lines(said, 0):
        sys.stdout.write(line + "\n")


def _finite(value: Any) -> Any:
    """JSON has no NaN: what is not finite becomes null."""
    if isinstance(value, Mapping):
        return {str(key): _finite(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(one) for one in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def _lines(value: Mapping[str, Any], depth: int) -> list[str]:
    lines = []
    for key, one in value.items():
        indent = "  " * depth
        if isinstance(one, Mapping):
            lines += [f"{indent}{key}", *_lines(one, depth + 1)]
        elif isinstance(one, list | tuple) and one and all(isinstance(row, Mapping) for row in one):
            lines.append(f"{indent}{key}")
            for row in one:
                cells = ", ".join(f"{k} {_cell(v)}" for k, v in row.items())
                lines.append(f"{indent}  {cells}")
        else:
            lines.append(f"{indent}{key}: {_cell(one)}")
    return lines


def _cell(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
