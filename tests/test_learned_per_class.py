"""A model per class where a class has data enough."""

import json

import numpy as np
import pytest

from foreshade.envs.errors import InputError
from foreshade.envs.forecast.learned.per_class import PerClass


class MeanModel:
    """Forecasts the mean of everything it was fitted to; says how many series that were."""

    def __init__(self):
        self.mean = None

    def fit(self, history, *, start_tick=0, regressors=None):
        self.mean = float(history.mean())
        self.starts = np.asarray(start_tick).tolist()

    def predict(self, context, horizons=(1,), *, start_tick=0, regressors=None):
        return np.full((len(context), len(horizons), 7), self.mean, np.float32)

    def save(self, folder, data):
        folder.mkdir()
        (folder / "mean.json").write_text(json.dumps({"mean": self.mean, "data": data}))
        return folder

    @classmethod
    def load(cls, folder):
        model = cls()
        model.mean = json.loads((folder / "mean.json").read_text())["mean"]
        return model


HISTORY = np.repeat([[1], [1], [1], [9], [5]], 4, axis=1).astype(np.float32)
CLASSES = ["web", "web", "web", "db", "batch"]


def trained():
    models = PerClass(MeanModel, min_series=3)
    models.fit(HISTORY, CLASSES, start_tick=np.arange(5))
    return models


def test_a_large_class_has_its_own_model_and_small_and_new_ones_share():
    models = trained()
    assert sorted(models.models) == ["all", "web"]
    assert models.models["web"].starts == [0, 1, 2]
    answer = models.predict(np.ones((4, 2), np.float32), ["db", "web", "new", "web"], (1, 3))
    assert answer.shape == (4, 2, 7)
    assert answer[:, 0, 0].tolist() == pytest.approx([17 / 5, 1, 17 / 5, 1])


def test_one_class_alone_needs_no_second_model():
    models = PerClass(MeanModel, min_series=1)
    models.fit(HISTORY, ["web"] * 5)
    assert list(models.models) == ["all"]


def test_frozen_models_keep_their_classes(tmp_path):
    trained().save(tmp_path / "frozen", "made-up loads")
    again = PerClass(MeanModel, min_series=3)
    again.load(tmp_path / "frozen")
    answer = again.predict(np.ones((2, 2), np.float32), ["web", "db"], (1,))
    assert answer[:, 0, 0].tolist() == pytest.approx([1, 17 / 5])


def test_classes_that_do_not_match_the_series_are_refused():
    with pytest.raises(InputError, match="expected 5 classes, got 4"):
        PerClass(MeanModel).fit(HISTORY, CLASSES[:4])
    with pytest.raises(InputError, match="'all' is no name"):
        PerClass(MeanModel).fit(HISTORY, ["all"] * 5)
    with pytest.raises(InputError, match="expected trained models"):
        PerClass(MeanModel).predict(HISTORY, CLASSES)
