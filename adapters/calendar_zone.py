"""Times of an iCalendar event whose zone nobody knows: libraries read them as though they had none."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from foreshade.envs.errors import InputError


def check_zones(event: Any, where: str) -> None:
    """Refuse an event of icalendar's with a TZID that neither the file nor the IANA data base has.

    Raises:
        InputError: names the property and the zone, after ``where``.

    """
    for key in ("DTSTART", "DTEND"):
        said = event.get(key)
        zone = None if said is None else said.params.get("TZID")
        if zone is not None and isinstance(said.dt, datetime) and said.dt.tzinfo is None:
            raise InputError(f"{where}: {key}: expected a time zone that is known, found {str(zone)!r}")
