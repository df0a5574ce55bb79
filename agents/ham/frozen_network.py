"""The actor without torch: its weights, its arithmetic in NumPy, and the same as an ONNX graph.

The formulas stand in ``network``; the weights have torch's names and shapes (outputs, inputs). Tests hold
the three together.
"""

from __future__ import annotations

import io
import math
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from foreshade.envs.errors import InputError
from foreshade.envs.extras import require
from foreshade.envs.features import F32, Schema

MASKED = np.float32(-1e9)  # as in ``network``
#: Of the ONNX format and its operators: old enough for every ONNX Runtime since 1.16.
_IR_VERSION, _OPSET = 9, 17


@dataclass(frozen=True, slots=True)
class ActorShape:
    """What fixes the shapes of the weights."""

    hidden: int
    temperature: float
    attention: bool

    def __post_init__(self) -> None:
        if not self.hidden >= 1 or not 0.0 < self.temperature < math.inf:
            raise ValueError(f"network: expected hidden units and a temperature above 0, got {self}")

    def weights(self, schema: Schema) -> dict[str, tuple[int, ...]]:
        """Name and shape of every weight."""
        h = self.hidden
        shapes: dict[str, tuple[int, ...]] = {
            "encoder.candidate.weight": (h, len(schema.candidate)),
            "encoder.candidate.bias": (h,),
            "encoder.context.weight": (h, len(schema.context)),
            "encoder.context.bias": (h,),
            "joint.weight": (h, h),
            "joint.bias": (h,),
            "summary.weight": (h, 2 * h),
            "score.weight": (1, h),
        }
        if self.attention:
            shapes |= {f"encoder.attention.{part}.weight": (h, h) for part in ("query", "key", "value")}
        return shapes


def check_weights(weights: Mapping[str, F32], shape: ActorShape, schema: Schema, where: str) -> None:
    """Refuse weights that are not this network's.

    Raises:
        InputError: a weight is missing, unknown, of another shape, or not finite.

    """
    expected = shape.weights(schema)
    if weights.keys() != expected.keys():
        odd = sorted(weights.keys() ^ expected.keys())
        raise InputError(f"{where}: expected the weights {', '.join(expected)}; differs in {', '.join(odd)}")
    for name, wanted in expected.items():
        if weights[name].shape != wanted:
            raise InputError(f"{where}: {name}: expected shape {wanted}, got {weights[name].shape}")
        if not np.isfinite(weights[name]).all():
            raise InputError(f"{where}: {name}: expected finite numbers, got NaN or infinity")


def pack_weights(weights: Mapping[str, F32]) -> bytes:
    """As the bytes of an ``.npz`` file."""
    stream = io.BytesIO()
    arrays: dict[str, Any] = {name: np.asarray(value, np.float32) for name, value in weights.items()}
    np.savez(stream, **arrays)
    return stream.getvalue()


def unpack_weights(data: bytes, where: str) -> dict[str, F32]:
    """Read what ``pack_weights`` wrote.

    Raises:
        InputError: not an ``.npz`` file of numbers.

    """
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as file:
            return {name: np.asarray(file[name], np.float32) for name in file.files}
    except (OSError, ValueError, AttributeError, zipfile.BadZipFile) as error:
        raise InputError(f"{where}: expected an .npz file of weights ({error})") from error


