"""The systemd unit: what it forbids, the controller can do without."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

UNIT = Path(__file__).parents[1] / "deploy/systemd/foreshade.service"
#: PR_SET_MDWE with PR_MDWE_REFUSE_EXEC_GAIN, Linux 6.3: what systemd's MemoryDenyWriteExecute asks for.
_BEGIN = """
import ctypes, sys
if ctypes.CDLL(None).prctl(65, 1, 0, 0, 0) != 0:
    sys.exit(77)
from foreshade.adapters.app.cli import main
sys.argv = ["foreshade", "control", "--ticks", "2"]
main()
"""


def said(key: str) -> list[str]:
    return [
        line.partition("=")[2]
        for line in UNIT.read_text().splitlines()
        if line.startswith(f"{key}=") and not line.startswith("#")
    ]


def test_the_controller_runs_without_memory_that_is_written_and_executed(tmp_path: Path) -> None:
    assert said("MemoryDenyWriteExecute") == ["yes"]
    environment = {key: value for line in said("Environment") for key, value in [line.split("=", 1)]}
    environment = {k: v for k, v in os.environ.items() if not k.startswith("POLARS")} | environment
    done = subprocess.run(
        [sys.executable, "-c", _BEGIN],
        env={
            **environment,
            "STATE_DIRECTORY": str(tmp_path),
            "FORESHADE_CONTROL__SIMULATED__ACCELERATION": "3000",
            "FORESHADE_CONTROL__API__ENABLED": "false",
        },
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    if done.returncode == 77:
        pytest.skip("this kernel is older than 6.3: it cannot forbid it")
    assert done.returncode == 0, done.stderr[-2000:]
    assert "tick 1 auto" in done.stderr
    assert list((tmp_path / "history/vms").iterdir())
