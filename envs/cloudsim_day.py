"""A PlanetLab day as CloudSim's examples read it: one file of 288 whole percents per VM."""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
import numpy.typing as npt

from foreshade.envs.errors import WorkloadError

SAMPLES = 288


@dataclass(frozen=True, slots=True)
class PlanetLabDay:
    """CPU use of every VM at five-minute intervals."""

    day: str
    names: tuple[str, ...]
    percent: npt.NDArray[np.int32]  # (n_vms, 288) whole percent of the VM's rating


def read_days(source: Path) -> dict[str, PlanetLabDay]:
    """All days of a folder or ``.tar.gz`` laid out as ``DAY/NAME``, by day.

    Raises ``WorkloadError`` where it cannot be read or a file does not hold 288 integers.
    """
    found: dict[str, dict[str, npt.NDArray[np.int32]]] = {}
    try:
        for day, name, text in _files(source):
            found.setdefault(day, {})[name] = _samples(text, f"{source}: {day}/{name}")
    except (OSError, tarfile.TarError, EOFError) as error:
        raise WorkloadError(f"{source}: expected a folder or .tar.gz of DAY/NAME files, {error}") from error
    if not found:
        raise WorkloadError(f"{source}: expected DAY/NAME files, found none")
    return {
        day: PlanetLabDay(day, tuple(files), np.stack(list(files.values()))) for day, files in found.items()
    }


def _files(source: Path) -> Iterator[tuple[str, str, bytes]]:
    if source.is_dir():
        for path in sorted(source.glob("*/*")):
            if path.is_file():
                yield path.parent.name, path.name, path.read_bytes()
        return
    with tarfile.open(source) as archive:
        for member in archive:
            parts = PurePosixPath(member.name).parts
            stream = archive.extractfile(member) if member.isfile() else None
            if stream is not None and len(parts) >= 2:
                yield parts[-2], parts[-1], stream.read()


def _samples(text: bytes, where: str) -> npt.NDArray[np.int32]:
    try:
        values = [int(word) for word in text.split()]
    except ValueError as error:
        raise WorkloadError(f"{where}: expected whole percents, {error}") from error
    if len(values) != SAMPLES:
        raise WorkloadError(f"{where}: expected {SAMPLES} samples, got {len(values)}")
    return np.array(values, dtype=np.int32)
