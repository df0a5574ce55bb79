"""Work that can wait runs in the cheapest hours before its deadline."""

from __future__ import annotations

import numpy as np
import pytest

from foreshade.envs import catalogue
from foreshade.envs.deferral import Deferrable, timing
from foreshade.envs.errors import InputError

PRICES = [5.0, 4.0, 1.0, 3.0, 1.0, 1.0, 6.0]


@pytest.mark.parametrize(
    ("work", "ticks", "saved"),
    [
        (Deferrable(0, 7, 3), (2, 4, 5), 1 - 3 / 10),
        (Deferrable(0, 7, 3, in_one_piece=True), (2, 3, 4), 1 - 5 / 10),
        (Deferrable(0, 3, 3), (0, 1, 2), 0.0),  # no slack
        (Deferrable(4, 7, 2), (4, 5), 0.0),  # the cheapest come first
        (Deferrable(6, 10, 2, in_one_piece=True), (6, 7), 0.0),  # the last price holds ever after
    ],
)
def test_cheapest_ticks(work: Deferrable, ticks: tuple[int, ...], saved: float) -> None:
    found = timing(work, PRICES, 3600.0)
    assert found.ticks == ticks
    assert found.saved == pytest.approx(saved)


def test_equal_prices_mean_at_once() -> None:
    assert timing(Deferrable(2, 9, 3), np.ones(12), 300.0).ticks == (2, 3, 4)


def test_a_night_job_waits_for_the_light_load_of_a_tariff() -> None:
    from datetime import datetime, timedelta  # noqa: PLC0415

    tariff, start = catalogue.tariff("kr-industrial-tou"), datetime(2024, 1, 2)  # noqa: DTZ001  local time
    prices = [tariff.price(start + timedelta(hours=h)) for h in range(48)]
    found = timing(Deferrable(arrival=18, deadline=33, ticks=4, in_one_piece=True), prices, 3600.0)
    assert found.ticks == (23, 24, 25, 26)  # light load begins at 23:00
    assert found.saved > 0.5


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda: Deferrable(0, 2, 3), "expected 3 ticks between arrival 0 and deadline, found 2"),
        (lambda: Deferrable(0, 2, 0), "expected at least one tick"),
        (lambda: timing(Deferrable(0, 2, 1), [1.0, -1.0], 300.0), "prices of at least 0"),
        (lambda: timing(Deferrable(0, 2, 1), [], 300.0), "prices of at least 0"),
    ],
)
def test_impossible_work_and_prices_are_refused(make: object, why: str) -> None:
    with pytest.raises(InputError, match=why):
        make()  # type: ignore[operator]
