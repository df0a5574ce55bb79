"""The HTML report: whole or not there, needs nothing else, shows what the runs say."""

from __future__ import annotations

import json
import math
import re
import resource
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from plotly.offline import get_plotlyjs

from foreshade.adapters.app.comparison import cases
from foreshade.adapters.app.report import render, write_report
from foreshade.adapters.app.series import MOST_POINTS, thinned
from foreshade.adapters.app.summary import sentences
from foreshade.agents.decisions import Decisions
from foreshade.envs.errors import InputError
from tests.runs import history, run


class Page(HTMLParser):
    """Tags with their attributes, the visible text, and the text of each script."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.words: list[str] = []
        self._inside: list[str] = []
        self.feed(text.replace(get_plotlyjs(), ""))  # 5 MB in which no tag starts

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag in ("script", "style"):
            self._inside.append(tag)
            self.scripts.append("")

    def handle_endtag(self, tag: str) -> None:
        if self._inside and tag == self._inside[-1]:
            self._inside.pop()

    def handle_data(self, data: str) -> None:
        if self._inside:
            self.scripts[-1] += data
        else:
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


def data_of(text: str) -> list[dict[str, Any]]:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL)
    assert found is not None
    value: list[dict[str, Any]] = json.loads(found.group(1))
    return value


def two_agents(n_seeds: int = 3) -> list[Any]:
    return [
        run(agent, seed, energy=energy + 10 * seed, cost=cost + 5 * seed + wobble * (seed % 2), unmet=unmet)
        for agent, energy, cost, unmet, wobble in (
            ("npa", 200.0, 40.0, 0.001, 0.0),
            ("ham", 150.0, 30.0, 0.002, 1.0),
        )
        for seed in range(n_seeds)
    ]


def test_the_report_says_what_was_run_and_what_came_out() -> None:
    text = render(
        two_agents(), command="foreshade evaluate --seeds 0-2", written=datetime(2026, 1, 2, tzinfo=UTC)
    )
    words = Page(text).text
    for said in (
        "enterprise",
        "generated:enterprise",
        "18 hosts · 400 VMs · 4 ticks",
        "0, 1, 2",
        "foreshade evaluate --seeds 0-2",
        "2026-01-02",
        "Monday 2024-01-01 00:00 UTC",
        "160.0",  # ham's mean energy
        "SLATAH",
        "npa reference",
    ):
        assert said in words, said


def test_the_summary_names_the_cheapest_its_saving_and_its_service() -> None:
    (case,) = cases(two_agents())
    first, second = sentences(case, "npa")
    # npa: 40, 45, 50 USD; ham: 30, 36, 40; the differences -10, -9, -10 have s = 0.577
    assert first == (
        "ham was the cheapest of 2 agents: 35.33 USD, 21.5 % less than npa. Its hosts used 160.0 kWh, "
        "23.8 % less, and 0.200 % of the CPU demand went unmet (npa: 0.100 %)."
    )
    assert second == "Paired over n = 3 seeds the cost differs by −9.67 ± 1.43 USD (95 % interval)."


def test_the_summary_admits_what_could_be_chance() -> None:
    noisy = [run("npa", s, cost=20.0) for s in range(2)] + [
        run("ham", s, cost=(5.0, 34.0)[s]) for s in range(2)
    ]
    (case,) = cases(noisy)
    assert "which could be chance" in sentences(case, "npa")[1]
    (single,) = cases([run("npa"), run("ham", cost=10.0)])
    assert "one seed" in sentences(single, "npa")[1]


def test_the_summary_says_who_comes_next_and_whether_the_seeds_tell_them_apart() -> None:
    rules = [run("rules", seed, cost=(31.0, 36.0, 41.0)[seed]) for seed in range(3)]  # 1, 0, 1 USD above ham
    (case,) = cases([*two_agents(), *rules])
    expected = "rules comes next, by +0.67 ± 1.43 USD over the same seeds, which could be chance."
    assert sentences(case, "npa")[2] == expected
    (single,) = cases([run("npa", cost=40.0), run("ham", cost=10.0), run("rules", cost=11.0)])
    assert "rules comes next, with 11.00 USD." in sentences(single, "npa")


def test_decisions_stand_by_kind_and_by_who_took_them() -> None:
    moves = {"ham": 3, "rules": 1, "actions": 4, "transition_usd": 0.5, "gain_usd": 2.25}
    first = Decisions({"migrate": moves, "wait": {"ham": 4, "actions": 0}}, {"low confidence": 1}, 1 / 8)
    second = Decisions({"wait": {"ham": 10, "actions": 0}}, {}, 0.0)
    page = Page(render([run("npa"), run("ham", decisions=first), run("ham", 1, decisions=second)]))
    assert "ham: the rules took 6.2 % of its decisions (low confidence 1)." in page.text
    assert "ham migrate 1.5 0.5 2 0.25 1.12" in page.text  # means over two seeds
    assert "ham wait 7 0 0 0.00 0.00" in page.text


def test_agents_that_choose_no_candidates_have_no_decisions() -> None:
    assert "By the rules" not in Page(render([run("npa"), run("dvfs")])).text


def test_nothing_is_loaded_from_anywhere() -> None:
    text = render(two_agents(), command="see https://example.org/x.js")
    page = Page(text)
    assert not [
        tag for tag, _ in page.tags if tag in ("link", "img", "iframe", "object", "embed", "base", "video")
    ]
    for tag, attributes in page.tags:
        for name in ("src", "srcset", "data", "action", "background", "poster"):
            assert name not in attributes, (tag, attributes)
        assert (attributes.get("href") or "#").startswith("#")
    style = (text.split("<style>")[1]).split("</style>")[0]
    assert "url(" not in style
    assert "@import" not in style
    policies = [a["content"] for tag, a in page.tags if a.get("http-equiv") == "Content-Security-Policy"]
    assert policies
    assert "default-src 'none'" in str(policies[0])
    assert "http" not in str(policies[0])


def test_plotly_is_inside_once() -> None:
    text = render([run()])
    assert len(re.findall(r"\* plotly\.js v\d", text)) == 1
    assert len(text) < 7_000_000


def test_odd_names_stay_names() -> None:
    odd = '</script><script>alert("1")</script> & {{ 7*7 }} \'%{x}'
    text = render([run(odd), run("npa", cost=1.0)], command=odd)
    page = Page(text)
    assert [tag for tag, _ in page.tags].count("script") == 3
    assert odd in page.text
    assert "49" not in page.text.replace("49.", "")
    assert data_of(text)[0]["agents"] == [odd, "npa"]


def test_a_single_agent_has_no_differences_and_no_best() -> None:
    page = Page(render([run("only")]))
    assert "Differences from a reference" not in page.text
    assert not [a for _, a in page.tags if "best" in (a.get("class") or "")]
    assert "only cost 20.00 USD" in page.text


def test_the_best_of_each_outcome_is_marked() -> None:
    text = render([run("npa", cost=20.0, energy=100.0), run("ham", cost=15.0, energy=110.0)])
    rows = re.findall(r"<tr><th scope=\"row\" data-value=\"(\w+)\">(.*?)</tr>", text, re.DOTALL)
    best = {agent: re.findall(r"<b>([\d.,]+)</b>", row) for agent, row in rows}
    assert best == {"npa": ["100.0", "2.000"], "ham": ["15.00"]}  # energy and ESV, and cost


def test_the_reference_is_npa_unless_another_is_asked_for() -> None:
    runs = [run("ham"), run("npa")]
    assert data_of(render(runs))[0]["reference"] == "npa"
    assert data_of(render(runs[:1]))[0]["reference"] == "ham"
    assert data_of(render(runs, reference="ham"))[0]["reference"] == "ham"
    with pytest.raises(InputError, match="expected one of ham, npa, got 'nobody'"):
        render(runs, reference="nobody")


def test_differences_are_paired_over_the_seeds_that_both_played() -> None:
    runs = [*two_agents(), run("npa", 9, cost=1000.0)]
    text = render(runs)
    table = text.split("<table data-differences")[1].split("</table>")[0]
    shown = next(body for body in table.split("<tbody")[1:] if not body.startswith(" hidden"))
    words = Page("<table><tbody" + shown).text
    assert words.startswith("ham 3 ")
    assert "−9.67 ± 1.43 (−21.5 %)" in words
    assert len(table.split("<tbody")) == 3  # one body per reference


def test_every_header_and_plot_can_be_told_without_seeing_it() -> None:
    page = Page(render(two_agents()))
    assert all("scope" in a for tag, a in page.tags if tag == "th")
    assert all(a.get("aria-label") for _, a in page.tags if a.get("role") == "img")
    ids = [a["id"] for _, a in page.tags if "id" in a]
    assert len(ids) == len(set(ids))
    assert {a["aria-labelledby"] for _, a in page.tags if "aria-labelledby" in a} <= set(ids)
    assert dict(page.tags)["html"] == {"lang": "en"}


def test_missing_series_leave_the_rest() -> None:
    partial = {name: column for name, column in history().items() if name in ("time_s", "host_power_w")}
    text = render([run("some", history=partial), run("none", history={})])
    lines = data_of(text)[0]["lines"]
    assert set(lines["some"]["0"]) == {"power_kw", "time"}
    assert lines["none"] == {}


def test_numbers_that_are_not_finite_leave_valid_json_and_a_dash() -> None:
    text = render([run("nan", cost=math.nan, energy=math.inf, cost_terms={"energy": math.nan}), run("ok")])
    assert data_of(text)[0]["points"]["nan"]["energy"] == [None]
    assert data_of(text)[0]["terms"]["energy"] == {"nan": None, "ok": 19.0}
    assert "–" in Page(text).text


def test_each_scenario_and_variant_is_a_section_of_its_own() -> None:
    text = render([run(), run(variant="winter"), run(scenario="planetlab", workload="planetlab:20110303")])
    assert [case["title"] for case in data_of(text)] == ["enterprise", "enterprise / winter", "planetlab"]
    assert [a["id"] for _, a in Page(text).tags if "case" in (a.get("class") or "").split()] == [
        "case-0",
        "case-1",
        "case-2",
    ]


def test_time_starts_with_the_scenarios_own_clock() -> None:
    nine_hours_ahead = datetime.fromisoformat("2024-01-01T00:00:00+09:00")
    case = data_of(render([run(start=nine_hours_ahead)]))[0]
    assert case["start_ms"] == datetime(2024, 1, 1, tzinfo=UTC).timestamp() * 1000
    assert case["times"] == [[150, 450, 750, 1050]]  # the middles of four ticks
    assert data_of(render([run(start=None)]))[0]["start_ms"] is None


def test_lines_are_thinned_to_means_over_equal_stretches() -> None:
    long = history(2016)
    lines = thinned(run(history=long).metrics)
    assert {len(line) for line in lines.values()} == {504}
    assert MOST_POINTS >= 504
    assert lines["power_kw"][0] == pytest.approx(np.mean(long["host_power_w"][:4]) / 1e3)
    assert lines["time_s"][:2] == [600, 1800]
    assert lines["cost_usd"][-1] == pytest.approx(1008.0)  # the whole run's, not a mean of it
    assert lines["migrations_per_h"][0] == pytest.approx(12.0)  # one in each 300 s
    assert lines["unmet_percent"][0] == pytest.approx(1.0)


def test_a_last_stretch_that_is_shorter_has_its_own_mean() -> None:
    lines = thinned(run(history=history(7, power_w=1000.0)).metrics, most=3)
    assert lines["power_kw"] == [1.001, 1.004, 1.006]


def test_columns_of_another_length_are_left_out() -> None:
    lines = thinned(run(history={**history(), "hosts_on": np.ones(3)}).metrics)
    assert "hosts_on" not in lines
    assert "power_kw" in lines


def test_unmet_share_of_a_stretch_is_weighed_by_demand() -> None:
    columns = {**history(), "demand_cpu_mhz": np.array([900.0, 100.0, 0.0, 0.0])}
    columns["unmet_cpu_mhz"] = np.array([0.0, 100.0, 0.0, 0.0])
    assert thinned(run(history=columns).metrics, most=2)["unmet_percent"] == [10, 0]


def test_an_older_report_is_replaced_whole(tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text("old")
    path = write_report([run("new")], tmp_path)
    assert path == tmp_path / "index.html"
    assert path.read_text(encoding="utf-8") == render([run("new")])
    assert [entry.name for entry in tmp_path.iterdir()] == ["index.html"]


def test_folders_on_the_way_are_made(tmp_path: Path) -> None:
    assert write_report([run()], tmp_path / "a" / "b").is_file()


def test_an_older_report_survives_a_disk_that_fills_up(tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text("old")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(
        resource.RLIMIT_FSIZE, (100_000, hard)
    )  # Python ignores SIGXFSZ: the write itself fails
    try:
        with pytest.raises(InputError, match="File too large"):
            write_report([run()], tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert (tmp_path / "index.html").read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["index.html"]


def test_what_lies_in_the_way_survives_and_nothing_is_left_beside_it(tmp_path: Path) -> None:
    (tmp_path / "index.html").mkdir()  # cannot be replaced by a file: the last step fails
    (tmp_path / "index.html" / "kept").write_text("old")
    with pytest.raises(InputError):
        write_report([run()], tmp_path)
    assert (tmp_path / "index.html" / "kept").read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["index.html"]


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("")
    with pytest.raises(InputError) as error:
        write_report([run()], file)
    assert str(error.value) == f"report: expected a folder that can be written, got {file}: File exists"
