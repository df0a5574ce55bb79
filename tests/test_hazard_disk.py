"""SMART histories, landmarks, features, and the frozen disk model."""

import json

import numpy as np
import polars as pl
import pytest

from foreshade.envs.boosted_trees import read_trees
from foreshade.envs.errors import InputError
from foreshade.envs.hazard.disk_model import DiskHazardModel, hazard_per_h
from foreshade.envs.hazard.features import FEATURES, features
from foreshade.envs.hazard.landmarks import in_training, landmarks
from foreshade.envs.hazard.smart import ATTRIBUTES, SmartHistory, read_smart

A5 = ATTRIBUTES.index(5)
A197 = ATTRIBUTES.index(197)


def history(*drives, model="M"):
    """Each drive is (failed, [(start, stop, smart_5, smart_197), ...])."""
    rows = [row for _, story in drives for row in story]
    raw = np.zeros((len(rows), len(ATTRIBUTES)), np.float32)
    raw[:, A5] = [row[2] for row in rows]
    raw[:, A197] = [row[3] for row in rows]
    return SmartHistory(
        serial=tuple(f"S{i}" for i in range(len(drives))),
        model=(model,) * len(drives),
        size_tb=np.full(len(drives), 4, np.float32),
        failed=np.array([failed for failed, _ in drives]),
        first_row=np.cumsum([0, *(len(story) for _, story in drives)]),
        start_h=np.array([row[0] for row in rows], np.int64),
        stop_h=np.array([row[1] for row in rows], np.int64),
        raw=raw,
    )


def column(table, name):
    return table[:, FEATURES.index(name)]


def test_landmarks_are_multiples_of_the_window_while_the_drive_is_read():
    found = landmarks(history((False, [(100, 3000, 0, 0)])))
    assert found.hour.tolist() == [720, 1440, 2160]
    assert not found.failed.any()
    assert found.n_censored == 1  # 2880: its window closes at 3600, after the last reading


@pytest.mark.parametrize(("stop", "hours", "failed"), [
    (1441, [0, 720, 1440], [False, False, True]),  # one hour after a landmark
    (1440, [0, 720], [False, True]),  # exactly at the window's end counts; no landmark at the death itself
])  # fmt: skip
def test_a_failure_labels_the_one_landmark_whose_window_holds_it(stop, hours, failed):
    found = landmarks(history((True, [(0, stop, 0, 0)])))
    assert found.hour.tolist() == hours
    assert found.failed.tolist() == failed
    assert found.n_censored == 0


def test_the_split_depends_on_the_serial_number_alone():
    serials = [f"Z{i:05d}" for i in range(4000)]
    chosen = in_training(serials)
    assert chosen.mean() == pytest.approx(0.7, abs=0.03)
    assert in_training(serials[::-1]).tolist() == chosen[::-1].tolist()
    assert (in_training(serials, "other") != chosen).any()


def test_features_are_what_was_read_at_the_hour_and_how_it_grew():
    story = history((False, [(0, 700, 1, 0), (700, 1400, 5, 8), (1400, 9000, 5, 2)]))
    table = features(story, np.array([0, 0]), np.array([720, 1440]), {"M": 3})
    assert column(table, "age_h").tolist() == [720, 1440]
    assert column(table, "model").tolist() == [3, 3]
    assert column(table, "smart_5").tolist() == [5, 5]
    assert column(table, "smart_5_growth_720h").tolist() == [4, 0]  # at 0 h it was 1, at 720 h already 5
    assert column(table, "smart_5_still_h").tolist() == [20, 740]
    assert column(table, "smart_197_risen").tolist() == [8, 8]
    assert column(table, "smart_197_peak").tolist() == [8, 8]
    assert column(table, "smart_197_growth_168h").tolist() == [8, -6]
    assert column(table, "incidents").tolist() == [13, 7]
    assert column(table, "changes_168h").tolist() == [1, 1]


