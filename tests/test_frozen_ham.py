"""The frozen policy: three ways to compute one network, and everything that must be refused."""

import json
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from foreshade.agents.ham.frozen import Choice, FrozenPolicy  # noqa: E402
from foreshade.agents.ham.frozen_network import pack_weights, unpack_weights  # noqa: E402
from foreshade.envs.errors import InputError  # noqa: E402
from foreshade.envs.features import Schema  # noqa: E402
from foreshade.envs.frozen_folder import freeze, thaw  # noqa: E402
from foreshade.training.freeze import frozen  # noqa: E402
from tests.test_ham_policy import SCHEMA, observations, policy_of, preferred, trained  # noqa: E402


def frozen_of(*, attention: bool = False, zero: bool = False, **options) -> FrozenPolicy:
    policy = policy_of(attention=attention)
    policy.widen_range(torch.from_numpy(observations(500)))
    return frozen(policy if zero else trained(policy), **options)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return frozen_of(origin={"scenario": "toy"}).save(tmp_path / "policy")


@pytest.mark.parametrize("attention", [False, True])
def test_torch_numpy_and_onnx_give_the_same_logits(tmp_path: Path, attention: bool) -> None:
    policy = trained(policy_of(attention=attention))
    flat = observations(300)
    policy.widen_range(torch.from_numpy(flat))
    path = frozen(policy).save(tmp_path / "policy")
    with torch.no_grad():
        expected = policy.logits(torch.from_numpy(flat)).numpy()
    for backend in ("numpy", "onnxruntime"):
        scores = FrozenPolicy.load(path, backend=backend).scores(flat)
        np.testing.assert_allclose(scores, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("backend", ["numpy", "onnxruntime"])
def test_frozen_start_chooses_as_the_rules_to_the_last_bit(tmp_path: Path, backend: str) -> None:
    flat = observations(3000)
    policy = FrozenPolicy.load(frozen_of(zero=True).save(tmp_path / "p"), backend=backend)
    np.testing.assert_array_equal(policy.choose_batch(flat).candidate, preferred(flat))
    np.testing.assert_array_equal([policy.choose(row).candidate for row in flat], preferred(flat))


@pytest.mark.parametrize("backend", ["numpy", "onnxruntime"])
@pytest.mark.parametrize("attention", [False, True])
def test_one_decision_is_that_of_the_batch(tmp_path: Path, backend: str, attention: bool) -> None:
    made = frozen_of(attention=attention)
    policy = FrozenPolicy.load(made.save(tmp_path / "p"), backend=backend, expected=SCHEMA)
    flat = observations(400, seed=5)
    flat[:50, 0] = 1e3
    batch = policy.choose_batch(flat)
    for i in range(400):
        one = policy.choose(flat[i])
        assert one == policy.choose(flat[i], int(preferred(flat[i : i + 1])[0]))
        assert (one.candidate, one.out_of_range) == (batch.candidate[i], batch.out_of_range[i])
        assert one.confidence == pytest.approx(batch.confidence[i], abs=1e-4)
    assert batch.out_of_range[:50].all()
    assert not batch.out_of_range[50:].all()


def test_confidence_is_the_margin_of_the_softmax() -> None:
    policy = frozen_of()
    flat = observations(20)
    odds = np.exp(policy.scores(flat).astype(np.float64))
    best = np.sort(odds / odds.sum(axis=1, keepdims=True), axis=1)
    np.testing.assert_allclose(policy.choose_batch(flat).confidence, best[:, -1] - best[:, -2], atol=1e-5)
    _, _, mask = SCHEMA.split(flat)
    mask[:, 1:] = 0  # nothing but wait
    assert (policy.choose_batch(flat).confidence == 1).all()


def test_range_is_that_of_training_with_slack_and_without_masked_candidates() -> None:
    policy = frozen_of()
    middle = (policy.low + policy.high) / 2
    flat = np.zeros(SCHEMA.size, np.float32)
    context, candidates, mask = SCHEMA.split(flat)
    context[:], candidates[:], mask[:2] = middle[:3], middle[3:], 1
    assert not policy.choose(flat).out_of_range
    candidates[1, 2] = policy.high[5] + 0.2 * (policy.high[5] - policy.low[5])
    assert not policy.choose(flat).out_of_range
    candidates[1, 2] = policy.high[5] + 0.3 * (policy.high[5] - policy.low[5])
    assert policy.choose(flat).out_of_range
    assert policy.columns_out_of_range(flat) == ("candidate.x2",)
    assert policy.doubt(policy.choose(flat)) == "input out of the trained range"
    mask[1] = 0
    assert not policy.choose(flat).out_of_range
    context[0] = np.nan
    assert policy.choose(flat).out_of_range
    assert policy.choose_batch(flat[None]).out_of_range.all()


def test_low_confidence_is_a_doubt_where_the_rules_choose_otherwise() -> None:
    policy = frozen_of(confidence_floor=0.2)
    assert policy.doubt(Choice(1, 0.1, out_of_range=False, gain=0.5)) == "confidence 0.100 below 0.2"
    assert policy.doubt(Choice(1, 0.2, out_of_range=False, gain=0.5)) is None
    assert policy.doubt(Choice(1, 0.1, out_of_range=False)) is None  # they choose alike
    choices = policy.choose_batch(observations(200))
    assert 0 < policy.doubtful(choices).sum() < 200


def test_choice_that_gains_too_little_on_the_rules_is_in_doubt() -> None:
    flat = observations(200)
    bold, careful = frozen_of(), frozen_of(least_gain=0.5)
    choices = careful.choose_batch(flat)
    rules = preferred(flat)
    logits = bold.scores(flat)
    rows = np.arange(200)
    gain = logits[rows, choices.candidate] - logits[rows, rules]
    np.testing.assert_array_equal(careful.doubtful(choices), (choices.candidate != rules) & (gain <= 0.5))
    assert 0 < careful.doubtful(choices).sum() < 200
    assert not bold.doubtful(bold.choose_batch(flat)).any()
    for i in range(20):
        one = careful.choose(flat[i])
        assert (careful.doubt(one) is not None) == careful.doubtful(choices)[i]
    unsure = np.flatnonzero(careful.doubtful(choices))[0]
    assert "not above 0.5" in str(careful.doubt(careful.choose(flat[unsure])))


def test_folder_is_small_and_says_where_it_is_from(folder: Path) -> None:
    manifest, files = thaw(folder, "foreshade-ham/1")
    assert sum(map(len, files.values())) < 1_000_000
    assert manifest["origin"] == {"scenario": "toy"}
    assert Schema.from_dict(manifest["schema"]) == SCHEMA
    assert manifest["range"]["candidate.preference"][0] < manifest["range"]["candidate.preference"][1]


def test_policy_that_has_seen_nothing_has_no_range() -> None:
    with pytest.raises(InputError, match="range: expected low <= high"):
        frozen(policy_of())


@pytest.mark.parametrize("file", ["actor.onnx", "weights.npz"])
@pytest.mark.parametrize("how", ["truncated", "altered", "missing"])
def test_damaged_file_is_refused(folder: Path, file: str, how: str) -> None:
    data = bytearray((folder / file).read_bytes())
    if how == "missing":
        (folder / file).unlink()
    else:
        data[len(data) // 2] ^= 1
        (folder / file).write_bytes(data[: len(data) // 2] if how == "truncated" else data)
    with pytest.raises(InputError, match=rf"{file}: (expected SHA-256|cannot read)") as caught:
        FrozenPolicy.load(folder)
    assert "\n" not in str(caught.value)


def refrozen(folder: Path, files=None, **changes) -> Path:
    """The same folder with honest hashes and other contents."""
    manifest, held = thaw(folder, "foreshade-ham/1")
    kept = {key: value for key, value in manifest.items() if key not in {"format", "sha256"}}
    return freeze(folder, "foreshade-ham/1", {**held, **(files or {})}, {**kept, **changes})


def with_weight(folder: Path, name: str, change) -> bytes:
    weights = unpack_weights((folder / "weights.npz").read_bytes(), "")
    return pack_weights({**weights, name: change(weights[name])})


def test_weights_that_are_not_this_networks_are_refused(folder: Path) -> None:
    nan = with_weight(folder, "joint.weight", lambda w: np.where(np.eye(len(w)) > 0, np.nan, w))
    with pytest.raises(InputError, match=r"joint\.weight: expected finite numbers"):
        FrozenPolicy.load(refrozen(folder, {"weights.npz": nan}))
    wide = with_weight(folder, "joint.weight", lambda w: np.eye(len(w) + 1))
    with pytest.raises(InputError, match=r"joint\.weight: expected shape \(32, 32\), got \(33, 33\)"):
        FrozenPolicy.load(refrozen(folder, {"weights.npz": wide}))
    with pytest.raises(InputError, match=r"weights\.npz: expected an \.npz file"):
        FrozenPolicy.load(refrozen(folder, {"weights.npz": b"PK nothing"}))


def test_onnx_that_is_not_the_weights_is_refused(folder: Path) -> None:
    other = with_weight(folder, "score.weight", lambda w: w + 1)
    with pytest.raises(InputError, match=r"actor\.onnx and weights\.npz to score alike"):
        FrozenPolicy.load(refrozen(folder, {"weights.npz": other}), backend="onnxruntime")
    with pytest.raises(InputError, match=r"actor\.onnx: expected an ONNX model"):
        FrozenPolicy.load(refrozen(folder, {"actor.onnx": b"nothing"}), backend="onnxruntime")


def test_another_schema_is_refused_and_the_difference_named(folder: Path) -> None:
    said = SCHEMA.to_dict()
    said["candidate"][2]["unit"] = "W"
    with pytest.raises(InputError, match=r"candidate column 'x2': unit: expected 'W', got '1'"):
        FrozenPolicy.load(folder, expected=Schema.from_dict(said))
    with pytest.raises(InputError, match="schema: k: expected 64, got 16"):
        FrozenPolicy.load(folder, expected=Schema(SCHEMA.context, SCHEMA.candidate, 64))


def test_manifest_that_is_not_ours_is_refused(folder: Path) -> None:
    with pytest.raises(InputError, match="manifest: expected what this version writes"):
        FrozenPolicy.load(refrozen(folder, network={"hidden": 32}))
    (folder / "manifest.json").write_text(json.dumps({"format": "other/1"}), encoding="utf-8")
    with pytest.raises(InputError, match="format: expected 'foreshade-ham/1', got 'other/1'"):
        FrozenPolicy.load(folder)
    with pytest.raises(InputError, match="expected a frozen model with manifest"):
        FrozenPolicy.load(folder / "nowhere")


@pytest.mark.parametrize("value", [None, [1], "x", 7, float("nan")])
@pytest.mark.parametrize(
    "key", ["schema", "normalisation", "network", "range", "confidence_floor", "origin", "sha256"]
)
def test_manifest_with_another_kind_of_value_is_refused_in_a_line(folder: Path, key: str, value) -> None:
    if key == "confidence_floor" and value == 7:
        value = {}
    said = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    del said["manifest_sha256"]  # as versions wrote it that had none
    (folder / "manifest.json").write_text(json.dumps({**said, key: value}), encoding="utf-8")
    with pytest.raises(InputError) as caught:
        FrozenPolicy.load(folder)
    assert "\n" not in str(caught.value)
