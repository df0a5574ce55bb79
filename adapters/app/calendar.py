"""A scenario with the maintenance and the freezes of an iCalendar file."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from pydantic import ValidationError

from foreshade.adapters.calendar_file import read_calendar
from foreshade.envs.errors import InputError
from foreshade.envs.scenarios.schema import Scenario

_LONGEST = timedelta(days=35)  # for which a calendar is read where the workload says how long a run is


def with_calendar(scenario: Scenario, path: Path) -> Scenario:
    """The scenario and, beside its own windows, those of the file.

    Raises:
        InputError: the file cannot be used, or names a host or rack that the scenario has not.

    """
    ticks = scenario.n_ticks
    length = _LONGEST if ticks is None else timedelta(seconds=ticks * scenario.tick_s)
    windows = read_calendar(path, scenario.start, scenario.start + length)
    said = [
        {
            "start": window.start,
            "end": window.end,
            "said": window.said,
            **({"freeze": True} if window.freeze else {}),
            **({} if window.host is None else {"host": window.host}),
            **({} if window.rack is None else {"rack": window.rack}),
        }
        for window in windows
    ]
    plain = scenario.model_dump(exclude_unset=True)
    try:
        return Scenario.model_validate({**plain, "maintenance": (*plain.get("maintenance", ()), *said)})
    except ValidationError as error:
        why = error.errors()[0]["msg"].removeprefix("Value error, ")
        raise InputError(f"{path}: {why}") from error
