"""The folder of a training run.

    config.yaml         what was asked for, written first
    checkpoints/<decisions>/   state.pt and a manifest with its hash; renamed into place when whole
    labels/             what the expert said, a file for each round of imitation
    habits.jsonl        what options cost on the training workloads, a line for each run
    choice.json         how much a choice or a habit must save to be followed, and what was tried
    tensorboard/        curves
    gate.json           what came of it, written last: a run that has one is finished
    policy/             the frozen policy that the gate let through

Nothing here is executed when it is read: checkpoints hold tensors and plain values.
"""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from foreshade.envs.errors import InputError
from foreshade.envs.frozen_folder import freeze, thaw
from foreshade.training.config import TrainConfig, read_config

FORMAT = "foreshade-ham-checkpoint/1"
_CONFIG, _CHECKPOINTS, _GATE, _STATE = "config.yaml", "checkpoints", "gate.json", "state.pt"
_CHOICE = "choice.json"


@dataclass(frozen=True, slots=True)
class RunFolder:
    """A run on disk; ``create`` begins one, ``open`` goes on with one."""

    path: Path
    config: TrainConfig

    @classmethod
    def create(cls, path: str | Path, config: TrainConfig) -> RunFolder:
        """Begin a run.

        Raises:
            InputError: the folder holds something already, or cannot be written.

        """
        folder = Path(path)
        try:
            if folder.exists() and any(folder.iterdir()):
                raise InputError(f"{folder}: expected an empty folder, or --resume to go on with a run in it")
            (folder / _CHECKPOINTS).mkdir(parents=True)
            _write(folder / _CONFIG, config.to_yaml())
        except OSError as error:
            raise InputError(f"{folder}: expected a folder that can be written ({error})") from error
        return cls(folder, config)

    @classmethod
    def open(cls, path: str | Path) -> RunFolder:
        """Open what ``create`` began.

        Raises:
            InputError: no run, or one whose configuration cannot be read.

        """
        folder = Path(path)
        if not (folder / _CONFIG).is_file() or not (folder / _CHECKPOINTS).is_dir():
            raise InputError(f"{folder}: expected a training run with {_CONFIG} and {_CHECKPOINTS}/")
        return cls(folder, read_config(folder / _CONFIG))

    @property
    def tensorboard(self) -> Path:
        """Folder of the curves."""
        return self.path / "tensorboard"

    @property
    def policy(self) -> Path:
        """Folder of the frozen policy."""
        return self.path / "policy"

    def checkpoints(self) -> list[str]:
        """Names, oldest first; one that was not written whole has another name and is left out."""
        return sorted(p.name for p in (self.path / _CHECKPOINTS).iterdir() if p.name.isdigit())

    def save_checkpoint(self, timesteps: int, state: Mapping[str, Any], manifest: Mapping[str, Any]) -> str:
        """Write a checkpoint whole or not at all."""
        name = f"{timesteps:012d}"
        final = self.path / _CHECKPOINTS / name
        part = final.with_suffix(".part")
        stream = io.BytesIO()
        torch.save(dict(state), stream)
        shutil.rmtree(part, ignore_errors=True)
        freeze(part, FORMAT, {_STATE: stream.getvalue()}, {"timesteps": timesteps, **manifest})
        shutil.rmtree(final, ignore_errors=True)
        part.rename(final)
        return name

    def load_checkpoint(self, name: str | None = None) -> tuple[dict[str, Any], Mapping[str, Any]]:
        """State and manifest of a checkpoint, by default the newest.

        Raises:
            InputError: there is none, or it is truncated, altered or of another version.

        """
        known = self.checkpoints()
        if name is None and not known:
            raise InputError(
                f"{self.path}: expected a checkpoint to go on from, found none: begin the run again"
            )
        folder = self.path / _CHECKPOINTS / (name or known[-1])
        manifest, files = thaw(folder, FORMAT)
        if _STATE not in files:
            raise InputError(f"{folder}: expected {_STATE}, found none")
        return torch.load(io.BytesIO(files[_STATE]), weights_only=True), manifest

    def write_choice(self, said: Mapping[str, Any]) -> None:
        """Write how much a choice must save to be taken."""
        _write(self.path / _CHOICE, json.dumps(said, indent=1, allow_nan=False) + "\n")

    def read_choice(self) -> Mapping[str, Any] | None:
        """Read it; None = not found yet.

        Raises:
            InputError: the file is no JSON.

        """
        path = self.path / _CHOICE
        if not path.is_file():
            return None
        try:
            said: Mapping[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise InputError(f"{path}: expected JSON ({error})") from error
        return said

    def write_gate(self, said: Mapping[str, Any]) -> None:
        """Write the outcome, which makes the run finished."""
        _write(self.path / _GATE, json.dumps(said, indent=1, allow_nan=False) + "\n")

    def read_gate(self) -> Mapping[str, Any]:
        """Read the outcome.

        Raises:
            InputError: the run is not finished, or the file is no JSON or no outcome.

        """
        path = self.path / _GATE
        if not path.is_file():
            raise InputError(f"{self.path}: expected a finished run with {_GATE}; go on with train --resume")
        try:
            said: Mapping[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise InputError(f"{path}: expected JSON ({error})") from error
        if not isinstance(said, dict) or "shipped" not in said:
            raise InputError(f"{path}: expected the outcome of a gate, found none: go on with train --resume")
        return said


def _write(path: Path, text: str) -> None:
    part = path.with_suffix(path.suffix + ".part")
    part.write_text(text, encoding="utf-8")
    part.replace(path)