def test_features_of_a_drive_do_not_know_its_neighbours():
    story = history((True, [(0, 5000, 900, 900)]), (False, [(0, 720, 0, 0), (720, 5000, 2, 0)]))
    alone = history((False, [(0, 720, 0, 0), (720, 5000, 2, 0)]))
    first, second = (
        features(story, np.array([1]), np.array([1440]), {}),
        features(alone, np.array([0]), np.array([1440]), {}),
    )
    np.testing.assert_array_equal(first, second)


def test_the_future_does_not_reach_a_feature():
    rng = np.random.default_rng(3)
    rows = [(h, h + 100, *rng.integers(0, 50, 2)) for h in range(0, 8000, 100)]
    known = [row for row in rows if row[0] <= 2880]
    other = [*known[:-1], (2800, 2881, *known[-1][2:]), (2881, 2882, 9999, 9999)]
    one = features(history((False, rows)), np.array([0]), np.array([2880]), {})
    two = features(history((True, other)), np.array([0]), np.array([2880]), {})
    np.testing.assert_array_equal(one, two)


def test_an_unknown_model_is_missing_and_not_some_other_model():
    table = features(history((False, [(0, 2000, 0, 0)])), np.array([0]), np.array([720]), {"else": 0})
    assert np.isnan(column(table, "model")).all()


def test_columns_that_know_the_future_are_not_read(tmp_path):
    rows = {
        "serial_number": ["a", "a"], "model": ["M", "M"], "size_tb": [4.0, 4.0], "tstart": [0, 50],
        "tstop": [50, 90], "fails": [0.0, 1.0], **{f"smart_{a}": [0.0, None] for a in ATTRIBUTES},
    }  # fmt: skip
    path = tmp_path / "drives.parquet"
    pl.DataFrame(rows).write_parquet(path)
    found = read_smart(path)  # there is no n_fails, n_records, max_hours or max_date to be read
    assert found.failed.tolist() == [True]
    assert found.end_h.tolist() == [90]
    assert np.isnan(found.raw[1]).all()


@pytest.mark.parametrize(("change", "message"), [
    ({"tstart": [0, 60]}, "a: tstart: expected 50 h where the row before ends, got 60 h"),
    ({"tstop": [50, 50]}, "a: tstop: expected above 50 h, got 50 h"),
    ({"fails": [1.0, 0.0]}, "a: a row at 50 h follows the drive's failure"),
])  # fmt: skip
def test_a_torn_history_is_refused_with_the_drive_and_the_hour(tmp_path, change, message):
    rows = {
        "serial_number": ["a", "a"], "model": ["M", "M"], "size_tb": [4.0, 4.0], "tstart": [0, 50],
        "tstop": [50, 90], "fails": [0.0, 0.0], **{f"smart_{a}": [0.0, 0.0] for a in ATTRIBUTES},
    }  # fmt: skip
    path = tmp_path / "drives.parquet"
    pl.DataFrame({**rows, **change}).write_parquet(path)
    with pytest.raises(InputError, match=message):
        read_smart(path)


def test_a_missing_column_is_named(tmp_path):
    pl.DataFrame({"serial_number": ["a"]}).write_parquet(tmp_path / "x.parquet")
    with pytest.raises(InputError, match="missing column 'model'"):
        read_smart(tmp_path / "x.parquet")
    with pytest.raises(InputError, match="expected a parquet file"):
        read_smart(tmp_path / "nothing.parquet")


def test_hazard_is_the_rate_whose_survival_gives_the_probability_back():
    rate = hazard_per_h(np.array([0.0, 0.003, 1.0]))
    np.testing.assert_allclose(1 - np.exp(-rate * 720), [0, 0.003, 1], atol=1e-8)
    assert np.isfinite(rate).all()


# ---- with LightGBM ----


def synthetic(n_drives=900, seed=0):
    """Drives whose pending sectors, once they appear, kill within the year; the others live."""
    rng = np.random.default_rng(seed)
    drives = []
    for i in range(n_drives):
        if i % 3 == 0:
            onset = int(rng.integers(800, 4000))
            death = onset + int(rng.integers(50, 1500))
            drives.append((True, [(0, onset, 0, 0), (onset, death, 0, int(rng.integers(1, 99)))]))
        else:
            drives.append((False, [(0, int(rng.integers(3000, 6000)), 0, 0)]))
    return history(*drives)


