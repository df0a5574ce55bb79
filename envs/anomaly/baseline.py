"""What every detector must beat: the residual of an exponentially weighted mean, in standard deviations."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def ewma_z(values: npt.NDArray[np.float64], weight: float = 0.01) -> npt.NDArray[np.float64]:
    """``|x - mean| / deviation`` of (n_steps, n_series), both exponentially weighted (Roberts, 1959).

    The sample is judged before it is learned. NaN scores 0 and is not learned; a series that
    never moved scores 0.
    """
    score = np.zeros(values.shape)
    mean = np.array(values[0], np.float64)
    variance = np.zeros(values.shape[1])
    for i, row in enumerate(values):
        known = np.isfinite(row)
        mean = np.where(np.isfinite(mean), mean, row)
        residual = np.where(known, row - mean, 0.0)
        moved = variance > 0.0
        score[i, moved] = np.abs(residual[moved]) / np.sqrt(variance[moved])
        mean = mean + weight * residual
        variance = np.where(known, (1.0 - weight) * (variance + weight * residual**2), variance)
    return score
