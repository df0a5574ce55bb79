"""``foreshade forecast train|score|plot`` from the trace to the frozen folder, the table and the picture."""

import json

import numpy as np
import pytest
from typer.testing import CliRunner

from foreshade.adapters.app.prediction_commands import forecast_app
from foreshade.envs.errors import ForecastError, InputError
from foreshade.envs.forecast.entrants import Stable, learned_expert
from foreshade.envs.forecast.learned.frozen_model import Trained, read_model, train
from foreshade.envs.forecast.learned.training_set import ticks_since_monday, training_set
from foreshade.envs.forecast.score import case_of, score
from foreshade.envs.workloads.spec import load_trace

KEYS = ["model", "resource", "horizon", "mae", "mase", "pinball", "wql", "cov80", "cov95", "us_per_series"]


def run(*arguments):
    result = CliRunner().invoke(forecast_app, [str(a) for a in arguments])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.fixture(scope="module")
def days(tmp_path_factory):
    """Two days of 24 VMs in PlanetLab's format: a level that jumps every half hour."""
    folder = tmp_path_factory.mktemp("traces")
    for number, day in enumerate(("20110303", "20110306")):
        (folder / day).mkdir()
        rng = np.random.default_rng(number)
        for vm in range(24):
            level = np.repeat(rng.integers(5, 80, 48), 6)
            values = np.clip(level + rng.integers(-3, 4, 288), 0, 100)
            (folder / day / f"vm_{vm}").write_text("\n".join(map(str, values)) + "\n")
    return [f"planetlab:{folder}/{day}" for day in ("20110303", "20110306")]


@pytest.fixture(scope="module")
def frozen(days, tmp_path_factory):
    pytest.importorskip("lightgbm", reason="AN EXTRA IS MISSING (lightgbm): nothing is trained")
    out = tmp_path_factory.mktemp("models")
    said = run("train", "--workload", days[0], "--out", out, "--seed", 3)
    assert "24 series, 1, 3, 12 steps ahead" in said
    return out


def test_scores_have_the_promised_keys_in_order_for_every_model_asked(days, frozen):
    text = run(
        "score", "--workload", days[1], "--models", "engine,naive,seasonal,boosted,selection",
        "--trained", frozen, "--resource", "cpu", "--sample", 8, "--json",
    )  # fmt: skip
    rows = json.loads(text)["results"]
    assert all(list(row) == KEYS for row in rows)
    asked = ["engine", "naive", "seasonal", "boosted", "selection"]
    assert [(r["model"], r["horizon"]) for r in rows] == [(m, h) for m in asked for h in (1, 3, 12)]
    loss = {r["model"]: r["pinball"] for r in rows if r["horizon"] == 12}
    assert loss["selection"] < 1.04 * loss["engine"]


def test_a_frozen_folder_says_what_it_was_trained_on(days, frozen):
    manifest = json.loads((frozen / "cpu" / "boosted" / "manifest.json").read_text())
    assert manifest["config"]["seed"] == 3
    source = manifest["description"]["data"]
    assert source == read_model(frozen / "cpu" / "boosted").source
    assert source["workloads"] == [days[0]]
    ((begin, end),) = source["periods_s"]
    assert end - begin == 86_400
    assert begin == load_trace(days[0]).start_epoch_s


def test_a_model_is_not_scored_on_the_days_it_was_trained_on(days, frozen):
    with pytest.raises(InputError, match="expected other days than those it was trained on"):
        run("score", "--workload", days[0], "--models", "boosted", "--trained", frozen)
    case = case_of(load_trace(days[0]), "cpu", kind="planetlab", sample=None, seed=0)
    expert = learned_expert("boosted", read_model(frozen / "cpu" / "boosted"), case)
    assert expert._asleep == ((0, 288),)


def test_a_learned_model_needs_days_or_a_folder(days, tmp_path):
    with pytest.raises(
        InputError, match="boosted of cpu: expected --train WORKLOAD of other days, or --trained"
    ):
        run("score", "--workload", days[1], "--models", "boosted")
    with pytest.raises(InputError, match="none in"):
        run("score", "--workload", days[1], "--models", "boosted", "--trained", tmp_path)
    (tmp_path / "manifest.json").write_text('{"format": "poem"}')
    with pytest.raises(InputError, match="expected a forecasting model, got 'poem'"):
        read_model(tmp_path)
    with pytest.raises(ForecastError, match="unknown model 'crystal'"):
        score(days[1], ["crystal"], entrants=Stable())


