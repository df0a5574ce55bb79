"""The actor without torch: its weights, its arithmetic in NumPy, and the same as an ONNX graph.

The formulas stand in ``network``; the weights have torch's names and shapes (outputs, inputs). Tests hold
the three together.
"""

from __future__ import annotations

import io
import math
import zipfile
from collections.abc import Mapping
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
    np.savez(stream, **{name: np.asarray(value, np.float32) for name, value in weights.items()})
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
        turned = {
            name: np.ascontiguousarray(w.T) for name, w in weights.items() if name.endswith("weight")
        }
        self._candidate, self._candidate_bias = (
            turned["encoder.candidate.weight"],
            weights["encoder.candidate.bias"],
        )
        self._context, self._context_bias = turned["encoder.context.weight"], weights["encoder.context.bias"]
        self._joint, self._joint_bias = turned["joint.weight"], weights["joint.bias"]
        self._of_context = turned["summary.weight"][: shape.hidden]
        self._of_pooled = turned["summary.weight"][shape.hidden :] / np.float32(schema.k)
        self._score = turned["score.weight"]
        self._inverse_temperature = np.float32(1.0 / shape.temperature)
        self._attention = (
            tuple(turned[f"encoder.attention.{part}.weight"] for part in ("query", "key", "value"))
            if shape.attention
            else None
        )

    def __call__(self, flat: F32) -> F32:
        """Logits (n, K) of flat observations (n, size) float32."""
        context, candidates, mask = self._schema.split(flat)
        masked = mask <= 0
        encoded = candidates @ self._candidate
        encoded += self._candidate_bias
        np.maximum(encoded, 0, out=encoded)
        if self._attention is not None:
            query, key, value = self._attention
            weight = (encoded @ query) @ (encoded @ key).swapaxes(1, 2) / np.float32(math.sqrt(len(query)))
            weight[np.broadcast_to(masked[:, None, :], weight.shape)] = MASKED
            weight = np.exp(weight - weight.max(axis=2, keepdims=True))
            encoded = encoded + weight / weight.sum(axis=2, keepdims=True) @ (encoded @ value)
        pooled = (1 - masked.astype(np.float32))[:, None, :] @ encoded
        seen = np.maximum(context @ self._context + self._context_bias, 0)
        summary = pooled @ self._of_pooled
        summary += (seen @ self._of_context + self._joint_bias)[:, None, :]
        joint = encoded @ self._joint
        joint += summary
        np.maximum(joint, 0, out=joint)
        logits: F32 = candidates[:, :, 0] * self._inverse_temperature
        logits += (joint @ self._score)[:, :, 0]
        logits[masked] = MASKED
        return logits


def onnx_actor(weights: Mapping[str, F32], shape: ActorShape, schema: Schema) -> bytes:
    """The network as an ONNX model: ``observation`` (n, size) float32 to ``logits`` (n, K).

    Raises:
        MissingExtraError: onnx is not installed.

    """
    onnx = require("onnx", "policy", "exporting a policy")
    graph = _Graph(onnx)
    k, n_candidate = schema.k, len(schema.candidate)
    parts = graph.constant(np.array([len(schema.context), k * n_candidate, k]))
    context, rows, mask = graph.add("Split", "observation", parts, n_outputs=3, axis=1)
    candidates = graph.add("Reshape", rows, graph.constant(np.array([0, k, n_candidate])))[0]
    zero = graph.constant(np.float32(0))
    allowed = graph.add("Greater", mask, zero)[0]

    def dense(of: str, weight: str, bias: str | None = None) -> str:
        product = graph.add("MatMul", of, graph.constant(weights[weight].T))[0]
        return product if bias is None else graph.add("Add", product, graph.constant(weights[bias]))[0]

    encoded = graph.add("Relu", dense(candidates, "encoder.candidate.weight", "encoder.candidate.bias"))[0]
    row = graph.constant(np.array([1]))
    if shape.attention:
        query, key, value = (
            dense(encoded, f"encoder.attention.{p}.weight") for p in ("query", "key", "value")
        )
        weight = graph.add("MatMul", query, graph.add("Transpose", key, perm=[0, 2, 1])[0])[0]
        weight = graph.add("Mul", weight, graph.constant(np.float32(1 / math.sqrt(shape.hidden))))[0]
        shown = graph.add("Unsqueeze", allowed, row)[0]
        weight = graph.add("Where", shown, weight, graph.constant(MASKED))[0]
        weight = graph.add("Softmax", weight, axis=2)[0]
        encoded = graph.add("Add", encoded, graph.add("MatMul", weight, value)[0])[0]
    ones = graph.add("Cast", graph.add("Unsqueeze", allowed, row)[0], to=onnx.TensorProto.FLOAT)[0]
    pooled = graph.add("MatMul", ones, encoded)[0]
    pooled = graph.add("Mul", pooled, graph.constant(np.float32(1 / k)))[0]
    seen = graph.add("Relu", dense(context, "encoder.context.weight", "encoder.context.bias"))[0]
    seen = graph.add("Unsqueeze", seen, row)[0]
    summary = dense(graph.add("Concat", seen, pooled, axis=2)[0], "summary.weight")
    joint = graph.add("Relu", graph.add("Add", dense(encoded, "joint.weight", "joint.bias"), summary)[0])[0]
    last = graph.constant(np.array([2]))
    learned = graph.add("Squeeze", dense(joint, "score.weight"), last)[0]
    preference = graph.add("Gather", candidates, graph.constant(np.int64(0)), axis=2)[0]
    preference = graph.add("Mul", preference, graph.constant(np.float32(1 / shape.temperature)))[0]
    logits = graph.add("Add", preference, learned)[0]
    graph.add("Where", allowed, logits, graph.constant(MASKED), outputs=["logits"])
    return graph.model({"observation": ("n", schema.size)}, {"logits": ("n", k)})


class _Graph:
    """Nodes and constants of an ONNX graph, named by their order."""

    def __init__(self, onnx: Any) -> None:
        self._onnx = onnx
        self._nodes: list[Any] = []
        self._constants: list[Any] = []

    def constant(self, value: Any) -> str:
        name = f"c{len(self._constants)}"
        self._constants.append(self._onnx.numpy_helper.from_array(np.ascontiguousarray(value), name))
        if np.ndim(value) == 0:  # ascontiguousarray makes a row of a scalar
            self._constants[-1] = self._onnx.numpy_helper.from_array(np.asarray(value), name)
        return name

    def add(
        self, operator: str, *inputs: str, n_outputs: int = 1, outputs: list[str] | None = None, **of: Any
    ) -> list[str]:
        made = outputs or [f"t{len(self._nodes)}_{i}" for i in range(n_outputs)]
        self._nodes.append(self._onnx.helper.make_node(operator, list(inputs), made, **of))
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
