"""A frozen HAM: a folder that decides without torch, and says when it should not be trusted.

The folder holds ``actor.onnx``, ``weights.npz`` and ``manifest.json`` (see ``envs.frozen_folder``). It runs
on NumPy alone; batches run on ONNX Runtime where it is installed. Whoever asks it falls back to the rules
when ``doubt`` gives a reason, and says so.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from foreshade.agents.ham.frozen_network import (
    ActorShape,
    NumpyActor,
    check_weights,
    onnx_actor,
    pack_weights,
    unpack_weights,
)
from foreshade.envs.errors import InputError
from foreshade.envs.extras import require
from foreshade.envs.features import F32, Schema
from foreshade.envs.frozen_folder import freeze, thaw

FORMAT = "foreshade-ham/1"
#: How far beyond the range of training a value may lie, in spans of that range: the extremes of a sample
#: are no wall, and a new sample of the same population passes them now and then.
RANGE_SLACK = 0.25
_NORMALISATION = "by the environment, to the low and high of each column; the policy scales nothing"

Backend = Literal["auto", "onnxruntime", "numpy"]
Scores = Callable[[F32], F32]  # flat observations (n, size) to logits (n, K)


class Choice(NamedTuple):
    """What HAM chooses in one state, and how far to trust it."""

    candidate: int
    confidence: float  # probability of the best candidate minus that of the second
    out_of_range: bool  # a column of the context or of an unmasked candidate is out of the trained range
    gain: float = math.inf  # logit above that of the rules' choice; inf where they choose alike


class Choices(NamedTuple):
    """The same of n states."""

    candidate: npt.NDArray[np.intp]  # (n,)
    confidence: F32  # (n,)
    out_of_range: npt.NDArray[np.bool_]  # (n,)
    gain: F32  # (n,)


class FrozenPolicy:
    """Weights, the range they were trained on, and where they come from.

    Args:
        schema: of the observation.
        shape: of the network.
        weights: by torch's names.
        low: (G + F,) smallest value of each column in training, the context's first.
        high: (G + F,) largest.
        confidence_floor: below it a choice that is not the rules' is in doubt.
        least_gain: logit that a choice must have above the rules', or it is in doubt.
        origin: scenario, seeds, revision, scores: whatever a person wants to know of its origin.
        where: how errors call it.

    Raises:
        InputError: weights of another shape or not finite, or a range that is none.

    """

    def __init__(
        self,
        schema: Schema,
        shape: ActorShape,
        weights: Mapping[str, F32],
        low: F32,
        high: F32,
        *,
        confidence_floor: float = 0.0,
        least_gain: float = 0.0,
        origin: Mapping[str, Any] | None = None,
        where: str = "frozen HAM",
    ) -> None:
        check_weights(weights, shape, schema, where)
        n_columns = len(schema.context) + len(schema.candidate)
        if low.shape != (n_columns,) or high.shape != (n_columns,) or not (low <= high).all():
            raise InputError(f"{where}: range: expected low <= high of {n_columns} columns")
        self.schema = schema
        self.shape = shape
        self.weights = dict(weights)
        self.low, self.high = low, high
        self.confidence_floor = confidence_floor
        self.least_gain = least_gain
        self.origin = dict(origin or {})
        self._actor = NumpyActor(weights, shape, schema)
        self.scores: Scores = self._actor  # of batches
        slack = RANGE_SLACK * (high - low) + 1e-2  # of a column that never moved: what float16 may round
        self._low, self._high = self._flat(low - slack), self._flat(high + slack)
        self._within = np.empty(self._low.shape, bool), np.empty(self._low.shape, bool)
        self._n_context = len(schema.context)
        self._ones = np.ones(schema.k, np.float32)

    def __reduce__(self) -> tuple[Any, ...]:
        """Built anew from its weights: what it computes in are views of each other, which a copy is not; on NumPy."""
        columns = self.schema, self.shape, self.weights, self.low, self.high
        options = {key: getattr(self, key) for key in ("confidence_floor", "least_gain", "origin")}
        return partial(FrozenPolicy, **options), columns

    @classmethod
    def load(
        cls, folder: str | Path, *, expected: Schema | None = None, backend: Backend = "auto"
    ) -> FrozenPolicy:
        """Read a folder; ``expected`` is the schema of the environment that it shall decide in.

        Raises:
            InputError: no such folder, a file that is truncated or altered, another schema, weights that
                are not finite.
            MissingExtraError: the backend is named and not installed.

        """
        manifest, files = thaw(folder, FORMAT)
        where = str(folder)
        missing = {"actor.onnx", "weights.npz"} - files.keys()
        if missing:
            raise InputError(f"{where}: sha256: expected an entry of {', '.join(sorted(missing))}, got none")
        try:
            schema = Schema.from_dict(manifest["schema"])
            shape = ActorShape(**manifest["network"])
            names = _column_names(schema)
            low, high = np.array([manifest["range"][name] for name in names], np.float32).T
            floor, origin = float(manifest["confidence_floor"]), dict(manifest["origin"])
            gain = float(manifest.get("least_gain", 0.0))
            if manifest["normalisation"] != _NORMALISATION:
                raise ValueError(f"normalisation {manifest['normalisation']!r}")
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"{where}: manifest: expected what this version writes ({error!r})") from error
        if expected is not None and (difference := expected.difference(schema)) is not None:
            raise InputError(f"{where}: schema: {difference}")
        weights = unpack_weights(files["weights.npz"], f"{where}/weights.npz")
        policy = cls(
            schema, shape, weights, low, high,
            confidence_floor=floor, least_gain=gain, origin=origin, where=where,
        )  # fmt: skip
        if backend == "onnxruntime" or (backend == "auto" and find_spec("onnxruntime")):
            policy.scores = _onnx_session(files["actor.onnx"], policy, where)
        return policy

    def save(self, folder: str | Path) -> Path:
        """Freeze to a folder; see ``frozen_folder``.

        Raises:
            InputError: the folder holds something else, or cannot be written.
            MissingExtraError: onnx is not installed.

        """
        manifest = {
            "schema": self.schema.to_dict(),
            "normalisation": _NORMALISATION,
            "network": asdict(self.shape),
            "range": {
                name: [float(low), float(high)]
                for name, low, high in zip(_column_names(self.schema), self.low, self.high, strict=True)
            },
            "confidence_floor": self.confidence_floor,
            "least_gain": self.least_gain,
            "origin": self.origin,
        }
        files = {
            "actor.onnx": onnx_actor(self.weights, self.shape, self.schema),
            "weights.npz": pack_weights(self.weights),
        }
        return freeze(folder, FORMAT, files, manifest)

    def choose(self, flat: F32, rules: int | None = None) -> Choice:
        """Decide in one state: a flat observation (size,) float32; not for two threads at once.

        It is NumPy's on every backend: calling ONNX Runtime costs more than so small a network does.
        ``rules`` is the rules' choice where the caller knows it; None = it is sought.
        """
        odds = self._actor.one(flat)
        best = int(odds.argmax())
        odds -= odds[best]
        rules = self._rules(flat) if rules is None else rules
        gain = math.inf if rules == best else -float(odds[rules])
        np.exp(odds, out=odds)
        total = float(np.dot(odds, self._ones))
        odds[best] = 0.0
        confidence = (1.0 - float(odds[odds.argmax()])) / total  # a third of what max() takes
        return Choice(best, confidence, self._is_out_of_range(flat), gain)

    def choose_batch(self, flat: F32) -> Choices:
        """Decide in n states: flat observations (n, size) float32."""
        logits = self.scores(flat)
        _, candidates, mask = self.schema.split(flat)
        best = logits.argmax(axis=1)
        rows = np.arange(len(flat))
        rules = np.where(mask > 0, candidates[:, :, 0], -np.inf).argmax(axis=1)
        gain = np.where(best == rules, np.inf, logits[rows, best] - logits[rows, rules]).astype(np.float32)
        odds = np.exp(logits - logits[rows, best][:, None])
        total = odds.sum(axis=1)
        odds[rows, best] = 0.0
        beyond = np.asarray(self._beyond(flat).any(axis=1))
        return Choices(best, (1.0 - odds.max(axis=1)) / total, beyond, gain)

    def doubt(self, choice: Choice) -> str | None:
        """Why the rules should decide instead; None = they need not."""
        if choice.out_of_range:
            return "input out of the trained range"
        if choice.gain == math.inf:  # the rules would choose alike
            return None
        if choice.confidence < self.confidence_floor:
            return f"confidence {choice.confidence:.3f} below {self.confidence_floor:g}"
        if choice.gain <= self.least_gain:
            return f"gain {choice.gain:.3f} not above {self.least_gain:g}"
        return None

    def doubtful(self, choices: Choices) -> npt.NDArray[np.bool_]:
        """(n,) whether the rules should decide instead."""
        unsure = (choices.confidence < self.confidence_floor) | (choices.gain <= self.least_gain)
        return choices.out_of_range | (unsure & np.isfinite(choices.gain))

    def _rules(self, flat: F32) -> int:
        """The rules' choice: the unmasked candidate of the highest preference."""
        _, candidates, mask = self.schema.split(flat)
        return int((candidates[:, 0] - (mask <= 0) * np.float32(1e9)).argmax())

    def columns_out_of_range(self, flat: F32) -> tuple[str, ...]:
        """Names of the columns of one state (size,) that are out of the trained range."""
        names = _column_names(self.schema)
        context, rows = np.split(self._beyond(flat[None])[0], [self._n_context])
        beyond = np.concatenate([context, np.any(rows.reshape(self.schema.k, -1), axis=0)])
        return tuple(name for name, out in zip(names, beyond, strict=True) if out)

    def _is_out_of_range(self, flat: F32) -> bool:
        columns, within, below_high = flat[: len(self._low)], *self._within
        np.greater_equal(columns, self._low, out=within)
        np.less_equal(columns, self._high, out=below_high)
        np.logical_and(within, below_high, out=within)
        # Most states end here; only what stands in a masked candidate may be anything.
        return not within[within.argmin()] and bool(self._beyond(flat[None]).any())

    def _beyond(self, flat: F32) -> npt.NDArray[np.bool_]:
        """(n, G + K F) where a value that counts is out of range, or is no number."""
        columns = flat[:, : len(self._low)]
        beyond = ~((columns >= self._low) & (columns <= self._high))
        allowed = self.schema.split(flat)[2] > 0
        beyond[:, self._n_context :] &= np.repeat(allowed, len(self.schema.candidate), axis=1)
        return beyond

    def _flat(self, columns: F32) -> F32:
        n_context = len(self.schema.context)
        return np.concatenate([columns[:n_context], np.tile(columns[n_context:], self.schema.k)])


