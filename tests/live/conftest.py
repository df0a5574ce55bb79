"""Nothing here runs without real hosts: ``make test-live`` sets FORESHADE_LIVE."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.live.testbed import Testbed

collect_ignore_glob = [] if os.environ.get("FORESHADE_LIVE") else ["test_*.py"]


@pytest.fixture(scope="session")
def testbed() -> Iterator[Testbed]:
    """Three hosts and a balancer for the whole run, with the templates parked."""
    from tests.live.testbed import raise_testbed  # noqa: PLC0415 - needs libvirt

    with raise_testbed(3) as raised:
        raised.sweep()
        raised.park()
        yield raised
        raised.sweep()


MEASURED: dict[str, object] = {}


@pytest.fixture
def measured() -> Callable[[str, object], None]:
    """Writes a number down for the summary, where docs/live.md has it from."""

    def note(name: str, value: object) -> None:
        MEASURED[name] = value

    return note


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """What was measured, and where it is kept."""
    if not MEASURED:
        return
    terminalreporter.section("measured")
    for name, value in MEASURED.items():
        terminalreporter.write_line(f"{name}: {value}")
    path = Path("build/live.json")
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(MEASURED, indent=1, default=str))


@pytest.fixture
def clean(testbed: Testbed) -> Testbed:
    """The testbed without a guest."""
    testbed.sweep()
    return testbed
