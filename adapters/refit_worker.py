"""A process that fits forecasting models beside the controller, below everything else in priority."""

from __future__ import annotations

import logging
import multiprocessing
import os
import shutil
import tempfile
import time
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import cast

import numpy as np

from foreshade.envs.errors import ForeshadeError
from foreshade.envs.forecast.entrants import CLASSICAL, classical_model
from foreshade.envs.forecast.learned.frozen_model import KINDS, read_model, train
from foreshade.envs.forecast.learned.quantile_model import QuantileModel
from foreshade.envs.forecast.learned.training_set import TrainingSet
from foreshade.envs.forecast.refits import FitTask, Fitted

log = logging.getLogger(__name__)

MODELS = tuple(sorted({*KINDS, *CLASSICAL.values()}))
_NICE = 15
_PAUSE_S, _MOST_PAUSE_S = 30.0, 3600.0  # after a worker that died; doubles with each that does


@dataclass(frozen=True, slots=True)
class _Trained:
    """A model comes back through a folder: its trees are no values."""

    number: int
    folder: Path
    cpu_s: float


class RefitWorker:
    """A ``Worker``; its process begins with the first task, and ends with this one, however this one ends."""

    def __init__(self, folder: Path, *, limit_s: float = 600.0, seed: int = 0) -> None:
        """Nothing is begun yet.

        Args:
            folder: for trained models; they are written anew after a restart.
            limit_s: longest time that a fit may take; then its process is ended.
            seed: of what a model draws.

        """
        self._folder, self._limit_s, self._seed = folder, limit_s, seed
        self._process: BaseProcess | None = None
        self._wire: Connection | None = None
        self._task: FitTask | None = None
        self._begun_s = 0.0
        self._deaths = 0
        self._not_before_s = 0.0

    def begin(self, task: FitTask) -> bool:
        """Begin it; False where another is under way, or the last process died a short while ago."""
        if self._task is not None or time.monotonic() < self._not_before_s:
            return False
        try:
            self._start()
            if self._wire is None:
                return False
            self._wire.send(task)
        except OSError as error:
            self._died(f"expected a process to fit models in, found {error}")
            return False
        self._task, self._begun_s = task, time.monotonic()
        return True

    def take(self) -> Fitted | None:
        """What came of it; a process that died or took too long is an error, and is replaced."""
        task, wire, process = self._task, self._wire, self._process
        if task is None or wire is None or process is None:
            return None
        try:
            if wire.poll():
                found = wire.recv()
                self._task, self._deaths = None, 0
                return self._read(found) if isinstance(found, _Trained) else found
        except (EOFError, OSError):
            pass
        if not process.is_alive():
            why = f"expected an answer, found the process ended with status {process.exitcode}"
        elif time.monotonic() - self._begun_s > self._limit_s:
            why = f"expected an answer within {self._limit_s:g} s, found none"
        else:
            return None
        self._died(why)
        return Fitted(task.number, error=why)

    def close(self) -> None:
        """End the process, whatever it is doing."""
        if self._wire is not None:
            self._wire.close()
        if self._process is not None:
            self._process.kill()
            self._process.join(5.0)
        self._process = self._wire = self._task = None

    def _start(self) -> None:
        if self._process is not None and self._process.is_alive():
            return
        context = multiprocessing.get_context("spawn")  # what threads hold, a fork would hold for ever
        self._wire, theirs = context.Pipe()
        self._process = context.Process(
            target=_serve, args=(theirs, self._folder, self._seed), name="refits", daemon=True
        )
        self._process.start()
        theirs.close()

    def _read(self, found: _Trained) -> Fitted:
        try:
            model = read_model(found.folder).model
        except ForeshadeError as error:
            return Fitted(found.number, error=str(error))
        finally:
            shutil.rmtree(found.folder.parent, ignore_errors=True)
        return Fitted(found.number, model=cast(QuantileModel, model), cpu_s=found.cpu_s)

    def _died(self, why: str) -> None:
        self.close()
        pause = min(_MOST_PAUSE_S, _PAUSE_S * 2.0**self._deaths)
        self._deaths += 1
        self._not_before_s = time.monotonic() + pause
        log.warning("refits: %s; the next in %g s", why, pause)


def _serve(wire: Connection, folder: Path, seed: int) -> None:
    """The process: one task after the other, until nobody asks any more."""
    os.nice(_NICE)
    for key in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[key] = "1"
    while True:
        try:
            task = wire.recv()
        except (EOFError, OSError, KeyboardInterrupt):
            return
        try:
            wire.send(_fit(task, folder, seed))
        except (BrokenPipeError, OSError, KeyboardInterrupt):
            return


def _fit(task: FitTask, folder: Path, seed: int) -> Fitted | _Trained:
    begun = time.process_time()
    try:
        if task.n_steps:
            model = classical_model(task.model)
            steps = range(1, task.n_steps + 1)
            paths = model.predict(task.past, steps, start_tick=task.start_tick)
            return Fitted(task.number, paths=paths, cpu_s=time.process_time() - begun)
        data = TrainingSet(
            resource="",
            workloads=("live",),
            history=task.past,
            start_tick=np.full(len(task.series), task.start_tick, np.int64),
            classes=("",) * len(task.series),
            periods_s=(),
        )
        trained = train(data, task.model, horizons=task.horizons, seed=seed, device="cpu")
        folder.mkdir(parents=True, exist_ok=True)
        where = trained.save(Path(tempfile.mkdtemp(prefix="refit-", dir=folder)) / task.model)
        return _Trained(task.number, where, time.process_time() - begun)
    except Exception as error:  # a library's own failure is this task's alone
        said = " ".join(str(error).split())
        return Fitted(
            task.number,
            error=said if isinstance(error, ForeshadeError) else f"{type(error).__name__}: {said}",
        )
