"""Forecasts that are worse than the engine's: a bias over all of a table, and errors of each row and tick."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from foreshade.envs.errors import InputError

F32 = npt.NDArray[np.float32]
MOST_BIAS = 10.0
MOST_NOISE = 3.0  # a hundredth of the factors is above 10, another below 1e-5


@dataclass(frozen=True, slots=True)
class Distortion:
    """What a table's forecasts are multiplied by, drawn once, so that a table always says the same.

    A row's whole distribution at a tick is multiplied, over all horizons and resources: mean, standard
    deviation and quantiles. So the relative spread stays what the engine said, which does not know that it errs.

    Raises:
        InputError: a value is out of bounds.

    """

    #: The mean factor less 1: -0.2 = a fifth too low, everywhere; -1 to 10.
    bias: float = 0.0
    #: Standard deviation of the logarithm of a log-normal error with mean 1, independent by tick and row; 0 to 3.
    noise: float = 0.0
    #: Of the errors.
    seed: int = 0

    def __post_init__(self) -> None:
        for name, value, least, most in (
            ("bias", self.bias, -1.0, MOST_BIAS),
            ("noise", self.noise, 0.0, MOST_NOISE),
        ):
            if not least <= value <= most:
                raise InputError(f"forecast {name}: expected {least:g} to {most:g}, got {value}")

    def __bool__(self) -> bool:
        """Whether anything is changed."""
        return self.bias != 0.0 or self.noise != 0.0

    def factors(self, n_ticks: int, n_rows: int) -> F32:
        """(n_ticks + 1, n_rows) by the tick that shows the forecast; more ticks leave the first as they are."""
        drawn = np.random.default_rng(self.seed).standard_normal((n_ticks + 1, n_rows))
        errors = np.exp(self.noise * drawn - 0.5 * self.noise**2)
        return ((1.0 + self.bias) * errors).astype(np.float32)


def distort(moments: F32, quantiles: F32 | None, factors: F32) -> None:
    """Multiply the forecasts of a tick, in place.

    Args:
        moments: (n_horizons, n_rows, 4, 2) mean and standard deviation.
        quantiles: (n_rows, 4, n_horizons, 7), or none.
        factors: (n_rows,).

    """
    moments *= factors[:, None, None]
    if quantiles is not None:
        quantiles *= factors[:, None, None, None]
