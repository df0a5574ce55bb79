"""The port to what switches machines on and off, and the proof that a machine comes back."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from foreshade.envs.errors import InputError, WorldError


class PowerError(WorldError):
    """A management controller refused, or did not answer in time."""


class PowerState(StrEnum):
    """What a management controller says of its machine."""

    ON = "on"
    OFF = "off"
    TURNING_ON = "turning on"
    TURNING_OFF = "turning off"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class PowerReading:
    """What a machine draws and how warm it is; None = not told."""

    state: PowerState
    power_w: float | None = None
    hottest_c: float | None = None
    at_s: float = 0.0  # monotonic time at which it was told


class Power(Protocol):
    """One machine's, or one rack's, management controller. Every call ends within its own timeout.

    All raise PowerError. Switching is idempotent: what is on stays on.
    """

    def read(self) -> PowerReading:
        """State, power and temperature now."""
        ...

    def on(self) -> None:
        """Ask for power; ``read`` shows when it is there."""
        ...

    def off(self, *, force: bool = False) -> None:
        """Ask for an orderly shutdown, or with ``force`` cut the power."""
        ...


class FakePower:
    """A machine in memory: records calls, switches at once or never, and can fail the next call."""

    def __init__(self, state: PowerState = PowerState.ON) -> None:
        self.state = state
        self.calls: list[str] = []
        self.fail_next = ""
        self.obeys = True
        self.power_w: float | None = None

    def read(self) -> PowerReading:
        """What it was told last."""
        self._call("read")
        return PowerReading(self.state, self.power_w, None, time.monotonic())

    def on(self) -> None:
        """Be on, if it obeys."""
        self._call("on")
        if self.obeys:
            self.state = PowerState.ON

    def off(self, *, force: bool = False) -> None:
        """Be off, if it obeys."""
        self._call("force off" if force else "off")
        if self.obeys:
            self.state = PowerState.OFF

    def _call(self, name: str) -> None:
        self.calls.append(name)
        if self.fail_next:
            why, self.fail_next = self.fail_next, ""
            raise PowerError(why)


class Proofs:
    """Which machines were seen coming back from off, and when: only those are ever switched off.

    Kept in a small JSON file, written anew and renamed, so that a crash leaves the old or the new one.
    """

    def __init__(self, path: Path | None) -> None:
        """Read what was proven before; without a path it is forgotten with this process.

        Raises:
            InputError: the file cannot be read as what it should be.

        """
        self._path = path
        self._lock = threading.Lock()
        self._seen: dict[str, float] = {}
        if path is not None and path.exists():
            try:
                said = json.loads(path.read_text(encoding="utf-8"))
                self._seen = {str(name): float(when) for name, when in said.items()}
            except (OSError, ValueError, AttributeError, TypeError) as error:
                raise InputError(f"{path}: expected machines and times, found {error}") from error

    def proven(self, name: str) -> bool:
        """Whether it came back at least once."""
        return name in self._seen

    @property
    def seen(self) -> Mapping[str, float]:
        """Unix time of the first proof, by machine."""
        return dict(self._seen)

    def prove(self, name: str, when_s: float) -> None:
        """It was off and is on again.

        Raises:
            WorldError: the file cannot be written; then it counts as proven in this process alone.

        """
        with self._lock:
            if name in self._seen:
                return
            self._seen[name] = when_s
            if self._path is None:
                return
            beside = self._path.with_suffix(f"{self._path.suffix}.new")
            try:
                self._path.parent.mkdir(parents=True, exist_ok=True)
                with beside.open("w", encoding="utf-8") as file:
                    json.dump(self._seen, file)
                    file.flush()
                    os.fsync(file.fileno())
                beside.replace(self._path)
            except OSError as error:
                raise WorldError(
                    f"{self._path}: expected to write the proof of {name}, found {error}"
                ) from error
