"""Right sizes from measured use: hand-made histories with known answers."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from foreshade.adapters.app.cli import app
from foreshade.envs.errors import InputError
from foreshade.envs.right_sizing import Recommendation, RightSizing, recommend, weighted_quantile
from foreshade.envs.scenarios.prices import Prices
from foreshade.envs.workloads.trace import Trace, VmTable

STEP_S = 300
A_DAY = 288
USD_H = (1e-5, 1e-6, 0.0, 0.0, 0.0)  # per MHz and MiB


def trace(
    cpu: list[float] | np.ndarray, memory: list[float] | np.ndarray | None = None, **vm: float
) -> Trace:
    """One VM of 4 vCPUs of 1,000 MHz and 8 GiB."""
    series = {"cpu": np.asarray(cpu, np.float32)[:, None]}
    if memory is not None:
        series["memory"] = np.asarray(memory, np.float32)[:, None]
    one = lambda value: np.array([value], np.float32)  # noqa: E731
    table = VmTable(
        ("a",), one(4), one(4_000), one(vm.get("memory_mib", 8_192)), one(0), np.zeros(1),
        np.array([vm.get("departure_s", math.inf)]), ("a",),
    )  # fmt: skip
    return Trace("hand", "hand", 0, STEP_S, table, series)


def only(said: Trace, **knobs: float) -> Recommendation:
    (found,) = recommend(said, USD_H, RightSizing(**knobs))
    return found


def test_a_steady_vm_gets_its_use_with_margin_and_what_its_history_may_hide() -> None:
    n = 10 * A_DAY
    found = only(trace(np.full(n, 1_000.0), np.full(n, 2_000.0)))
    # CPU: 1,000 x 1.15 x 1.1 = 1,265 MHz: 2 vCPUs; memory: 2,000 x 1.15 x 1.1 = 2,530: 10 steps of 256
    assert (found.verdict, found.to_cpu_mhz, found.to_memory_mib) == ("shrink", 2_000.0, 2_560.0)
    assert found.history_days == 10.0
    assert found.confidence == pytest.approx(10 / 11)
    assert found.usd_month == pytest.approx(730 * (2_000 * 1e-5 + (8_192 - 2_560) * 1e-6))


def test_a_vm_whose_size_is_not_known_keeps_its_secret_and_is_in_no_sum() -> None:
    use = np.full(10 * A_DAY, 1_000.0)
    bare = trace(use, use, memory_mib=math.nan)
    bare.vms.cpu_mhz[:] = 0
    found = only(bare)
    assert (found.verdict, found.usd_month) == ("unsized", 0.0)
    assert math.isnan(found.cpu_mhz)
    bare.vms.memory_mib[:] = 8_192
    found = only(bare)
    assert (found.verdict, found.to_memory_mib) == ("shrink", 1_280.0)
    assert found.usd_month == pytest.approx(730 * (8_192 - 1_280) * 1e-6)


def test_a_vm_at_its_limit_can_only_grow() -> None:
    found = only(trace(np.full(10 * A_DAY, 4_000.0)))
    assert (found.verdict, found.to_cpu_mhz, found.to_memory_mib) == ("grow", 5_000.0, 8_192.0)
    assert found.usd_month < 0


def test_nothing_is_said_from_less_history_than_declared() -> None:
    days = 6.99
    short = trace(np.full(int(days * A_DAY), 10.0))
    found = only(short)
    assert (found.verdict, found.to_cpu_mhz, found.usd_month) == ("short history", 4_000.0, 0.0)
    assert only(short, least_history_days=6.0).verdict == "shrink"
    gaps = np.full(10 * A_DAY, 10.0)
    gaps[::2] = np.nan  # ten days on the clock, five measured
    assert only(trace(gaps)).verdict == "short history"
    assert only(trace(np.full(10 * A_DAY, np.nan))).verdict == "unmeasured"
    gone = trace(np.full(10 * A_DAY, 10.0), departure_s=9 * 86_400.0)
    assert only(gone).verdict == "gone"


def test_rare_cpu_peaks_are_cut_off_and_memory_peaks_are_not() -> None:
    n = 10 * A_DAY
    series = np.full(n, 500.0)
    series[-10:] = 3_900.0  # well below 1 % of the weight
    found = only(trace(series, series))
    assert found.to_cpu_mhz == 1_000.0
    assert found.to_memory_mib == math.ceil(3_900 * 1.15 * 1.1 / 256) * 256


def test_old_use_fades() -> None:
    n = 28 * A_DAY
    falling, rising = np.full(n, 300.0), np.full(n, 300.0)
    falling[: A_DAY // 2] = 3_400.0  # half a day of 28, four weeks ago: 1.8 % of the samples
    rising[-A_DAY // 2 :] = 3_400.0
    assert only(trace(falling)).to_cpu_mhz == 1_000.0
    assert only(trace(rising)).to_cpu_mhz == 4_000.0


def test_a_memory_peak_a_week_old_is_still_covered_whole() -> None:
    memory = np.full(14 * A_DAY, 100.0)
    memory[7 * A_DAY - 1] = 4_000.0
    assert only(trace(np.full(14 * A_DAY, 1.0), memory)).to_memory_mib >= 4_000.0


def test_what_is_not_known_of_a_vm_stays_as_it_is() -> None:
    found = only(trace(np.full(10 * A_DAY, 10.0), np.full(10 * A_DAY, 10.0), memory_mib=math.nan))
    assert math.isnan(found.to_memory_mib)
    assert found.usd_month == pytest.approx(730 * 3_000 * 1e-5)


@given(
    use=st.lists(st.floats(0, 4_000), min_size=1, max_size=30),
    days=st.integers(7, 40),
    memory=st.floats(0, 8_192),
)
def test_what_is_recommended_covers_its_estimate_and_never_undercuts_a_longer_history(
    use: list[float], days: int, memory: float
) -> None:
    cpu = np.resize(np.array(use), days * A_DAY)
    found = only(trace(cpu, np.full(days * A_DAY, memory)))
    weights = np.exp2(-(len(cpu) - 1 - np.arange(len(cpu))) / A_DAY / 7.0)
    p99 = weighted_quantile(cpu.astype(np.float32).astype(np.float64), weights, 0.99)
    assert found.to_cpu_mhz >= min(p99 * 1.15, 4_000.0) - 1e-6
    assert found.to_memory_mib >= min(memory * 1.15, 8_192.0) - 1e-3
    assert found.to_cpu_mhz % 1_000.0 == 0
    assert found.to_cpu_mhz >= 1_000.0
    longer = only(trace(np.tile(cpu, 2), np.full(2 * days * A_DAY, memory)))
    assert longer.confidence > found.confidence


def test_a_weighted_quantile_is_that_of_repeated_values() -> None:
    values, weights = np.array([3.0, 1.0, 2.0]), np.array([1.0, 2.0, 1.0])
    found = [weighted_quantile(values, weights, q) for q in (0.25, 0.5, 0.51, 0.75, 0.76, 1.0)]
    assert found == [1.0, 1.0, 2.0, 2.0, 3.0, 3.0]


def test_the_price_of_capacity_is_the_public_one_behind_the_credits() -> None:
    cpu, memory, *_ = Prices().capacity_usd_h
    assert (cpu, memory) == pytest.approx((0.014 / 1_000, 0.00375 / 1_024))


def test_the_command_says_each_vm_and_the_sum() -> None:
    spec = "generated:enterprise?vms=12&days=8&seed=2"
    done = CliRunner().invoke(app, ["recommend", "--workload", spec, "--json"])
    assert done.exit_code == 0, done.output
    said = json.loads(done.stdout)
    rows = said["recommendations"]
    assert said["vms"] == len(rows) == sum(said["verdicts"].values())
    assert said["usd_month"] == pytest.approx(sum(row["usd_month"] for row in rows))
    assert said["verdicts"]["shrink"] > 0
    assert all(row["usd_month"] == 0 for row in rows if row["verdict"] in {"gone", "short history", "keep"})


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], "recommend: expected --workload or --scenario, found neither"),
        (["--scenario", "enterprise", "--min-history", "0"], "--min-history: expected days above 0, found 0"),
        (["--scenario", "nowhere"], "unknown scenario 'nowhere'"),
    ],
)
def test_bad_input_is_one_line(arguments: list[str], expected: str) -> None:
    done = CliRunner().invoke(app, ["recommend", *arguments])
    assert isinstance(done.exception, InputError)
    assert expected in str(done.exception)
    assert "\n" not in str(done.exception)


def test_requests_alone_are_refused() -> None:
    bare = trace([1.0])
    with pytest.raises(InputError, match="hand: expected measured cpu or memory, found requests alone"):
        recommend(Trace("hand", "hand", 0, STEP_S, bare.vms, {}, n_slots=5), USD_H)
