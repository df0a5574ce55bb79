"""Models that enter a score by name beside the engine: learned, classical, and the selection of all."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from foreshade.envs.errors import InputError
from foreshade.envs.forecast.classical.prophet_model import prophet_model
from foreshade.envs.forecast.classical.rotation import Rotation, RotationConfig
from foreshade.envs.forecast.classical.stats_models import LIBRARIES, stats_model
from foreshade.envs.forecast.experts import Expert, LearnedExpert, RotatedExpert, SeasonalExpert
from foreshade.envs.forecast.forecaster import EngineConfig, NativeForecaster
from foreshade.envs.forecast.learned.frozen_model import KINDS, Trained, read_model, train
from foreshade.envs.forecast.learned.per_class import PerClass
from foreshade.envs.forecast.learned.quantile_model import F32, QuantileModel
from foreshade.envs.forecast.learned.training_set import ticks_since_monday, training_set
from foreshade.envs.forecast.score import WEEK, Case, Model
from foreshade.envs.forecast.selection import Selection, SelectionConfig

SELECTION = "selection"
#: Names of classical models, with the library's own beside ours.
CLASSICAL: Mapping[str, str] = {
    **{name: name for name in (*LIBRARIES, "prophet")},
    "autoarima": "arima",
    "autoets": "ets",
}


@dataclass(frozen=True, slots=True)
class Stable:
    """Where the learned models of a score come from, and what the selection is made of."""

    train: tuple[str, ...] = ()  # workloads to train on, other than the one that is scored
    trained: Path | None = None  # folder that ``foreshade forecast train --out`` wrote
    seed: int = 0
    device: str = "auto"
    rotation: tuple[str, ...] = ()  # classical models that take turns in the selection
    fits_per_tick: int = 2  # of each of them; a count and not a time, so that a score repeats
    config: SelectionConfig = field(default_factory=SelectionConfig)

    def __call__(self, case: Case, names: Sequence[str]) -> Mapping[str, Model]:
        """The models among ``names`` that are not built in, ready for this case.

        Raises:
            InputError: a learned model without a place to come from, or trained on what is scored.
            MissingExtraError: an extra that a model needs is not installed.

        """
        found: dict[str, Model] = {}
        learned: dict[str, Trained] = {}
        for name in names:
            if name in KINDS or name == SELECTION:
                for kind in KINDS if name == SELECTION else (name,):
                    model = learned.get(kind) or self._learned(case, kind, needed=name != SELECTION)
                    if model is not None:
                        learned[kind] = model
        for name in names:
            if name in KINDS:
                found[name] = alone(learned_expert(name, learned[name], case, strict=True))
            elif name in CLASSICAL:
                found[name] = refitted(
                    classical_model(name), ticks_since_monday(case.start_epoch_s, case.step_s)
                )
            elif name == SELECTION:
                found[name] = self._selection(case, learned)
        return found

    @property
    def names(self) -> tuple[str, ...]:
        """Everything that can be asked for here."""
        return (*KINDS, *CLASSICAL, SELECTION)

    def _learned(self, case: Case, kind: str, *, needed: bool) -> Trained | None:
        if self.trained is not None:
            folder = self.trained / case.resource / kind
            if folder.is_dir():
                return read_model(folder)
        elif self.train:
            data = training_set(self.train, case.resource)
            return train(data, kind, horizons=case.protocol.horizons, seed=self.seed, device=self.device)
        if needed:
            where = f"none in {self.trained}" if self.trained is not None else "neither is given"
            raise InputError(
                f"score: {kind} of {case.resource}: expected --train WORKLOAD of other days, or --trained "
                f"DIR of 'foreshade forecast train'; {where}"
            )
        return None

    def _selection(self, case: Case, learned: Mapping[str, Trained]) -> Model:
        start_tick = ticks_since_monday(case.start_epoch_s, case.step_s)

        def make(n_series: int) -> Selection:
            experts: list[Expert] = [SeasonalExpert()]
            experts += [learned_expert(kind, model, case) for kind, model in learned.items()]
            experts += [
                RotatedExpert(
                    name,
                    counted_rotation(n_series, self.fits_per_tick),
                    classical_model(name),
                    start_tick=start_tick,
                )
                for name in self.rotation
            ]
            horizons = EngineConfig(horizons=tuple(case.protocol.horizons))
            return Selection(NativeForecaster(n_series, horizons), experts, self.config)

        return streamed(make)


def streamed(make: Callable[[int], Selection]) -> Model:
    """A selection shown every sample; the week before the first origin and what follows teach its choice."""

    def forecast(values: F32, origins: Sequence[int], horizons: Sequence[int]) -> F32:
        selection = make(len(values))
        columns = [list(selection.horizons).index(h) for h in horizons]
        begin = max(0, origins[0] + 1 - WEEK)
        if begin:
            selection.warm(values[:, :begin])
        rows = []
        for t in origins:
            selection.observe(values[:, begin : t + 1])
            begin = t + 1
            rows.append(selection.predict()[:, columns])
        return np.stack(rows, axis=1)

    return forecast


def alone(expert: LearnedExpert) -> Model:
    """A learned model on its own; what it cannot say (a series without a sample) is 0."""

    def forecast(values: F32, origins: Sequence[int], horizons: Sequence[int]) -> F32:
        rows = [expert.after(values[:, : t + 1], horizons) for t in origins]
        return np.nan_to_num(np.stack(rows, axis=1))

    return forecast


def refitted(model: QuantileModel, start_tick: int) -> Model:
    """A classical model, fitted anew to every series at every origin."""

    def forecast(values: F32, origins: Sequence[int], horizons: Sequence[int]) -> F32:
        rows = [model.predict(values[:, : t + 1], tuple(horizons), start_tick=start_tick) for t in origins]
        return np.stack(rows, axis=1)

    return forecast


def learned_expert(name: str, trained: Trained, case: Case, *, strict: bool = False) -> LearnedExpert:
    """An expert that sleeps over the days it was trained on.

    Raises:
        InputError: ``strict``, and the origins of the case lie in those days.

    """
    asleep = []
    for begin_s, end_s in trained.source.get("periods_s", ()):
        first = int((begin_s - case.start_epoch_s) // case.step_s)
        past = -int(-(end_s - case.start_epoch_s) // case.step_s)
        if past > 0 and first < case.values.shape[1]:
            asleep.append((first, past))
    origins = case.protocol.origins
    if strict and any(first <= origins[-1] and origins[0] < past for first, past in asleep):
        raise InputError(f"score: {name}: expected other days than those it was trained on")
    return LearnedExpert(
        name,
        trained.model,
        start_tick=ticks_since_monday(case.start_epoch_s, case.step_s),
        asleep=asleep,
        classes=case.classes if isinstance(trained.model, PerClass) else None,
    )


def classical_model(name: str) -> QuantileModel:
    """By our name or the library's."""
    ours = CLASSICAL[name]
    return prophet_model() if ours == "prophet" else stats_model(ours)


def counted_rotation(n_series: int, fits: int) -> Rotation:
    """A rotation whose budget is a number of fits and not a time."""
    ticks = iter(range(1 << 62))
    config = RotationConfig(budget_cpu_s=float(fits), first_cost_s=1.0)
    return Rotation(n_series, config=config, cpu_clock=lambda: float(next(ticks)))