class NumpyActor:
    """Scores candidates with NumPy alone."""

    def __init__(self, weights: Mapping[str, F32], shape: ActorShape, schema: Schema) -> None:
        self._schema = schema
        turned = {name: np.ascontiguousarray(w.T) for name, w in weights.items() if name.endswith("weight")}
        self.candidate, self.candidate_bias = (
            turned["encoder.candidate.weight"],
            weights["encoder.candidate.bias"],
        )
        self.context, self.context_bias = turned["encoder.context.weight"], weights["encoder.context.bias"]
        self.joint, self.joint_bias = turned["joint.weight"], weights["joint.bias"]
        self.of_context = turned["summary.weight"][: shape.hidden]
        self.of_pooled = turned["summary.weight"][shape.hidden :] / np.float32(schema.k)
        self.score = turned["score.weight"]
        self.inverse_temperature = np.float32(1.0 / shape.temperature)
        self._attention = (
            tuple(turned[f"encoder.attention.{part}.weight"] for part in ("query", "key", "value"))
            if shape.attention
            else None
        )
        self._one = _OneState(self, schema, shape)

    def one(self, flat: F32) -> F32:
        """Logits (K,) of one flat observation (size,), up to a constant; not for two threads at once."""
        return self(flat[None])[0] if self._attention is not None else self._one(flat)

    def __call__(self, flat: F32) -> F32:
        """Logits (n, K) of flat observations (n, size) float32."""
        context, candidates, mask = self._schema.split(flat)
        masked = mask <= 0
        encoded = candidates @ self.candidate
        encoded += self.candidate_bias
        np.maximum(encoded, 0, out=encoded)
        if self._attention is not None:
            query, key, value = self._attention
            weight = (encoded @ query) @ (encoded @ key).swapaxes(1, 2) / np.float32(math.sqrt(len(query)))
            weight[np.broadcast_to(masked[:, None, :], weight.shape)] = MASKED
            weight = np.exp(weight - weight.max(axis=2, keepdims=True))
            encoded = encoded + weight / weight.sum(axis=2, keepdims=True) @ (encoded @ value)
        pooled = (1 - masked.astype(np.float32))[:, None, :] @ encoded
        seen = np.maximum(context @ self.context + self.context_bias, 0)
        summary = pooled @ self.of_pooled
        summary += (seen @ self.of_context + self.joint_bias)[:, None, :]
        joint = encoded @ self.joint
        joint += summary
        np.maximum(joint, 0, out=joint)
        logits: F32 = candidates[:, :, 0] * self.inverse_temperature
        logits += (joint @ self.score)[:, :, 0]
        logits[masked] = MASKED
        return logits


class _OneState:
    """One state's logits with few calls and no allocation: there a call costs more than its numbers.

    ``relu(x + b) = max(x, -b) + b``, and the ``+ b`` goes into the next layer, or at the last layer into a
    constant that no softmax sees. Everything that joins a candidate is one product with the vector
    ``[context | sum over the unmasked | their number | 1]``, negative as the floor of the maximum.
    """

    def __init__(self, actor: NumpyActor, schema: Schema, shape: ActorShape) -> None:
        h, n_context = shape.hidden, len(schema.context)
        self._start, self._end = n_context, n_context + schema.k * len(schema.candidate)
        self._rows = schema.k, len(schema.candidate)
        self._candidate, self._context, self._joint = actor.candidate, actor.context, actor.joint
        self._score, self._inverse_temperature = actor.score[:, 0].copy(), actor.inverse_temperature
        self._floor = np.tile(-actor.candidate_bias, (schema.k, 1))
        self._context_floor = -actor.context_bias
        constant = (
            actor.context_bias @ actor.of_context + actor.candidate_bias @ actor.joint + actor.joint_bias
        )
        count = actor.candidate_bias @ actor.of_pooled
        self._summary = -np.vstack([actor.of_context, actor.of_pooled, count, constant])
        self._encoded, self._joined = (np.empty((schema.k, h), np.float32) for _ in range(2))
        self._vector = np.ones(2 * h + 2, np.float32)
        self._seen, self._pooled = self._vector[:h], self._vector[h : 2 * h]
        self._ones = np.ones(schema.k, np.float32)

    def __call__(self, flat: F32) -> F32:
        candidates, mask = flat[self._start : self._end].reshape(self._rows), flat[self._end :]
        encoded, joined, seen, vector = self._encoded, self._joined, self._seen, self._vector
        np.dot(candidates, self._candidate, encoded)
        np.maximum(encoded, self._floor, out=encoded)
        np.dot(flat[: self._start], self._context, seen)
        np.maximum(seen, self._context_floor, out=seen)
        np.dot(mask, encoded, self._pooled)
        vector[-2] = np.dot(mask, self._ones)
        np.dot(encoded, self._joint, joined)
        np.maximum(joined, np.dot(vector, self._summary), out=joined)
        logits: F32 = np.dot(joined, self._score)
        logits += candidates[:, 0] * self._inverse_temperature
        logits[mask == 0] = MASKED
        return logits


