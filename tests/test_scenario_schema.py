"""Scenario files: what is accepted, what is refused and where the finger points."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foreshade.envs.errors import ScenarioError
from foreshade.envs.scenarios import Scenario, list_scenarios, load_scenario, show, variant
from foreshade.envs.yaml_document import build, parse

NOON = datetime(2024, 1, 1, 12, tzinfo=UTC)

GOOD = """\
name: tiny
workload: generated:flat
start: 2024-01-01T00:00:00Z
days: 1
fleet:
  - zone: a
    racks: 2
    hosts:
      - {server: hp-ml110-g4, count: 3}
      - {server: hp-ml110-g5}
prices:
  pue: 1.2
variants:
  dear: {prices: {electricity: 0.5}}
"""


Write = Callable[[str], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def _write(text: str) -> Path:
        path = tmp_path / "s.yaml"
        path.write_text(text, encoding="utf-8")
        return path

    return _write


def refusal(path: Path) -> str:
    with pytest.raises(ScenarioError) as caught:
        load_scenario(path)
    message = str(caught.value)
    assert "\n" not in message
    return message.removeprefix(str(path))


def test_a_good_file_is_read_with_its_defaults(write: Write) -> None:
    s = load_scenario(write(GOOD))
    assert (s.n_hosts, s.n_racks, s.n_rented, s.n_ticks) == (8, 2, 0, 288)
    assert s.start == datetime(2024, 1, 1, tzinfo=UTC)
    assert (s.tick_s, s.engine, s.scheduler, s.seed) == (300, "foreshade", "worst-fit", 0)
    assert s.fleet[0].hosts[0].machine.cpu_mhz == 3720
    assert s.fleet[0].hosts[0].profile.title.startswith("KVM")
    assert s.fleet[0].overhead_w > 0
    assert s.prices.pue == 1.2


#: replaced, replacement, what the message says after the file's name
BAD = [
    ("days: 1", "days: 0", ":4: days: expected greater than 0, found 0"),
    ("days: 1", "days: soon", ":4: days: expected a valid number, found 'soon'"),
    ("days: 1", "days: true", ":4: days: expected a valid number, found True"),
    ("days: 1", "days: .nan", ":4: days: expected"),
    ("days: 1", "days: 1\nticks: 5", ":1: the file: expected one of ticks, days, found both"),
    ("days: 1", "days: 0.0001", ":1: the file: expected at least one tick"),
    ("days: 1", "days: 1\ndays: 2", ":5: days: expected each key once, found it again after line 4"),
    ("days: 1", "dais: 1", ":4: dais: expected one of actions, "),
    ("days: 1", "dais: 1", "found an unknown key; did you mean days?"),
    ("start: 2024-01-01T00:00:00Z", "start: yesterday", ":3: start: expected an ISO time, found 'yesterday'"),
    ("start: 2024-01-01T00:00:00Z", "start: 5", ":3: start: "),
    ("start: 2024-01-01T00:00:00Z\n", "", ":1: start: expected this key, found it missing"),
    ("workload: generated:flat\n", "", ":1: the file: expected workload, or needs with the name of a trace"),
    ("racks: 2", "racks: -2", ":7: fleet[0].racks: expected greater than 0, found -2"),
    ("racks: 2", "racks: 1.5", ":7: fleet[0].racks: expected a valid integer, found 1.5"),
    (
        "racks: 2",
        "rocks: 2",
        ":7: fleet[0].rocks: expected one of heat_c_per_kw, hosts, overhead_w, power_control, racks, uplink_mbit",
    ),
    ("count: 3", "count: '3'", ":9: fleet[0].hosts[0].count: expected a valid integer, found '3'"),
    ("count: 3", "memory_mib: -4", ":9: fleet[0].hosts[0].memory_mib: expected greater than 0, found -4"),
    ("count: 3", "gpus: 2", ":9: fleet[0].hosts[0]: expected a server whose GPUs' power is known"),
    (
        "count: 3",
        "hypervisor: kwm",
        ":9: fleet[0].hosts[0].hypervisor: unknown hypervisor 'kwm', expected one of esxi",
    ),
    (
        "hp-ml110-g5",
        "hp-ml110-g9",
        ":10: fleet[0].hosts[1].server: unknown server 'hp-ml110-g9', expected one of asus",
    ),
    ("pue: 1.2", "pue: 0.9", ":12: prices.pue: expected greater than or equal to 1, found 0.9"),
    (
        "pue: 1.2",
        "electricity: nosuch",
        ":12: prices.electricity: unknown tariff 'nosuch', expected one of kr",
    ),
    (
        "pue: 1.2",
        "electricity: -0.1",
        ":12: prices.electricity: expected greater than or equal to 0, found -0.1",
    ),
    ("pue: 1.2", "unmet: {cpu: 1}", ":12: prices.unmet.cpu: expected one of cpu_usd_per_ghz_h"),
    ("pue: 1.2", "unmet: 7", ":12: prices.unmet: "),
    ("  pue: 1.2", "  - 1", ":11: prices: "),
    ("dear: {", "dear: {days: -1, ", " (variant dear):14: days: expected greater than 0, found -1"),
    ("dear: {", "dear: {variants: {}, ", ":14: variants.dear: expected no variants, found one"),
    ("electricity: 0.5", "electricity: no", " (variant dear):14: prices.electricity: "),
    ("days: 1", "days: 1\nactions: [fly]", ":5: actions[0]: expected 'spawn', "),
    ("days: 1", "days: 1\nactions: [power, power]", "expected each kind of action once"),
    (
        "days: 1",
        "days: 1\nmaintenance: [{start_h: 1, hours: 1}]",
        ":5: maintenance[0]: expected exactly one of",
    ),
    ("days: 1", "days: 1\nmaintenance: [{host: 8, start_h: 1, hours: 1}]", "expected a host below 8"),
    ("days: 1", "days: 1\nmaintenance: [{rack: 2, start_h: 1, hours: 1}]", "expected a rack below 2"),
    (
        "days: 1",
        "days: 1\nfailures: {recall: 1.5}",
        ":5: failures.recall: expected less than or equal to 1, found 1.5",
    ),
    ("days: 1", "days: 1\nresponse: {knee: 1}", ":5: response.knee: expected less than 1, found 1"),
    ("days: 1", "days: 1\ncloudsim: {remove_idle: true}", "expected no cloudsim rules"),
    (
        "days: 1",
        "days: 1\nrented: [{server: dell-r740}]",
        "rented[0].price_usd_h: expected this key, found it missing",
    ),
    ("racks: 2", "racks: 2000000", "expected at most 100,000 hosts, found 8,000,000"),
    ("days: 1", "days: [1", ":5: expected YAML, found "),
    ("days: 1", "days: &a [*a]", ":1: expected a few levels of keys"),
    ("days: 1", "? [1]\n: 2", ":4: the file: expected a word as key, found sequence"),
    ("days: 1", "days: \x00", ":1: expected YAML, found "),
    ("days: 1", "days: 1.0e+300", ":4: days: expected less than or equal to 3660, found 1e+300"),
    ("days: 1", "days: !!bool maybe", ":1: expected YAML, found 'maybe'"),
    ("days: 1", "days: !!int", ":1: expected YAML, found string index out of range"),
    ("2024-01-01T00:00:00Z", "2024-13-41", ":1: expected YAML, found month must be in 1..12"),
    ("days: 1", "days: 1\n---\nmore: 1", "expected YAML, found "),
]


@pytest.mark.parametrize(("old", "new", "said"), BAD)
def test_a_bad_file_is_refused_with_line_key_and_what_was_found(
    write: Write, old: str, new: str, said: str
) -> None:
    assert old in GOOD
    message = refusal(write(GOOD.replace(old, new, 1)))
    if said.startswith((":", " (")):
        assert message.startswith(said)
    assert said in message


def test_several_errors_give_the_first_and_count_the_rest(write: Write) -> None:
    text = GOOD.replace("days: 1", "days: -1").replace("racks: 2", "racks: 0").replace("pue: 1.2", "pue: 0")
    assert refusal(write(text)) == ":4: days: expected greater than 0, found -1 (and 2 more)"


@pytest.mark.parametrize("text", ["", "# nothing\n", "- 1\n", "7\n"])
def test_a_file_without_keys_is_refused(write: Write, text: str) -> None:
    assert refusal(write(text)).startswith(":1: expected keys and values, found ")


def test_a_missing_file_and_an_unknown_name_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ScenarioError, match="expected a readable scenario file"):
        load_scenario(tmp_path / "none.yaml")
    with pytest.raises(ScenarioError, match="unknown scenario 'entreprise', expected one of bitbrains"):
        load_scenario("entreprise")


def test_a_variant_merges_mappings_and_replaces_the_rest(write: Write) -> None:
    plain = load_scenario(write(GOOD))
    dear = variant(plain, "dear")
    assert (dear.prices.electricity, dear.prices.pue, dear.variant) == (0.5, 1.2, "dear")
    assert plain.prices.electricity == "us-va-commercial"
    assert dear.fleet == plain.fleet
    with pytest.raises(ScenarioError, match="unknown variant of tiny 'cheap', expected one of dear"):
        variant(plain, "cheap")


def test_the_cloudsim_variants_differ_in_the_removal_of_idle_vms_only() -> None:
    stock, keepzero = load_scenario("cloudsim", "stock"), load_scenario("cloudsim", "keepzero")
    assert (stock.cloudsim.remove_idle, keepzero.cloudsim.remove_idle) == (True, False)
    same = {"variant": "", "cloudsim": stock.cloudsim}
    assert stock.model_copy(update=same) == keepzero.model_copy(update=same)


def test_the_cloudsim_fleet_alternates_as_in_the_benchmark() -> None:
    s = load_scenario("cloudsim")
    order = [h.server for r in s.fleet for _ in range(r.racks) for h in r.hosts for _ in range(h.count)]
    assert order == ["hp-ml110-g4", "hp-ml110-g5"] * 400


def test_replacing_a_servers_figures_leaves_the_rest_and_the_catalogue_alone(write: Write) -> None:
    group = load_scenario(write(GOOD.replace("count: 3", "memory_mib: 8192, cores: 4"))).fleet[0].hosts[0]
    assert (group.machine.memory_mib, group.machine.cpu_mhz) == (8192, 4 * 1860)
    assert load_scenario("cloudsim").fleet[0].hosts[0].machine.memory_mib == 4096


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("2024-01-01", datetime(2024, 1, 1, tzinfo=UTC)),
        ("'2024-01-01T06:00'", datetime(2024, 1, 1, 6, tzinfo=UTC)),
        ("2024-01-01T06:00:00+05:00", datetime(2024, 1, 1, 1, tzinfo=UTC)),
    ],
)
def test_a_start_without_offset_is_utc(write: Write, given: str, expected: datetime) -> None:
    assert load_scenario(write(GOOD.replace("2024-01-01T00:00:00Z", given))).start == expected


@pytest.mark.parametrize("name", ["bitbrains", "cloudsim", "enterprise", "planetlab"])
def test_a_shipped_scenario_loads_with_all_its_variants_and_shows_itself(name: str, tmp_path: Path) -> None:
    s = load_scenario(name)
    assert s.name == name
    assert list_scenarios()[name] == s.description
    # What is shown is a scenario file again and means the same.
    path = tmp_path / "shown.yaml"
    path.write_text(show(s), encoding="utf-8")
    assert load_scenario(path) == s


def test_the_shipped_scenarios_are_the_seven_listed() -> None:
    assert list(list_scenarios()) == [
        "bitbrains",
        "cloudsim",
        "enterprise",
        "jobs",
        "planetlab",
        "racks",
        "surge",
    ]


def test_a_percent_of_overload_costs_more_than_the_hosts_electricity() -> None:
    for group in (h for r in load_scenario("enterprise").fleet for h in r.hosts):
        prices, machine = Scenario.model_fields["prices"].default, group.machine
        overload = 0.01 * machine.cpu_mhz / 1000 * prices.unmet.cpu_usd_per_ghz_h
        electricity = machine.power_at(0.3) / 1000 * prices.pue * prices.usd_per_kwh(NOON)
        assert overload > electricity


@given(st.data())
def test_whatever_is_typed_is_read_or_refused_in_one_line(data: st.DataObject) -> None:
    words = [
        "{",
        "}",
        "[",
        "]",
        ":",
        "-",
        "&a",
        "*a",
        "<<",
        "null",
        "-1",
        "x",
        "!!int",
        "'",
        "\n",
        "? ",
        "1e999",
    ]
    lines = GOOD.splitlines(keepends=True)
    for _ in range(data.draw(st.integers(1, 3))):
        row = data.draw(st.integers(0, len(lines) - 1))
        column = data.draw(st.integers(0, len(lines[row])))
        end = data.draw(st.integers(column, len(lines[row])))
        lines[row] = lines[row][:column] + data.draw(st.sampled_from(words)) + lines[row][end:]
    refused, hosts = "", 0
    try:
        hosts = build(Scenario, parse("".join(lines), "typed.yaml")).n_hosts
    except ScenarioError as error:
        refused = str(error)
    assert hosts > 0 or re.match(r"typed\.yaml:\d+: [^\n]+$", refused)


def test_a_scenario_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="frozen"):
        load_scenario("enterprise").seed = 3  # type: ignore[misc]
