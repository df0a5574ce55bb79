"""The document of results: exact keys, plain numbers, readable by any JSON parser."""

from __future__ import annotations

import json
import math

import numpy as np

from foreshade.adapters.app.results import to_json
from tests.runs import run

KEYS = [
    "agent",
    "scenario",
    "variant",
    "workload",
    "seed",
    "hosts",
    "vms",
    "ticks",
    "energy_kwh",
    "cost_usd",
    "cost_terms",
    "migrations",
    "slatah",
    "pdm",
    "slav",
    "esv",
    "unmet_demand",
    "unmet_demand_worst_vm",
    "host_shutdowns",
    "cpu_s",
    "wall_s",
]


def test_a_row_has_the_promised_keys_in_order_and_then_the_further_ones() -> None:
    document = to_json([run()])
    assert list(document) == ["results"]
    keys = list(document["results"][0])
    assert keys[: len(KEYS)] == KEYS
    assert keys[len(KEYS) :] == [
        "rack_kwh",
        "cooling_kwh",
        "migration_downtime_s",
        "unmet_by_resource",
        "sla_violations",
        "counts",
        "forecast",
        "fallback_rate",
        "decisions",
        "components",
        "what_if",
    ]


def test_fractions_stay_fractions() -> None:
    row = to_json([run(unmet=0.0123)])["results"][0]
    assert row["unmet_demand"] == 0.0123
    assert row["slatah"] == 0.02


def test_rows_keep_the_order_of_the_runs() -> None:
    rows = to_json([run("b", 1), run("a", 0)])["results"]
    assert [(row["agent"], row["seed"]) for row in rows] == [("b", 1), ("a", 0)]


def test_what_is_not_finite_becomes_null() -> None:
    text = json.dumps(
        to_json([run(esv=math.nan, cost=math.inf, unmet_by_resource={"gpu": math.nan})]), allow_nan=False
    )
    row = json.loads(text)["results"][0]
    assert row["esv"] is None
    assert row["cost_usd"] is None
    assert row["unmet_by_resource"] == {"gpu": None}


def test_numpy_numbers_become_plain_ones() -> None:
    row = to_json(
        [run(energy=np.float32(1.5), migrations=np.int64(3), cost_terms={"energy": np.float64(2.0)})]
    )
    values = row["results"][0]
    assert type(values["energy_kwh"]) is float
    assert type(values["migrations"]) is int
    assert type(values["cost_terms"]["energy"]) is float
