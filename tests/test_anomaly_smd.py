"""Scores of whole machines, point by point."""

import json
import os
from pathlib import Path

import numpy as np
import pytest

from foreshade.envs.anomaly.smd import average_precision, event_f1, score_smd, segments
from foreshade.envs.errors import InputError


def test_average_precision_by_hand():
    label = np.array([1, 0, 1, 0], bool)
    # ranks: hit (1/1 at recall 1/2), miss, hit (2/3 at recall 1)
    assert average_precision(np.array([4.0, 3.0, 2.0, 1.0]), label) == pytest.approx(0.5 * 1 + 0.5 * 2 / 3)
    assert average_precision(np.ones(4), label) == pytest.approx(0.5)  # ties are one step: the base rate
    assert average_precision(np.array([4.0, 1.0, 3.0, 2.0]), label) == 1.0


def test_points_are_never_adjusted():
    label = np.zeros(100, bool)
    label[20:60] = True
    one_point = np.zeros(100)
    one_point[30] = 1.0
    # one point of forty found first, then all the rest tied: 1/40 at precision 1, 39/40 at 40/100
    assert average_precision(one_point, label) == pytest.approx(1 / 40 + 39 / 40 * 0.4)


def test_events_are_runs_and_a_touch_is_a_hit():
    label = np.array([0, 1, 1, 0, 0, 1, 0, 1, 0], bool)
    flags = np.array([1, 1, 0, 0, 0, 0, 0, 1, 0], bool)
    assert segments(label).tolist() == [[1, 3], [5, 6], [7, 8]]
    f1, precision, recall = event_f1(flags, label)
    assert (precision, recall) == (1.0, pytest.approx(2 / 3))
    assert f1 == pytest.approx(0.8)
    assert event_f1(np.zeros(9, bool), label) == (0.0, 0.0, 0.0)


def test_a_made_machine_is_scored_and_labels_do_not_reach_the_detector(tmp_path):
    rng = np.random.default_rng(0)
    train, test = rng.uniform(2000, 4000, (2, 3000, 4)).astype(np.uint16)
    test[1500:1560] += 5000
    label = np.zeros(3000, np.uint8)
    label[1500:1560] = 1
    path = tmp_path / "smd.npz"
    np.savez(path, m_train=train, m_test=test, m_test_label=label)
    result = score_smd(str(path))
    json.dumps(result)
    assert result["mean_auc_pr"]["engine"] > 0.9
    other = np.roll(label, 700)
    np.savez(path, m_train=train, m_test=test, m_test_label=other)
    assert score_smd(str(path))["mean_auc_pr"]["engine"] < 0.2


def test_a_file_without_labels_is_named(tmp_path):
    path = tmp_path / "smd.npz"
    np.savez(path, m_train=np.zeros((5, 2)), m_test=np.zeros((5, 2)))
    with pytest.raises(InputError, match="expected m_test and m_test_label"):
        score_smd(str(path))
    (tmp_path / "x.npz").write_text("no")
    with pytest.raises(InputError, match="expected the packed npz file of SMD"):
        score_smd(str(tmp_path / "x.npz"))


@pytest.mark.realdata
def test_the_joint_detector_reaches_its_bar_on_the_public_machines():
    if "FORESHADE_DATA" not in os.environ:
        pytest.skip("FORESHADE_DATA is not set")
    result = score_smd(str(Path(os.environ["FORESHADE_DATA"]) / "smd" / "smd_x10000.npz"))
    assert result["machines"] == 4
    assert result["mean_auc_pr"]["engine"] >= 0.60
    assert result["mean_auc_pr"]["engine"] > 1.5 * result["mean_auc_pr"]["ewma_z"]


def test_the_published_folders_score_as_the_packed_file(tmp_path):
    rng = np.random.default_rng(0)
    train, test = rng.integers(0, 10_000, (2, 400, 3)).astype(np.uint16)
    label = np.zeros(400, np.uint8)
    label[100:120] = 1
    np.savez(tmp_path / "smd.npz", **{"machine-1-1_train": train, "machine-1-1_test": test},
             **{"machine-1-1_test_label": label})  # fmt: skip
    folder = tmp_path / "ServerMachineDataset"
    for part, table in (("train", train / 10_000), ("test", test / 10_000), ("test_label", label)):
        (folder / part).mkdir(parents=True)
        np.savetxt(folder / part / "machine-1-1.txt", table, delimiter=",", fmt="%.6g")
    published = score_smd(str(tmp_path))
    assert published == score_smd(str(tmp_path / "smd.npz"))
    assert published["results"][0]["false_alarms_per_series_day"] >= 0
    (folder / "test" / "machine-1-1.txt").write_text("0.1,wrong\n")
    with pytest.raises(InputError, match=r"machine-1-1\.txt: expected comma-separated numbers"):
        score_smd(str(tmp_path))


def test_what_is_not_smd_is_one_line(tmp_path):
    with pytest.raises(InputError, match="no such file or folder"):
        score_smd(str(tmp_path / "nope"))
    with pytest.raises(InputError, match=r"expected train/NAME\.txt, test/NAME\.txt.* found none"):
        score_smd(str(tmp_path))
    (tmp_path / "x.npz").write_bytes(b"nothing")
    with pytest.raises(InputError, match="expected the packed npz file of SMD") as told:
        score_smd(str(tmp_path / "x.npz"))
    assert "\n" not in str(told.value)