def onnx_actor(weights: Mapping[str, F32], shape: ActorShape, schema: Schema) -> bytes:
    """The network as an ONNX model: ``observation`` (n, size) float32 to ``logits`` (n, K).

    Raises:
        MissingExtraError: onnx is not installed.

    """
    onnx = require("onnx", "policy", "exporting a policy")
    graph = _Graph(onnx)
    k, n_candidate = schema.k, len(schema.candidate)
    h, wide = shape.hidden, len(schema.context)
    context, rows, mask = graph.split("observation", (wide, k * n_candidate, k))
    candidates = graph.reshape(rows, -1, n_candidate)  # one row per candidate: Gemm and Relu run as one node
    allowed = graph.add("Cast", mask, to=onnx.TensorProto.BOOL)
    shown = graph.reshape(mask, -1, 1, k)

    def dense(of: str, weight: F32, bias: F32 | str = "") -> str:
        last = bias if isinstance(bias, str) else graph.constant(bias)
        return graph.add("Gemm", of, graph.constant(weight.T), *([last] if last else []))

    w = weights
    encoded = dense(candidates, w["encoder.candidate.weight"], w["encoder.candidate.bias"])
    encoded = graph.add("Relu", encoded)
    by_state = graph.reshape(encoded, -1, k, h)
    if shape.attention:
        query, key, value = (
            graph.reshape(dense(encoded, w[f"encoder.attention.{part}.weight"]), -1, k, h)
            for part in ("query", "key", "value")
        )
        weight = graph.add("MatMul", query, graph.add("Transpose", key, perm=[0, 2, 1]))
        weight = graph.add("Mul", weight, graph.constant(np.float32(1 / math.sqrt(h))))
        visible = graph.add("Cast", shown, to=onnx.TensorProto.BOOL)
        weight = graph.add("Where", visible, weight, graph.constant(MASKED))
        weight = graph.add("Softmax", weight, axis=2)
        by_state = graph.add("Add", by_state, graph.add("MatMul", weight, value))
        encoded = graph.reshape(by_state, -1, h)
    pooled = graph.reshape(graph.add("MatMul", shown, by_state), -1, h)
    seen = graph.add("Relu", dense(context, w["encoder.context.weight"], w["encoder.context.bias"]))
    of_context, of_pooled = w["summary.weight"][:, :h], w["summary.weight"][:, h:] / np.float32(k)
    summary = dense(pooled, of_pooled, dense(seen, of_context, w["joint.bias"]))
    joint = graph.reshape(dense(encoded, w["joint.weight"]), -1, k, h)
    joint = graph.add("Relu", graph.add("Add", joint, graph.reshape(summary, -1, 1, h)))
    learned = dense(graph.reshape(joint, -1, h), w["score.weight"])
    only_preference = np.eye(1, n_candidate, dtype=np.float32) / np.float32(shape.temperature)
    logits = graph.reshape(dense(candidates, only_preference, learned), -1, k)
    graph.add("Where", allowed, logits, graph.constant(MASKED), output="logits")
    return graph.model({"observation": ("n", schema.size)}, {"logits": ("n", k)})


class _Graph:
    """Nodes and constants of an ONNX graph, named by their order."""

    def __init__(self, onnx: Any) -> None:
        self._onnx = onnx
        self._nodes: list[Any] = []
        self._constants: list[Any] = []

    def constant(self, value: Any) -> str:
        name = f"c{len(self._constants)}"
        array = np.array(value, order="C")
        self._constants.append(self._onnx.numpy_helper.from_array(array, name))
        return name

    def add(self, operator: str, *inputs: str, output: str = "", **of: Any) -> str:
        made = output or f"t{len(self._nodes)}"
        self._nodes.append(self._onnx.helper.make_node(operator, list(inputs), [made], **of))
        return made

    def reshape(self, of: str, *shape: int) -> str:
        return self.add("Reshape", of, self.constant(np.array(shape)))

    def split(self, of: str, widths: Sequence[int]) -> list[str]:
        made = [f"t{len(self._nodes)}_{i}" for i in range(len(widths))]
        inputs = [of, self.constant(np.array(widths))]
        self._nodes.append(self._onnx.helper.make_node("Split", inputs, made, axis=1))
        return made

    def model(self, inputs: Mapping[str, Any], outputs: Mapping[str, Any]) -> bytes:
        helper, kind = self._onnx.helper, self._onnx.TensorProto.FLOAT
        ins, outs = (
            [helper.make_tensor_value_info(name, kind, list(shape)) for name, shape in said.items()]
            for said in (inputs, outputs)
        )
        graph = helper.make_graph(self._nodes, "ham", ins, outs, initializer=self._constants)
        opsets = [helper.make_opsetid("", _OPSET)]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=_IR_VERSION)
        self._onnx.checker.check_model(model)
        return bytes(model.SerializeToString())
