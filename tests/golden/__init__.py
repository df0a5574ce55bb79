"""Golden logs: what a component does in a small world on a deterministic clock, as text that is reviewed.

A scenario is a function that yields the lines of its log, registered with ``@golden("name")``; it stands in a
module of this package, one for each component or interaction. Its log lies in ``tests/golden/logs/name.txt``.

    python -m tests.golden                  # which logs differ, and how
    python -m tests.golden --write [NAME…]  # write those that differ; read the change before it is committed

``tests/test_golden.py`` fails where a log differs from its file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules

LOGS = Path(__file__).parent / "logs"
Scenario = Callable[[], Iterable[str]]
_SCENARIOS: dict[str, Scenario] = {}


def golden(name: str) -> Callable[[Scenario], Scenario]:
    """Register a scenario under a name of its own."""

    def register(scenario: Scenario) -> Scenario:
        if name in _SCENARIOS:
            raise ValueError(f"golden log {name!r}: expected one scenario of that name, found two")
        _SCENARIOS[name] = scenario
        return scenario

    return register


def scenarios() -> Mapping[str, Scenario]:
    """Every scenario by name; reads all modules of this package."""
    for module in iter_modules([str(Path(__file__).parent)]):
        if not module.name.startswith("_"):
            import_module(f"{__name__}.{module.name}")
    return dict(sorted(_SCENARIOS.items()))


def log_of(name: str) -> str:
    """The log of a scenario as it is played now: its docstring, then its lines."""
    scenario = scenarios()[name]
    said = [f"# {line.strip()}".rstrip() for line in (scenario.__doc__ or "").strip().splitlines()]
    return "\n".join([*said, *scenario()]) + "\n"


def stored(name: str) -> str:
    """The log as it was reviewed; empty where there is none yet."""
    path = LOGS / f"{name}.txt"
    return path.read_text(encoding="utf-8") if path.exists() else ""


def orphans() -> Iterator[str]:
    """Logs whose scenario is gone."""
    known = scenarios()
    return (path.stem for path in sorted(LOGS.glob("*.txt")) if path.stem not in known)
