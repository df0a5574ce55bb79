"""Training by name, and reading back whatever kind of model a folder holds."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from foreshade.envs.errors import InputError
from foreshade.envs.extras import require
from foreshade.envs.forecast.learned.boosted import BoostedConfig, BoostedQuantiles
from foreshade.envs.forecast.learned.global_model import GlobalModel
from foreshade.envs.forecast.learned.lstm import QuantileLstm
from foreshade.envs.forecast.learned.lstm_training import LstmConfig
from foreshade.envs.forecast.learned.per_class import PerClass
from foreshade.envs.forecast.learned.quantile_model import F32
from foreshade.envs.forecast.learned.training_set import TrainingSet
from foreshade.envs.frozen_folder import MANIFEST

KINDS: Mapping[str, type[GlobalModel[Any]]] = {"boosted": BoostedQuantiles, "lstm": QuantileLstm}


@dataclass(frozen=True, slots=True)
class Trained:
    """A model that can be asked, and what it was trained on."""

    model: GlobalModel[Any] | PerClass[GlobalModel[Any]]
    source: Mapping[str, Any]  # ``TrainingSet.source``

    def save(self, folder: Path) -> Path:
        """Freeze it."""
        return self.model.save(folder, self.source)


def train(
    data: TrainingSet,
    kind: str,
    *,
    horizons: tuple[int, ...],
    seed: int = 0,
    device: str = "auto",
    per_class: bool = False,
    regressors: F32 | None = None,
) -> Trained:
    """Train a model by name.

    Args:
        data: what it learns from.
        kind: ``boosted`` or ``lstm``.
        horizons: steps ahead; those that the history is too short for must be left out.
        seed: of the rows that are drawn, and of the network's start.
        device: of the LSTM: ``cpu``, ``cuda``, or ``auto``, which is a GPU where torch sees one.
        per_class: a model for each class of 200 series or more beside the one for all.
        regressors: (n_ticks, n_regressors) on the clock of the history.

    Raises:
        InputError: another kind or device, or too little to learn from.
        MissingExtraError: the training library is not installed.

    """
    if kind not in KINDS:
        raise InputError(f"model: expected {' or '.join(KINDS)}, got {kind!r}")
    make: Callable[[], GlobalModel[Any]]
    if kind == "lstm":
        where = _device(device)

        def make() -> GlobalModel[Any]:
            return QuantileLstm(LstmConfig(horizons=horizons, seed=seed, device=where))
    else:

        def make() -> GlobalModel[Any]:
            return BoostedQuantiles(BoostedConfig(horizons=horizons, seed=seed))

    if per_class:
        models = PerClass(make)
        models.fit(data.history, data.classes, start_tick=data.start_tick, regressors=regressors)
        return Trained(models, data.source)
    model = make()
    model.fit(data.history, start_tick=data.start_tick, regressors=regressors)
    return Trained(model, data.source)


def read_model(folder: Path) -> Trained:
    """Read what ``Trained.save`` wrote; the kind is found in the manifest.

    Raises:
        InputError: no frozen model, or one that was changed.

    """
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        found = manifest["format"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{folder}: expected a frozen forecasting model ({error})") from error
    if found == PerClass.FORMAT:
        first = folder / next(iter(manifest.get("models", {}).values()), "")
        kind = type(read_model(first).model)
        models: PerClass[GlobalModel[Any]] = PerClass(kind)  # type: ignore[arg-type]
        models.load(folder)
        return Trained(models, manifest.get("source", {}))
    for kind in KINDS.values():
        if found == kind.FORMAT:
            model = kind.load(folder)
            source = model.description.get("data")
            return Trained(model, source if isinstance(source, Mapping) else {})
    raise InputError(f"{folder / MANIFEST}: format: expected a forecasting model, got {found!r}")


def _device(name: str) -> str:
    if name not in {"auto", "cpu", "cuda"}:
        raise InputError(f"device: expected auto, cpu or cuda, got {name!r}")
    if name == "cpu":
        return name
    seen = bool(require("torch", "train", "training the quantile LSTM").cuda.is_available())
    if name == "cuda" and not seen:
        raise InputError("device: expected a GPU that torch can use, found none")
    return "cuda" if seen else "cpu"
