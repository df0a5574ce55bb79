"""NAB's score against cases worked by hand, and the detector on the public files."""

import io
import json
import os
import tarfile
from pathlib import Path

import numpy as np
import pytest

from foreshade.envs.anomaly.nab import NabFile, best_score, probation, row_values, score_at, score_nab
from foreshade.envs.errors import InputError

# sigmoid(y) = 2 / (1 + e^5y) - 1
SIG_1 = 2 / (1 + np.exp(-5)) - 1  # at y = -1: 0.98661
SIG_HALF = 2 / (1 + np.exp(-2.5)) - 1  # at y = -1/2: 0.84828


def file_of(n, windows, name="a/b.csv"):
    return NabFile(name, np.arange(n) * 300.0, np.zeros(n), np.array(windows, np.int64).reshape(-1, 2))


def firing(n, *rows):
    score = np.zeros(n)
    score[list(rows)] = 1.0
    return score


@pytest.mark.parametrize(("n_rows", "rows"), [(100, 15), (4032, 604), (5000, 750), (15902, 750)])
def test_probation_is_15_percent_and_at_most_750_rows(n_rows, rows):
    assert probation(n_rows) == rows


def test_rows_are_worth_what_the_sigmoid_says():
    window, worth = row_values(100, np.array([[40, 49]]))  # width 10
    assert window[[39, 40, 49, 50]].tolist() == [-1, 0, 0, -1]
    assert worth[40] == pytest.approx(1.0)  # left end: y = -1
    assert worth[45] == pytest.approx(SIG_HALF / SIG_1)  # y = -5/10
    assert worth[49] == pytest.approx((2 / (1 + np.exp(-0.5)) - 1) / SIG_1)  # y = -1/10
    assert worth[39] == -0.11  # no window before it
    assert worth[58] == pytest.approx(0.11 * (2 / (1 + np.exp(5.0)) - 1))  # y = 9/9
    assert worth[80] == -0.11  # y = 31/9, beyond 3


def test_perfect_silent_and_late_detectors():
    files = [file_of(100, [[40, 49]])]
    assert score_at(files, [firing(100, 40)], 0.5) == pytest.approx(100.0)
    assert score_at(files, [np.zeros(100)], 0.5) == 0.0
    assert score_at(files, [firing(100, 45)], 0.5) == pytest.approx(100 * (SIG_HALF / SIG_1 + 1) / 2)


def test_only_the_first_detection_in_a_window_counts():
    files = [file_of(100, [[40, 49]])]
    both = score_at(files, [firing(100, 45, 46, 47, 48)], 0.5)
    assert both == pytest.approx(score_at(files, [firing(100, 45)], 0.5))


def test_false_positives_cost_and_those_in_probation_do_not():
    files = [file_of(100, [[40, 49]])]
    assert score_at(files, [firing(100, 40, 20, 90)], 0.5) == pytest.approx(100 * (2 - 0.22) / 2)
    assert score_at(files, [firing(100, 40, 3, 14)], 0.5) == pytest.approx(100.0)
    assert score_at(files, [firing(100, 20)], 0.5) == pytest.approx(100 * -0.11 / 2)


def test_the_sweep_finds_the_one_best_threshold_for_all_files():
    files = [file_of(100, [[40, 49]]), file_of(100, [[60, 69]], "c/d.csv")]
    first, second = np.zeros(100), np.zeros(100)
    first[40], first[20] = 0.9, 0.3
    second[60], second[80] = 0.5, 0.4
    score, threshold = best_score(files, [first, second])
    assert threshold == 0.5
    assert score == pytest.approx(100.0)
    noisy = np.full(100, 0.95)
    noisy[60:70] = 0.0
    score, threshold = best_score(files, [first, noisy])
    assert threshold == np.inf  # 75 false positives outweigh the one window
    assert score == 0.0


def test_the_sweep_equals_trying_every_threshold():
    rng = np.random.default_rng(4)
    files = [file_of(200, [[50, 70], [120, 150]]), file_of(200, []), file_of(200, [[90, 99]], "x/y.csv")]
    scores = [rng.integers(0, 40, 200).astype(float) ** 2 for _ in files]
    scores[0][55] = scores[2][92] = 5000.0
    best, threshold = best_score(files, scores)
    tried = {float(t): score_at(files, scores, float(t)) for t in np.unique(np.concatenate(scores))}
    assert best == pytest.approx(max(*tried.values(), 0.0))
    assert tried[threshold] == pytest.approx(best)


def archive(path, n=1200):
    rng = np.random.default_rng(0)
    values = rng.normal(10, 1, n)
    values[800:810] += 40
    times = np.datetime64("2014-04-01T00:00:00") + np.arange(n) * np.timedelta64(300, "s")
    text = "timestamp,value\n" + "".join(
        f"{str(t).replace('T', ' ')},{v}\n" for t, v in zip(times, values, strict=True)
    )
    window = [[str(times[790]).replace("T", " ") + ".000000", str(times[850]).replace("T", " ") + ".000000"]]
    parts = {"data/real/x.csv": text, "labels/combined_windows.json": json.dumps({"real/x.csv": window})}
    with tarfile.open(path, "w:gz") as tar:
        for name, body in parts.items():
            info = tarfile.TarInfo(f"./{name}")
            info.size = len(body.encode())
            tar.addfile(info, io.BytesIO(body.encode()))
    return str(path)


def test_a_clear_anomaly_in_an_archive_is_found_early(tmp_path):
    result = score_nab(archive(tmp_path / "nab.tar.gz"))
    json.dumps(result, allow_nan=False)
    engine = result["results"][0]
    assert engine["windows_found"] == result["windows"] == 1
    assert engine["score"] > 95.0


def test_a_folder_without_labels_is_named(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "x.csv").write_text("timestamp,value\n")
    with pytest.raises(InputError, match=r"expected labels/combined_windows\.json, found none"):
        score_nab(str(tmp_path))


@pytest.mark.realdata
def test_the_detector_beats_the_residual_by_half_on_the_public_files():
    if "FORESHADE_DATA" not in os.environ:
        pytest.skip("FORESHADE_DATA is not set")
    result = score_nab(str(Path(os.environ["FORESHADE_DATA"]) / "nab" / "nab.tar.gz"))
    assert result["files"] == 51
    engine = result["results"][0]
    assert engine["score"] >= 62.0
    assert engine["held_out"] >= 58.0
    assert result["ratio"]["ewma_z_0.01"] >= 1.5