def test_a_selection_without_learned_models_is_still_one(days):
    rows = score(days[1], ["engine", "selection"], "cpu", 6, entrants=Stable())
    assert len(rows) == 6


def test_models_per_class_are_frozen_and_vote(days, tmp_path):
    pytest.importorskip("lightgbm", reason="AN EXTRA IS MISSING (lightgbm): nothing is trained")
    run("train", "--workload", days[0], "--out", tmp_path, "--per-class")
    found = read_model(tmp_path / "cpu" / "boosted")
    assert found.source["workloads"] == [days[0]]
    rows = score(days[1], ["boosted", "selection"], "cpu", 5, entrants=Stable(trained=tmp_path))
    assert all(np.isfinite(row["pinball"]) for row in rows)


def test_training_sets_stand_at_their_own_weekday(days):
    data = training_set(days, "cpu")
    assert data.history.shape == (48, 288)
    assert set(data.start_tick.tolist()) == {3 * 288, 6 * 288}  # a Thursday and a Sunday
    assert ticks_since_monday(4 * 86_400, 300) == 0
    with pytest.raises(ForecastError, match="has no memory"):
        training_set(days, "memory")
    with pytest.raises(InputError, match="at least one workload"):
        training_set([], "cpu")


def test_unknown_kinds_and_devices_are_refused(days):
    data = training_set(days[:1], "cpu")
    with pytest.raises(InputError, match="model: expected boosted or lstm, got 'oracle'"):
        train(data, "oracle", horizons=(1,))
    with pytest.raises(InputError, match="device: expected auto, cpu or cuda, got 'abacus'"):
        train(data, "lstm", horizons=(1,), device="abacus")


def test_a_classical_model_joins_by_the_librarys_name(days):
    pytest.importorskip("statsforecast", reason="THE EXTRA classical IS MISSING: ETS is not scored")
    case = case_of(load_trace(days[1]), "cpu", kind="planetlab", sample=1, seed=0)
    made = Stable()(case, ["autoets"])["autoets"](case.values, (200,), (1, 3))
    assert made.shape == (1, 1, 2, 7)


def test_trained_is_a_model_with_its_source(frozen):
    found = read_model(frozen / "cpu" / "boosted")
    assert isinstance(found, Trained)
    assert found.model.horizons == (1, 3, 12)


def test_a_plot_is_one_file_with_the_lines_that_were_asked_for(days, tmp_path):
    out = tmp_path / "fans.html"
    run(
        "plot", "--workload", days[1], "--out", out, "--series", 4, "--models", "naive,engine", "--horizon", 3
    )
    text = out.read_text(encoding="utf-8")
    assert "series 4: cpu, 15 min ahead, naive" in text
    assert "reliability" in text
    assert "<script src=" not in text  # needs nothing from a network
    run("plot", "--workload", days[1], "--out", out, "--part", "reliability", "--models", "naive")
    assert "min ahead" not in out.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--out", "x.pdf"], "expected a file .html, .svg or .png"),
        (["--out", "/nowhere/x.html"], "expected an existing folder"),
        (["--series", "99"], "expected series from 0 to 23"),
        (["--part", "half"], "expected both, fans, reliability"),
        (["--hours", "999"], "that fit into 288"),
    ],
)
def test_what_cannot_be_drawn_is_refused(days, tmp_path, arguments, message):
    asked = ["plot", "--workload", days[1], "--models", "naive", *arguments]
    if "--out" not in arguments:
        asked += ["--out", tmp_path / "x.html"]
    with pytest.raises(InputError, match=message):
        run(*asked)


def test_training_asks_whether_its_model_can_be_kept_before_it_reads_a_trace(tmp_path):
    (tmp_path / "file").write_text("")
    (tmp_path / "full" / "cpu" / "boosted").mkdir(parents=True)
    (tmp_path / "full" / "cpu" / "boosted" / "mine").write_text("")
    for out, message in (
        ("file", "expected a folder that can be written"),
        ("full", "or a frozen model to rep"),
    ):
        with pytest.raises(InputError, match=message):
            run("train", "--workload", "planetlab:/nowhere", "--out", tmp_path / out)
    with pytest.raises(InputError, match="/nowhere: no such file"):
        run("train", "--workload", "planetlab:/nowhere", "--out", tmp_path / "new")
    assert not (tmp_path / "new").exists()
