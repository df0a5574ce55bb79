"""What a site adds to its servers: electricity, carbon, cooling, racks, rented hosts, SLA credits."""

from __future__ import annotations

import csv
import gzip
from collections.abc import Mapping
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Annotated

import numpy as np
import numpy.typing as npt
from pydantic import Field, model_validator

from foreshade.envs.catalogue.entry import (
    Count,
    Entry,
    Factor,
    NotNegative,
    Positive,
    Share,
    Sourced,
    document,
    lookup,
)
from foreshade.envs.errors import WorkloadError
from foreshade.envs.yaml_document import build

HOURS = 24
Hour = Annotated[int, Field(ge=0, le=23)]
Month = Annotated[int, Field(ge=1, le=12)]
Weekday = Annotated[int, Field(ge=0, le=6)]  # 0 = Monday
HourlyMeans = Annotated[tuple[NotNegative, ...], Field(min_length=HOURS, max_length=HOURS)]


class Period(Entry):
    """Hours of some days of some months that have a price of their own."""

    months: tuple[Month, ...] = tuple(range(1, 13))
    weekdays: tuple[Weekday, ...] = tuple(range(7))
    hours: tuple[Hour, ...]
    usd_per_kwh: NotNegative

    def holds(self, when: datetime) -> bool:
        """Whether ``when``, in the site's local time, lies in this period."""
        return when.month in self.months and when.weekday() in self.weekdays and when.hour in self.hours


class Tariff(Sourced):
    """Electricity price by local time: the first period that holds, else ``usd_per_kwh``."""

    title: str
    usd_per_kwh: NotNegative
    periods: tuple[Period, ...] = ()

    def price(self, when: datetime) -> float:
        """USD per kWh at ``when``, in the site's local time."""
        return next((p.usd_per_kwh for p in self.periods if p.holds(when)), self.usd_per_kwh)


class Grid(Sourced):
    """Carbon intensity of a grid over a mean day."""

    title: str
    utc_offset_h: Annotated[int, Field(ge=-12, le=14)]  # standard time; no daylight saving
    g_per_kwh: HourlyMeans  # by hour of the local standard day

    def intensity(self, when: datetime) -> float:
        """Grams of CO2 per kWh at ``when``, in the site's local time."""
        return self.g_per_kwh[when.hour]


class Rental(Sourced):
    """A host that can be ordered by the hour from a cloud."""

    title: str
    as_of: str  # date of the price
    server: str  # the catalogue's server that stands for it
    vcpus: Count
    memory_gib: Positive
    price_usd_h: Positive
    provision_s: Positive


class CreditTier(Entry):
    """Below this availability, this share of the charges is given back."""

    below: Share
    credit: Share


class SlaSchedule(Sourced):
    """A published schedule of service credits, mildest tier first."""

    title: str
    tiers: Annotated[tuple[CreditTier, ...], Field(min_length=1)]

    def credit(self, availability: float) -> float:
        """Share of the month's charges given back at ``availability`` in 0..1."""
        return max((t.credit for t in self.tiers if availability < t.below), default=0.0)

    @model_validator(mode="after")
    def _ordered(self) -> SlaSchedule:
        pairs = zip(self.tiers, self.tiers[1:], strict=False)
        if any(b.below >= a.below or b.credit <= a.credit for a, b in pairs):
            raise ValueError("expected tiers to fall in availability and rise in credit")
        return self


class Site(Sourced):
    """Cooling and rack equipment."""

    pue: Factor
    pue_hyperscale: Factor
    rack_overhead_w: NotNegative
    uplink_mbit: Positive


@cache
def tariffs() -> Mapping[str, Tariff]:
    """Every tariff by name."""
    read = document("sites.yaml")
    return {n: build(Tariff, read, v, ("tariffs", n)) for n, v in read.value["tariffs"].items()}


@cache
def grids() -> Mapping[str, Grid]:
    """Every grid by name."""
    read = document("sites.yaml")
    return {n: build(Grid, read, v, ("grids", n)) for n, v in read.value["grids"].items()}


@cache
def rentals() -> Mapping[str, Rental]:
    """Every rented host by name."""
    read = document("sites.yaml")
    return {n: build(Rental, read, v, ("rentals", n)) for n, v in read.value["rentals"].items()}


@cache
def slas() -> Mapping[str, SlaSchedule]:
    """Every SLA schedule by name."""
    read = document("sites.yaml")
    return {n: build(SlaSchedule, read, v, ("slas", n)) for n, v in read.value["slas"].items()}


@cache
def site() -> Site:
    """The usual site."""
    read = document("sites.yaml")
    return build(Site, read, read.value["site"], ("site",))


def tariff(name: str) -> Tariff:
    """One tariff; ScenarioError lists the known names."""
    return lookup("tariff", name, tariffs())


def grid(name: str) -> Grid:
    """One grid; ScenarioError lists the known names."""
    return lookup("grid", name, grids())


def rental(name: str) -> Rental:
    """One rented host; ScenarioError lists the known names."""
    return lookup("rental", name, rentals())


def sla(name: str) -> SlaSchedule:
    """One SLA schedule; ScenarioError lists the known names."""
    return lookup("SLA", name, slas())


def read_carbon_csv(path: Path) -> tuple[npt.NDArray[np.datetime64], npt.NDArray[np.float64]]:
    """A full year of hourly carbon intensity: ``(n,)`` UTC times and ``(n,)`` gCO2/kWh, NaN in a gap.

    Reads the columns ``timestamp`` (ISO, with offset) and ``avg_CI`` of a csv, plain or gzipped.
    """
    opener = gzip.open if path.suffix == ".gz" else open
    times: list[np.datetime64] = []
    values: list[float] = []
    line = 1
    try:
        with opener(path, "rt", encoding="utf-8", newline="") as lines:
            rows = csv.DictReader(lines)
            missing = {"timestamp", "avg_CI"} - set(rows.fieldnames or ())
            if missing:
                raise WorkloadError(f"{path}:1: expected columns timestamp, avg_CI, found no {min(missing)}")
            for row in rows:
                line = rows.line_num
                times.append(np.datetime64(int(datetime.fromisoformat(row["timestamp"]).timestamp()), "s"))
                values.append(float(row["avg_CI"]) if row["avg_CI"] else np.nan)
                if not (np.isnan(values[-1]) or 0 <= values[-1] < np.inf):
                    raise ValueError(f"expected avg_CI >= 0, found {row['avg_CI']}")
    except (OSError, EOFError) as error:
        raise WorkloadError(f"{path}: expected a readable csv, found {error}") from error
    except (ValueError, TypeError) as error:
        raise WorkloadError(f"{path}:{line}: {error}") from error
    if not times:
        raise WorkloadError(f"{path}: expected at least one hour, found none")
    return np.array(times), np.array(values)
