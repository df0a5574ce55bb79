"""Learned and classical models in one choice with the online engine, per series, horizon and level.

``Selection`` is a ``Forecaster``. Its experts are a forecaster that always answers (the native engine) and
any number that may not: a frozen model sleeps over what it was trained on, a rotation has fitted only some
series. Every ``stride`` steps it keeps what all of them said; when the outcome comes, the record that decides
the weights is brought forward (``mixture.py``). The blend's width is corrected last, so that it covers what
it promises whoever spoke.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from foreshade.envs.errors import ForecastError
from foreshade.envs.forecast.experts import Expert
from foreshade.envs.forecast.forecaster import LEVELS, EngineConfig, Forecaster
from foreshade.envs.forecast.history import History
from foreshade.envs.forecast.mixture import HorizonMixture, MixtureConfig

F32 = npt.NDArray[np.float32]
_LARGEST = 1e30  # above it a sample is taken as missing, as in the engine
_SMOOTH, _DAY = 0.05, 288  # of the level and the spread that give a series its scale


@dataclass(frozen=True, slots=True)
class SelectionConfig:
    """What is learnt from, and how fast."""

    strides: tuple[int, ...] | None = None  # learn from one origin in so many steps; None = the engine's
    mixture: MixtureConfig = field(default_factory=MixtureConfig)


class _Open:
    """What was said at the origins whose outcome is not known: one horizon, a slot per origin."""

    ARRAYS = ("due", "experts", "mixture", "answer", "scale")

    def __init__(self, n_series: int, n_experts: int, horizon: int, stride: int) -> None:
        self.horizon, self.stride = horizon, stride
        slots = -(-horizon // stride)
        levels = len(LEVELS)
        self.due = np.full((slots, n_series), -1, np.int64)  # tick of the outcome; -1 = nothing was said
        self.experts = np.full((slots, n_series, n_experts, levels), np.nan, np.float32)
        self.mixture = np.zeros((slots, n_series, levels), np.float32)
        self.answer = np.zeros((slots, n_series, levels), np.float32)
        self.scale = np.zeros((slots, n_series), np.float32)

    def slot(self, origin: int) -> int | None:
        """Where the origin at this tick is kept; None if it is not one that is learnt from."""
        return None if origin < 0 or origin % self.stride else origin // self.stride % len(self.due)


class Selection:
    """See the module; a ``Forecaster``.

    Args:
        base: a new forecaster of the same series; it votes always, and its horizons are the selection's.
        experts: the others; the order is that of ``weights``.
        config: see there.

    """

    def __init__(
        self, base: Forecaster, experts: Sequence[Expert], config: SelectionConfig | None = None
    ) -> None:
        self._config = config or SelectionConfig()
        self._base = base
        self._experts = tuple(experts)
        names = [expert.name for expert in self._experts]
        if len(set(names)) < len(names) or "engine" in names:
            raise ForecastError(f"selection: expected distinct experts beside engine, got {', '.join(names)}")
        n, horizons = len(base), tuple(base.horizons)
        strides = self._config.strides or EngineConfig(horizons).learning_strides
        if len(strides) != len(horizons) or min(strides) < 1:
            raise ForecastError(f"selection: strides: expected {len(horizons)} of at least 1, got {strides}")
        n_experts = 1 + len(names)
        pairs = list(zip(horizons, strides, strict=True))
        self._mixtures = [HorizonMixture(n, n_experts, h, s, self._config.mixture) for h, s in pairs]
        self._open = [_Open(n, n_experts, h, s) for h, s in pairs]
        self._history = History(n, max((expert.looks_back for expert in self._experts), default=1))
        self._level = np.full(n, np.nan, np.float32)
        self._scale = np.zeros(n, np.float32)
        self._seen = np.zeros(n, np.int64)  # samples of each series
        self._said: dict[int, F32] = {}  # experts by place of the horizon, at the newest sample
        self._base_said: F32 | None = None

    def __len__(self) -> int:
        """Number of series."""
        return len(self._history)

    @property
    def names(self) -> tuple[str, ...]:
        """The experts, in the order of ``weights``."""
        return ("engine", *(expert.name for expert in self._experts))

    @property
    def horizons(self) -> Sequence[int]:
        """Steps ahead, ascending."""
        return self._base.horizons

    @property
    def rejected(self) -> Mapping[str, int]:
        """Samples that were not used, by reason."""
        return self._base.rejected

    @property
    def memory_bytes(self) -> int:
        """Bytes held beside the base's, without the models."""
        arrays = self._arrays()
        return sum(array.nbytes for array in arrays.values()) + sum(
            said.nbytes for said in self._said.values()
        )

    def observe(self, samples: F32) -> None:
        """Take one sample of each series or ``k`` in order; every one is an origin that may be learnt from.

        Raises:
            ForecastError: another number of series.

        """
        block = self._checked(samples)
        for column in range(block.shape[1]):
            self._step(block[:, column : column + 1])

    def warm(self, samples: F32) -> None:
        """Take ``(n_series, k)`` samples of the past: they teach the base and are looked back on.

        They teach no choice: asking every expert at every tick of a long past costs minutes.

        Raises:
            ForecastError: another number of series.

        """
        block = self._checked(samples)
        self._base.observe(block)
        for column in range(block.shape[1]):
            self._track(_usable(block[:, column]))
        self._history.push(_usable(block))
        self._forget_said()

    def predict(self) -> F32:
        """``(n_series, n_horizons, 7) float32``."""
        out = np.empty((len(self), len(self._open), len(LEVELS)), np.float32)
        if self._history.clock == 0:
            return self._from_base()
        self._consult(range(len(self._open)))
        for place, mixture in enumerate(self._mixtures):
            out[:, place] = mixture.corrected(mixture.mix(self._said[place]), self._scale)
        # without a sample, or after a gap, the base alone knows what to say: it makes every horizon longer
        old = ~np.isfinite(self._history.newest())
        if old.any():
            out[old] = self._from_base()[old]
        return out

    def weights(self, horizon: int) -> F32:
        """``(n_series, n_experts, 7)`` what each expert counts for now, 0 where it is asleep.

        Raises:
            ForecastError: not one of the horizons, or no sample was seen.

        """
        if horizon not in self.horizons or self._history.clock == 0:
            raise ForecastError(
                f"selection: weights: expected one of {list(self.horizons)} after a sample, got {horizon}"
            )
        place = list(self.horizons).index(horizon)
        self._consult([place])
        return self._mixtures[place].weights(np.isfinite(self._said[place][:, :, 0]))

    def add(self, count: int) -> None:
        """Let so many series without a past begin, after the others."""
        self._base.add(count)
        self._history.add(count)
        for expert in self._experts:
            expert.add(count)
        for mixture in self._mixtures:
            mixture.add(count)
        for kept in self._open:
            for name in _Open.ARRAYS:
                array = getattr(kept, name)
                shape = (len(array), count, *array.shape[2:])
                young = np.full(shape, -1 if name == "due" else np.nan, array.dtype)
                setattr(kept, name, np.concatenate([array, young], axis=1))
        self._level = np.concatenate([self._level, np.full(count, np.nan, np.float32)])
        self._scale = np.concatenate([self._scale, np.zeros(count, np.float32)])
        self._seen = np.concatenate([self._seen, np.zeros(count, np.int64)])
        self._forget_said()

    def remove(self, who: Sequence[int]) -> None:
        """Forget these series; the others keep their order."""
        self._base.remove(who)  # raises before anything is changed
        self._history.remove(who)
        for expert in self._experts:
            expert.remove(who)
        for mixture in self._mixtures:
            mixture.remove(who)
        for kept in self._open:
            for name in _Open.ARRAYS:
                setattr(kept, name, np.delete(getattr(kept, name), list(who), axis=1))
        self._level = np.delete(self._level, list(who))
        self._scale = np.delete(self._scale, list(who))
        self._seen = np.delete(self._seen, list(who))
        self._forget_said()

    def save(self) -> bytes:
        """Everything learnt, but not the models: they are frozen elsewhere."""
        states = {f"expert-{e.name}": e.save() for e in self._experts} | {"base": self._base.save()}
        arrays = self._arrays() | {k: np.frombuffer(v, np.uint8) for k, v in states.items()}
        buffer = io.BytesIO()
        np.savez(buffer, **arrays)  # type: ignore[arg-type]
        return buffer.getvalue()

    def restore(self, state: bytes) -> None:
        """Continue from ``save``.

        Raises:
            ForecastError: the state is of other experts, horizons or strides; nothing is changed.

        """
        try:
            with np.load(io.BytesIO(state), allow_pickle=False) as stored:
                arrays = dict(stored)
        except (ValueError, OSError, EOFError) as error:
            raise ForecastError("saved selection: expected the bytes of save") from error
        own = self._arrays()
        expected = {*own, "base", *(f"expert-{e.name}" for e in self._experts)}
        if set(arrays) != expected or any(
            arrays[key].ndim != own[key].ndim or arrays[key].dtype != own[key].dtype for key in own
        ):
            raise ForecastError("saved selection: the state is of other experts or horizons")
        for place, kept in enumerate(self._open):
            if len(arrays[f"open-{place}-due"]) != len(kept.due):
                raise ForecastError("saved selection: the state is of other horizons or strides")
        self._base.restore(arrays["base"].tobytes())
        for expert in self._experts:
            expert.restore(arrays[f"expert-{expert.name}"].tobytes())
        self._history.restore(np.asarray(arrays["history-ring"], np.float32), int(arrays["history-clock"]))
        for place, (mixture, kept) in enumerate(zip(self._mixtures, self._open, strict=True)):
            prefix = f"mixture-{place}-"
            mixture.restore({k.removeprefix(prefix): v for k, v in arrays.items() if k.startswith(prefix)})
            for name in _Open.ARRAYS:
                setattr(kept, name, arrays[f"open-{place}-{name}"].copy())
        self._level, self._scale = arrays["level"].copy(), arrays["scale"].copy()
        self._seen = arrays["seen"].copy()
        self._forget_said()

    def _step(self, column: F32) -> None:
        self._base.observe(column)
        now = _usable(column[:, 0])
        tick = self._history.clock
        for mixture, kept in zip(self._mixtures, self._open, strict=True):
            slot = kept.slot(tick - kept.horizon)
            if slot is not None:
                truth = np.where(kept.due[slot] == tick, now, np.nan).astype(np.float32)
                mixture.learn(
                    kept.experts[slot], kept.mixture[slot], kept.answer[slot], truth, kept.scale[slot]
                )
        self._track(now)
        self._history.push(now[:, None])
        self._forget_said()
        due = [place for place, kept in enumerate(self._open) if kept.slot(tick) is not None]
        self._consult(due)
        for place in due:
            mixture, kept = self._mixtures[place], self._open[place]
            slot = kept.slot(tick)
            blend = mixture.mix(self._said[place])
            kept.experts[slot] = self._said[place]
            kept.mixture[slot] = blend
            kept.answer[slot] = mixture.corrected(blend, self._scale)
            kept.scale[slot] = self._scale
            # an origin without a sample has nothing to teach
            kept.due[slot] = np.where(np.isfinite(now), tick + kept.horizon, -1)

    def _consult(self, places: Sequence[int] | range) -> None:
        """Ask every expert for these horizons, unless it was asked at this tick already."""
        wanted = [place for place in places if place not in self._said]
        if not wanted:
            return
        horizons = [self.horizons[place] for place in wanted]
        voices = [self._from_base()[:, wanted]]
        voices += [expert.quantiles(self._history, horizons) for expert in self._experts]
        said = np.stack(voices, axis=2)
        for i, place in enumerate(wanted):
            self._said[place] = np.ascontiguousarray(said[:, i])

    def _from_base(self) -> F32:
        if self._base_said is None:
            self._base_said = self._base.predict()
        return self._base_said

    def _forget_said(self) -> None:
        self._said, self._base_said = {}, None

    def _track(self, now: F32) -> None:
        """Spread of each series around its level: the unit of what a blend without spread is widened by."""
        seen = np.isfinite(now)
        self._level = np.where(seen & ~np.isfinite(self._level), now, self._level)
        distance = np.where(seen, np.abs(now - self._level), self._scale)
        rate = np.maximum(1 / (self._seen + 1), 1 / _DAY)
        self._scale += (rate * (distance - self._scale)).astype(np.float32)
        self._seen += seen
        self._level = np.where(seen, self._level + _SMOOTH * (now - self._level), self._level).astype(
            np.float32
        )

    def _checked(self, samples: F32) -> F32:
        block = np.asarray(samples, np.float32)
        block = block[:, None] if block.ndim == 1 else block
        if block.ndim != 2 or block.shape[0] != len(self):
            raise ForecastError(f"selection: expected samples of {len(self)} series, got shape {block.shape}")
        return block

    def _arrays(self) -> dict[str, npt.NDArray[np.generic]]:
        arrays: dict[str, npt.NDArray[np.generic]] = {
            "level": self._level,
            "scale": self._scale,
            "seen": self._seen,
        }
        arrays |= {f"history-{name}": array for name, array in self._history.arrays().items()}
        for place, (mixture, kept) in enumerate(zip(self._mixtures, self._open, strict=True)):
            arrays |= {f"mixture-{place}-{name}": array for name, array in mixture.arrays().items()}
            arrays |= {f"open-{place}-{name}": getattr(kept, name) for name in _Open.ARRAYS}
        return arrays


def _usable(samples: F32) -> F32:
    """NaN for what the base rejects."""
    with np.errstate(invalid="ignore"):
        return np.where((samples >= 0) & (samples <= _LARGEST), samples, np.nan).astype(np.float32)