@pytest.fixture(scope="module")
def model():
    pytest.importorskip("lightgbm", reason="THE EXTRA forecast IS MISSING: the disk model is not trained")
    from foreshade.envs.hazard.train import DiskHazardConfig, fit  # noqa: PLC0415

    return fit(synthetic(), DiskHazardConfig(n_rounds=30, survivor_share=0.5), {"file": "synthetic"})


def test_the_model_ranks_and_calibrates_drives_it_never_saw(model):
    from foreshade.envs.hazard.score import predict  # noqa: PLC0415
    from foreshade.envs.hazard.scores import area_under_roc  # noqa: PLC0415

    story = synthetic()
    judged = landmarks(story).of(~in_training(story.serial))
    probability = predict(model, story, judged)
    assert area_under_roc(judged.failed, probability) > 0.6
    assert probability.sum() == pytest.approx(judged.failed.sum(), rel=0.25)
    sick = probability[features(story, judged.drive, judged.hour, {})[:, FEATURES.index("smart_197")] > 0]
    assert sick.min() > 5 * np.median(probability)


def test_training_twice_gives_the_same_model(model):
    from foreshade.envs.hazard.train import DiskHazardConfig, fit  # noqa: PLC0415

    again = fit(synthetic(), DiskHazardConfig(n_rounds=30, survivor_share=0.5), {"file": "synthetic"})
    assert again.boosters == model.boosters
    np.testing.assert_array_equal(again.calibration.probability, model.calibration.probability)


def test_a_frozen_model_says_the_same_without_lightgbm(model, tmp_path, monkeypatch):
    folder = model.save(tmp_path / "model")
    monkeypatch.setitem(__import__("sys").modules, "lightgbm", None)  # importing it now fails
    thawed = DiskHazardModel.load(folder)
    story = synthetic(seed=1)
    np.testing.assert_array_equal(thawed.hazard_per_h(story), model.hazard_per_h(story))
    assert thawed.description["data"]["file"] == "synthetic"


def test_a_changed_file_of_a_frozen_model_is_refused(model, tmp_path):
    folder = model.save(tmp_path / "model")
    trees = folder / "trees-0.txt"
    trees.write_text(trees.read_text().replace("leaf_value=", "leaf_value=9 ", 1))
    with pytest.raises(InputError, match=r"trees-0.txt: expected SHA-256"):
        DiskHazardModel.load(folder)


def test_a_model_of_other_features_is_refused(model, tmp_path):
    folder = model.save(tmp_path / "model")
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["window_h"] = 24
    del manifest["manifest_sha256"]
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(InputError, match="window_h: expected 720, got 24"):
        DiskHazardModel.load(folder)


def test_numpy_evaluates_trees_as_lightgbm_does():
    lightgbm = pytest.importorskip("lightgbm", reason="THE EXTRA forecast IS MISSING: trees are not compared")
    rng = np.random.default_rng(0)
    x = rng.normal(size=(3000, 4))
    x[:, 3] = rng.integers(0, 70, 3000)  # a category, wider than two words of the bit set
    x[rng.random(x.shape) < 0.1] = np.nan
    x[rng.random(3000) < 0.2, 0] = 0
    y = np.nan_to_num(x[:, 0]) + (np.nan_to_num(x[:, 3]) % 7 == 0) + np.isnan(x[:, 1])
    for extra in ({}, {"zero_as_missing": True}, {"use_missing": False}):
        booster = lightgbm.train(
            {"objective": "l2", "num_leaves": 15, "verbose": -1, "num_threads": 1, **extra},
            lightgbm.Dataset(x, y, categorical_feature=[3], params=extra),
            20,
        )
        trees = read_trees(booster.model_to_string(), "test")
        probe = rng.normal(size=(2000, 4))
        probe[:, 3] = rng.integers(-3, 120, 2000)  # negative and never-seen categories too
        probe[rng.random(probe.shape) < 0.2] = np.nan
        probe[rng.random(2000) < 0.2, 0] = 0
        expected = booster.predict(probe, raw_score=True, num_threads=1)
        np.testing.assert_allclose(trees.raw_score(probe), expected, atol=1e-9)
