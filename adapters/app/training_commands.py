"""``foreshade train|tune|export`` and ``foreshade bench train``: from a scenario to a frozen policy."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from foreshade.envs.errors import InputError
from foreshade.envs.extras import require
from foreshade.envs.knobs import MOST_SEED

if TYPE_CHECKING:
    from foreshade.training.config import TrainConfig

Scenario = Annotated[str | None, typer.Option(help="A shipped scenario's name, or a YAML file.")]
Timesteps = Annotated[int | None, typer.Option(min=1, help="Decisions to train on.")]
Device = Annotated[str | None, typer.Option(help="auto, cpu or cuda.")]
Seed = Annotated[int | None, typer.Option(min=0, max=MOST_SEED, help="Of weights, draws and episodes.")]
Config = Annotated[Path | None, typer.Option(help="A YAML file; the options beside it come before it.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON and nothing else on standard output.")]


def train(
    scenario: Scenario = None,
    timesteps: Timesteps = None,
    device: Device = None,
    seed: Seed = None,
    out: Annotated[Path | None, typer.Option(help="Folder; default: runs/SCENARIO-SEED.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in --out.")] = False,
    config: Config = None,
) -> None:
    """Train HAM, judge it, freeze what the gate lets through.

    It is judged on held-out seeds.
    """
    if resume and out is None:
        raise InputError("train --resume: expected --out DIR, the run to go on with; found none")
    if resume and out is not None and config is None:
        config = out / "config.yaml"  # what the run was begun with
    said = _config(config, scenario, timesteps, device, seed)
    require_training("training")
    from foreshade.training.train import train as run  # noqa: PLC0415  loads torch

    folder = out or Path("runs") / f"{Path(said.scenario).stem}-{said.seed}"
    with _bar(f"train {said.scenario}") as on_progress:
        outcome = run(folder, said, _environments(said.scenario), resume=resume, on_progress=on_progress)
    sys.stdout.write(outcome.sentence + "\n")


def tune(
    scenario: Scenario = None,
    trials: Annotated[int, typer.Option(min=1, help="Trials that the study shall hold.")] = 20,
    timesteps: Timesteps = None,
    device: Device = None,
    seed: Seed = None,
    out: Annotated[Path, typer.Option(help="Folder of the study; one that is there goes on.")] = Path(
        "runs/tune"
    ),
    config: Config = None,
) -> None:
    """Search for hyperparameters of training.

    The best are written to best.yaml, which train --config reads.
    """
    said = _config(config, scenario, timesteps, device, seed)
    require_training("tuning")
    require("optuna", "train", "tuning")
    from foreshade.training.tune import BEST  # noqa: PLC0415  loads torch
    from foreshade.training.tune import tune as run  # noqa: PLC0415

    with _bar(f"tune {said.scenario}") as on_progress:
        run(out, said, _environments(said.scenario), trials, on_progress)
    sys.stdout.write(f"{out / BEST}\n")


def export(
    run: Annotated[Path, typer.Argument(help="Folder of a finished training run.")],
    out: Annotated[Path, typer.Option(help="Folder for the frozen policy.")],
) -> None:
    """Copy the frozen policy of a training run.

    What its gate let through: ONNX, weights and a manifest that says where it is from.
    """
    require_training("reading a training run")
    from foreshade.agents.ham.frozen import FrozenPolicy  # noqa: PLC0415  loads ONNX Runtime
    from foreshade.training.run_folder import RunFolder  # noqa: PLC0415  loads torch

    folder = RunFolder.open(run)
    shipped = folder.read_gate()["shipped"]
    path = FrozenPolicy.load(folder.policy).save(out)
    sys.stdout.write(f"{path}: {shipped} policy\n")


def bench_train(
    scenario: Scenario = None,
    rollouts: Annotated[int, typer.Option(min=1, help="Rollouts to measure of each.")] = 2,
    device: Device = None,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """What training takes: environment, rollout and learning.

    The same without an environment, and stock PPO, stand beside it.
    """
    said = _config(config, scenario, None, device, None)
    require_training("measuring training")
    from foreshade.training.bench import measure  # noqa: PLC0415  loads torch

    results = measure(said, _environments(said.scenario), rollouts)
    if as_json:
        sys.stdout.write(json.dumps(results, indent=1) + "\n")
        return
    table = Table(box=None)
    columns = dict.fromkeys(key for row in results.values() for key in row)
    table.add_column("")
    for column in columns:
        table.add_column(column, justify="right")
    for name, row in results.items():
        table.add_row(name, *(f"{row[column]:,.4g}" if column in row else "" for column in columns))
    Console(width=None if sys.stdout.isatty() else 160).print(table)


def require_training(purpose: str) -> None:
    """Name the extra that is missing before anything else is loaded."""
    for module in ("torch", "stable_baselines3", "tensorboard"):
        require(module, "train", purpose)
    for module in ("onnx", "onnxruntime"):
        require(module, "policy", purpose)


def _config(
    path: Path | None,
    scenario: str | None,
    timesteps: int | None,
    device: str | None,
    seed: int | None,
) -> TrainConfig:
    from foreshade.training.config import TrainConfig, read_config  # noqa: PLC0415  keeps --help fast

    base = read_config(path) if path is not None else TrainConfig()
    return base.changed(scenario=scenario, timesteps=timesteps, device=device, seed=seed)


def _environments(scenario: str) -> Any:
    from foreshade.training.environments import of_scenario  # noqa: PLC0415  loads torch

    return of_scenario(scenario)


@contextmanager
def _bar(what: str) -> Iterator[Callable[[int, int], None]]:
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed:,.0f}"))
    clocks = (TimeElapsedColumn(), TimeRemainingColumn())
    hidden = not sys.stderr.isatty()
    with Progress(*columns, *clocks, console=Console(stderr=True), disable=hidden) as progress:
        task = progress.add_task(what, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)
