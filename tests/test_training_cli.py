"""train, tune and export as a user types them; what needs no environment."""

import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("tensorboard")
pytest.importorskip("onnx")

from foreshade.agents.ham.frozen import FrozenPolicy
from foreshade.envs.errors import InputError
from foreshade.training.folder_lock import alone_in
from foreshade.training.run_folder import RunFolder
from foreshade.training.train import train
from tests.test_cli import foreshade
from tests.test_ham_training import config_of, make_envs
from tests.toy_centre import SCHEMA

SHIPPED = str(Path(__file__).parents[1] / "training" / "ham.yaml")


@pytest.mark.filterwarnings("ignore:.*tensorboard.*:DeprecationWarning")
def test_export_copies_what_the_gate_let_through_and_names_it(tmp_path: Path) -> None:
    train(tmp_path / "run", config_of(timesteps=512), make_envs)
    done = foreshade("export", str(tmp_path / "run"), "--out", str(tmp_path / "policy"))
    assert done.returncode == 0, done.stderr
    policy = FrozenPolicy.load(tmp_path / "policy", expected=SCHEMA)
    assert done.stdout == f"{tmp_path / 'policy'}: {policy.origin['shipped']} policy\n"
    (tmp_path / "run" / "gate.json").unlink()
    again = foreshade("export", str(tmp_path / "run"), "--out", str(tmp_path / "other"))
    assert again.returncode == 2
    assert "expected a finished run with gate.json" in again.stderr
    assert again.stderr.count("\n") == 1
    for written, expected in (("{}", "expected the outcome of a gate"), ('{"ship', "expected JSON")):
        (tmp_path / "run" / "gate.json").write_text(written)
        with pytest.raises(InputError, match=expected):
            RunFolder.open(tmp_path / "run").read_gate()


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["train", "--resume"], "expected --out DIR"),
        (
            ["train", "--resume", "--out", "/nowhere"],
            "/nowhere/config.yaml: expected a training configuration",
        ),
        (["train", "--config", "/nowhere.yaml"], "/nowhere.yaml: expected a training configuration"),
        (
            ["train", "--device", "tpu"],
            "foreshade: --device: expected 'auto', 'cpu' or 'cuda', found 'tpu'\n",
        ),
        (["tune", "--device", "tpu"], "foreshade: --device: expected 'auto', 'cpu' or 'cuda', found 'tpu'\n"),
        (
            ["tune", "--config", SHIPPED],
            "components: expected native, as trials are judged so, got 'default'",
        ),
    ],
)
def test_bad_input_is_one_line_and_status_2(arguments: list[str], expected: str) -> None:
    done = foreshade(*arguments)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1, done.stderr
    assert expected in done.stderr


def test_a_scenario_that_is_not_there_leaves_no_folder(tmp_path: Path) -> None:
    done = foreshade("train", "--scenario", "nowhere", "--out", str(tmp_path / "run"))
    assert done.returncode == 2
    assert "unknown scenario 'nowhere'" in done.stderr
    assert not (tmp_path / "run").exists()


def test_the_command_line_does_not_load_torch_before_it_needs_it() -> None:
    code = "import sys, foreshade.adapters.app.cli; sys.exit(bool({'torch', 'onnxruntime'} & {*sys.modules}))"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.filterwarnings("ignore:.*tensorboard.*:DeprecationWarning")
def test_a_scenario_whose_gate_cannot_judge_is_trained_and_told_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config = config_of(timesteps=512).changed(scenario="planetlab")
    train(tmp_path / "run", config, make_envs)
    assert [line.message for line in caplog.records if "two days" in line.message] != []
    assert (tmp_path / "run" / "gate.json").exists()


@pytest.mark.filterwarnings("ignore:.*tensorboard.*:DeprecationWarning")
def test_a_run_that_goes_on_is_not_resumed_by_another(tmp_path: Path) -> None:
    train(tmp_path / "run", config_of(timesteps=512), make_envs)
    with (
        alone_in(tmp_path / "run"),
        pytest.raises(InputError, match="expected a folder that no other command works in"),
    ):
        train(tmp_path / "run", config_of(timesteps=512), make_envs, resume=True)
    train(tmp_path / "run", config_of(timesteps=512), make_envs, resume=True)
