"""The disk model on the public drives in FORESHADE_DATA; without the variable these tests do not run."""

import os
from pathlib import Path

import pytest

from foreshade.envs.hazard.score import score

pytestmark = [
    pytest.mark.realdata,
    pytest.mark.skipif(
        not os.environ.get("FORESHADE_DATA"),
        reason="FORESHADE_DATA IS NOT SET: the disk model is not checked against public drives",
    ),
]


def test_drives_that_never_train_are_ranked_and_calibrated_by_the_fixed_protocol():
    pytest.importorskip("lightgbm", reason="THE EXTRA forecast IS MISSING: the disk model is not trained")
    path = Path(os.environ["FORESHADE_DATA"]) / "backblaze" / "hds.parquet"
    assert path.exists(), f"FORESHADE_DATA is set, but {path} is missing"
    result = score(path)
    assert result["test"]["failures"] == 1092
    assert result["base_rate"] == pytest.approx(0.0030, abs=0.0001)
    assert result["auc"] >= 0.88
    assert result["ap"] >= 0.16
    assert 0.8 <= result["top_decile"]["ratio"] <= 1.2
    rare = result["caught_at_false_alarms"][0]
    assert rare["false_alarms_per_drive_day"] <= 0.001 * 24 / 720
    assert 0.1 < rare["caught"] < 0.4
