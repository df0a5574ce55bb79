"""Every golden log is what its scenario gives now; ``python -m tests.golden`` shows and writes them."""

from __future__ import annotations

import pytest

from tests.golden import log_of, orphans, scenarios, stored


@pytest.mark.parametrize("name", list(scenarios()))
def test_log_is_as_reviewed(name: str) -> None:
    assert log_of(name) == stored(name)


def test_no_log_is_left_without_its_scenario() -> None:
    assert list(orphans()) == []
