"""Landmarks: the instants at which a drive is judged, with what came of it.

A drive is judged every ``WINDOW_H`` of power-on time; the label says whether it failed within ``WINDOW_H``
afterwards. That is the discrete-time survival likelihood (Singer & Willett, J. Educ. Stat. 18(2), 1993): each
landmark that was survived is one Bernoulli trial of the hazard in its window. A drive that left the records
before its window closed (censored) says nothing about that window, and the landmark is dropped.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from foreshade.envs.hazard.smart import I64, SmartHistory

WINDOW_H = 720
TRAIN_SHARE = 0.7


@dataclass(frozen=True, slots=True)
class Landmarks:
    """One row per judgement, ordered by drive and hour."""

    drive: I64  # (n,) row of the drive in the history
    hour: I64  # (n,) power-on hours
    failed: npt.NDArray[np.bool_]  # (n,) failure in (hour, hour + WINDOW_H]
    n_censored: int  # landmarks dropped because the window never closed

    def __len__(self) -> int:
        """Number of landmarks."""
        return len(self.drive)

    def of(self, chosen: npt.NDArray[np.bool_]) -> Landmarks:
        """Only the landmarks of drives for which ``chosen`` (n_drives,) is set."""
        kept = chosen[self.drive]
        return Landmarks(self.drive[kept], self.hour[kept], self.failed[kept], self.n_censored)


def landmarks(history: SmartHistory) -> Landmarks:
    """Every multiple of ``WINDOW_H`` at which a drive was being read and whose outcome is known."""
    begin, end = history.begin_h, history.end_h
    first = -(-begin // WINDOW_H)
    count = np.maximum(-(-end // WINDOW_H) - first, 0)
    drive = np.repeat(np.arange(len(history)), count)
    step = np.arange(len(drive)) - np.repeat(np.cumsum(count) - count, count)
    hour = (first[drive] + step) * WINDOW_H
    closed = hour + WINDOW_H <= end[drive]
    failed = history.failed[drive] & (end[drive] <= hour + WINDOW_H)
    known = closed | failed
    return Landmarks(drive[known], hour[known], failed[known], int((~known).sum()))


def in_training(serials: Sequence[str], salt: str = "") -> npt.NDArray[np.bool_]:
    """Which drives train: the first 8 bytes of SHA-256 of the serial number, below 70 % of their range.

    The same drive is on the same side whatever else is in the file; ``salt`` gives another, equally fixed,
    split.
    """
    return np.array([share_of(serial, salt) < TRAIN_SHARE for serial in serials], bool)


def share_of(serial: str, salt: str = "") -> float:
    """Place of a serial number in [0, 1), by its hash."""
    digest = hashlib.sha256((salt + serial).encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2.0**64