def _column_names(schema: Schema) -> tuple[str, ...]:
    context = (f"context.{column.name}" for column in schema.context)
    return (*context, *(f"candidate.{column.name}" for column in schema.candidate))


def _onnx_session(model: bytes, policy: FrozenPolicy, where: str) -> Scores:
    """ONNX Runtime on one thread, held against the weights once: both stand in the folder."""
    runtime = require("onnxruntime", "policy", "a policy on ONNX Runtime")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    try:
        session = runtime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        names = [session.get_inputs()[0].name, session.get_outputs()[0].name]
    except Exception as error:  # its errors share no base class but this
        raise InputError(f"{where}/actor.onnx: expected an ONNX model ({error})") from error
    run, outputs, name = session.run, [names[1]], names[0]

    def scores(flat: F32) -> F32:
        logits: F32 = run(outputs, {name: flat})[0]
        return logits

    probe = np.random.default_rng(0).uniform(-1, 1, (2, policy.schema.size)).astype(np.float32)
    policy.schema.split(probe)[2][:] = np.arange(policy.schema.k) % 2 == 0
    if not np.allclose(scores(probe), policy.scores(probe), rtol=1e-3, atol=1e-3):
        raise InputError(f"{where}: expected actor.onnx and weights.npz to score alike, got other numbers")
    return scores
