"""The terminal's table, the intervals in it and how its numbers are written."""

from __future__ import annotations

import io
import math
import re

import pytest
from rich.console import Console

from foreshade.adapters.app.column import Column, Figures, share
from foreshade.adapters.app.comparison import MEASURES, cases
from foreshade.adapters.app.results import RunResult
from foreshade.adapters.app.table import print_results
from foreshade.envs.errors import InputError
from foreshade.envs.student import t_cdf, t_quantile
from foreshade.training.estimate import Estimate, paired
from tests.runs import run

ENERGY, COST, UNMET = MEASURES[:3]


def shown(results: list[RunResult], *, width: int = 120, styled: bool = False) -> str:
    out = io.StringIO()
    print_results(
        results,
        Console(file=out, width=width, force_terminal=styled, color_system="standard" if styled else None),
    )
    return out.getvalue()


def test_one_seed_gives_plain_values_without_an_interval() -> None:
    text = shown([run("npa", cost=20.0), run("ham", cost=15.0)])
    assert "±" not in text
    assert re.search(r"^npa +100\.0 +20\.00 ", text, re.MULTILINE)
    assert re.search(r"^ham +100\.0 +15\.00 ", text, re.MULTILINE)


def test_several_seeds_give_the_mean_and_its_half_width_below() -> None:
    text = shown([run("npa", seed, cost=cost) for seed, cost in enumerate((10.0, 12.0, 14.0))])
    # s = 2, t(0.975, 2) = 4.3027, 4.3027 * 2 / sqrt(3) = 4.97
    assert "12.00" in text
    assert "± 4.97" in text
    assert "n = 3 seeds" in text


def test_the_best_of_a_column_alone_is_bold() -> None:
    text = shown([run("npa", cost=20.0), run("ham", cost=15.0)], styled=True)
    assert "\x1b[1m15.00\x1b[0m" in text
    assert "\x1b[1m20.00" not in text
    assert "\x1b[1m100.0" not in text  # level: nobody is best


@pytest.mark.parametrize("n_seeds", [1, 3])
def test_the_table_fits_120_characters_with_large_numbers(n_seeds: int) -> None:
    results = [
        run(name, seed, energy=98765.4 + 100 * seed, cost=12345.6 + seed, migrations=98765 + 321 * seed)
        for name in ("npa", "an-agent-with-a-name-of-many-letters:alpha=0.5,beta=2")
        for seed in range(n_seeds)
    ]
    text = shown(results)
    assert max(len(line.rstrip()) for line in text.splitlines()) <= 120
    assert "98,765" in text or "98,865" in text
    assert "12,345.6" in text or "12,346.6" in text
    assert not any("…" in line[24:] for line in text.splitlines())  # a long name alone is cut


def test_nothing_is_cut_off_in_a_pipe(capsys: pytest.CaptureFixture[str]) -> None:
    print_results([run("npa", seed, cost=20.0 + seed) for seed in range(3)])
    assert "…" not in capsys.readouterr().out


def test_markup_in_a_name_is_shown_as_it_is() -> None:
    assert "[red]x[/red]" in shown([run("[red]x[/red]")])


def test_scenarios_are_not_averaged_together() -> None:
    text = shown([run(cost=10.0), run(cost=30.0, scenario="planetlab", workload="planetlab:20110303")])
    assert "10.00" in text
    assert "30.00" in text
    assert "20.00" not in text


def test_the_seed_in_a_generated_workload_does_not_part_its_runs() -> None:
    found = cases([run(seed=s, workload=f"generated:enterprise?seed={s}&vms=9") for s in range(2)])
    assert [(case.workload, case.seeds) for case in found] == [("generated:enterprise?vms=9", (0, 1))]


def test_two_runs_of_one_agent_and_seed_are_refused() -> None:
    with pytest.raises(
        InputError, match="one run per agent and seed of enterprise, got two of 'npa' with seed 4"
    ):
        cases([run(seed=4), run(seed=4)])


def test_no_runs_are_refused() -> None:
    with pytest.raises(InputError, match="expected at least one run, got none"):
        cases([])


def test_students_quantiles_are_those_of_the_tables() -> None:
    # Abramowitz & Stegun (1964), table 26.10
    table = {1: 12.706, 2: 4.303, 3: 3.182, 4: 2.776, 9: 2.262, 30: 2.042, 120: 1.980}
    assert {degrees: round(t_quantile(0.975, degrees), 3) for degrees in table} == table
    assert t_cdf(0.0, 5) == pytest.approx(0.5)


def test_a_paired_difference_does_not_see_what_seeds_have_in_common() -> None:
    ours, theirs = [10.0, 110.0, 210.0], [12.0, 111.0, 213.0]
    difference = paired(ours, theirs)
    assert difference.mean == pytest.approx(-2.0)
    assert difference.half_width == pytest.approx(t_quantile(0.975, 2) * 1.0 / math.sqrt(3))
    assert Estimate.of(ours).half_width > 200.0


def test_a_difference_is_resolved_only_outside_its_interval() -> None:
    assert paired([1.0, 1.1], [9.0, 9.2]).resolved
    assert not paired([1.0, 20.0], [9.0, 9.2]).resolved
    assert not paired([1.0], [9.0]).resolved


def test_values_that_read_the_same_are_all_the_best() -> None:
    (case,) = cases([run("a", unmet=0.0123), run("b", unmet=0.0123000001), run("c", unmet=0.02)])
    assert Column.of(case, UNMET).best == {"a", "b"}


def test_what_is_no_outcome_has_no_best() -> None:
    (case,) = cases([run("a", migrations=0), run("b", migrations=9)])
    (migrations,) = (measure for measure in MEASURES if measure.key == "migrations")
    assert Column.of(case, migrations).best == frozenset()


@pytest.mark.parametrize(
    ("measure", "value", "written"),
    [
        (ENERGY, 1234.56, "1,235 kWh"),
        (ENERGY, 12.3456, "12.35 kWh"),
        (COST, 1234.5, "1,234.50 USD"),
        (ENERGY, 0.0000123456, "12.35 10⁻⁶ kWh"),
        (UNMET, 0.00123456, "12.35 ppm"),  # of a per cent
        (UNMET, 0.0000123456, "0.123 ppm"),
        (UNMET, 0.0000000123456, "12.35 10⁻¹¹"),
        (ENERGY, 0.0, "0 kWh"),
        (ENERGY, math.nan, "– kWh"),
    ],
)
def test_numbers_are_written_with_the_digits_that_they_need(
    measure: object, value: float, written: str
) -> None:
    figures = Figures.of(measure, [Estimate(value, math.nan, 1)])  # type: ignore[arg-type]
    assert f"{figures.number(value)} {figures.unit}" == written


def test_signs_and_zero_are_written_for_people() -> None:
    figures = Figures("USD", 0, 2)
    assert figures.signed(1.5) == "+1.50"
    assert figures.signed(-1.5) == "−1.50"
    assert figures.signed(-0.001) == "0.00"
    assert figures.signed(0.001) == "0.00"
    assert share(-3.0, 12.0) == "25.0 %"
    assert share(1.0, 0.0) == ""
