"""The command line as a new user types it: real processes, real output, wrong arguments too."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from foreshade import __version__
from foreshade.agents.baselines.registry import agent_names
from tests.frozen_policies import policy_folder
from tests.test_results_json import KEYS

COMMAND = [sys.executable, "-c", "from foreshade.adapters.app.cli import main; main()"]


def foreshade(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    variables = {key: value for key, value in os.environ.items() if key != "FORESHADE_DATA"}
    return subprocess.run(
        [*COMMAND, *arguments], capture_output=True, text=True, env={**variables, **environment}, check=False
    )


@pytest.fixture
def short(tmp_path: Path) -> str:
    """The default scenario cut to two hours, as a file of one's own."""
    shown = foreshade("scenario", "show", "enterprise")
    assert shown.returncode == 0
    lines = [
        line for line in shown.stdout.splitlines() if not line.startswith(("days:", "ticks:", "workload:"))
    ]
    path = tmp_path / "short.yaml"
    path.write_text(
        "\n".join([*lines, "ticks: 24", "workload: generated:enterprise?vms=120", ""]), encoding="utf-8"
    )
    return str(path)


@pytest.fixture
def planetlab(tmp_path: Path) -> Path:
    """A day of eight VMs in the published format."""
    day = tmp_path / "traces" / "20110303"
    day.mkdir(parents=True)
    for vm in range(8):
        values = [(vm * 7 + k) % 60 for k in range(288)]
        (day / f"vm_{vm}").write_text("\n".join(map(str, values)) + "\n", encoding="utf-8")
    return day


def test_results_have_the_promised_keys_in_order_and_repeat(short: str) -> None:
    first = foreshade("evaluate", "--scenario", short, "--agent", "npa,thr-mmt-0.7", "--json", "--jobs", "1")
    again = foreshade("evaluate", "--scenario", short, "--agent", "npa,thr-mmt-0.7", "--json", "--jobs", "2")
    assert first.returncode == again.returncode == 0, first.stderr + again.stderr
    rows, repeated = json.loads(first.stdout)["results"], json.loads(again.stdout)["results"]
    assert [row["agent"] for row in rows] == ["npa", "thr-mmt-0.7"]
    for row, other in zip(rows, repeated, strict=True):
        assert list(row)[: len(KEYS)] == KEYS
        for clock in ("cpu_s", "wall_s"):
            row.pop(clock)
            other.pop(clock)
        assert row == other
        assert row["cost_usd"] == pytest.approx(sum(row["cost_terms"].values()))
    assert rows[0]["energy_kwh"] > rows[1]["energy_kwh"]


def test_report_is_written_whole_and_named(short: str, tmp_path: Path) -> None:
    out = tmp_path / "report-\udcff"  # a name in another encoding, which no UTF-8 text can hold
    done = foreshade("evaluate", "--scenario", short, "--agent", "dvfs", "--report", str(out), "--jobs", "1")
    assert done.returncode == 0, done.stderr
    assert [path.name for path in out.iterdir()] == ["index.html"]
    assert str(out / "index.html").replace("\udcff", "\\udcff") in done.stderr
    assert "dvfs" in done.stdout


def test_a_what_if_is_played_beside_the_scenario_in_processes_too(short: str) -> None:
    said = "host+1,price.spot=0.03,demand*1.1"
    done = foreshade(
        "evaluate", "--scenario", short, "--agent", "dvfs", "--what-if", said, "--json",
        "--jobs", "2", "--seeds", "2", "--forecast", "none",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    rows = document["results"]
    assert [(row["what_if"], row["seed"]) for row in rows] == [("", 0), ("", 1), (said, 0), (said, 1)]
    assert [row["hosts"] for row in rows] == [21, 21, 22, 22]
    costs = [row["cost_usd"] for row in rows]
    (cost,) = (d for d in document["differences"] if d["measure"] == "cost_usd")
    assert cost["difference"] == pytest.approx((costs[2] - costs[0] + costs[3] - costs[1]) / 2)


def test_a_template_is_shown_checked_and_selected(tmp_path: Path) -> None:
    shown = foreshade("template", "show", "web")
    mine = tmp_path / "mine.yaml"
    mine.write_text(shown.stdout, encoding="utf-8")
    checked = foreshade("template", "validate", str(mine), "--scenario", "planetlab")
    assert checked.stdout == f"{mine}: ok, web 1.0.0 for web\n", checked.stderr
    found = foreshade("template", "select", "70000", "--application", "web", "--json")
    assert json.loads(found.stdout)["vms"] == 3, found.stderr


def test_planetlab_day_is_played_on_both_physics(planetlab: Path) -> None:
    for scenario in ("planetlab", "cloudsim"):
        done = foreshade(
            "evaluate", "--scenario", scenario, "--workload", f"planetlab:{planetlab}",
            "--agent", "dvfs,lr-mmt-1.2,n-sigma-2", "--json", "--jobs", "1",
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        rows = json.loads(done.stdout)["results"]
        assert [row["vms"] for row in rows] == [8, 8, 8]
        assert all(row["ticks"] == 288 and row["energy_kwh"] > 0 for row in rows)


def test_generated_workload_is_written_described_and_played_again(tmp_path: Path) -> None:
    table = tmp_path / "load.parquet"
    made = foreshade("workload", "generate", "enterprise?vms=30&days=1&seed=4", "--out", str(table))
    assert made.returncode == 0, made.stderr
    said = foreshade("workload", "describe", f"table:{table}", "--json")
    assert said.returncode == 0, said.stderr
    assert json.loads(said.stdout)
    copied = foreshade("workload", "convert", f"table:{table}", str(tmp_path / "load.csv"))
    assert copied.returncode == 0, copied.stderr
    assert (tmp_path / "load.csv").stat().st_size > 0


def test_ctrl_c_ends_an_evaluation_in_processes_at_once() -> None:
    arguments = ["evaluate", "--agent", "ilp,rules", "--seeds", "30", "--jobs", "2", "--forecast", "none"]
    arguments += ["--workload", "generated:enterprise?vms=100"]
    with subprocess.Popen(
        [*COMMAND, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        until = time.monotonic() + 180.0
        while len(_children(process.pid)) < 3:  # two, and what tracks their semaphores
            assert process.poll() is None
            assert time.monotonic() < until
            time.sleep(0.1)
        os.killpg(process.pid, signal.SIGINT)
        told, _ = process.communicate(timeout=120)  # sixty runs would take minutes
    assert process.returncode == 130
    assert told == ""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_workers_end_with_their_parent(number: signal.Signals, tmp_path: Path) -> None:
    arguments = ["evaluate", "--agent", "ilp,rules", "--seeds", "30", "--jobs", "2", "--forecast", "none"]
    arguments += ["--workload", "generated:enterprise?vms=100"]
    with subprocess.Popen(
        [*COMMAND, *arguments],
        stdout=subprocess.DEVNULL,
        start_new_session=True,
        env={**os.environ, "TMPDIR": str(tmp_path)},
    ) as process:
        until = time.monotonic() + 180.0
        while len(workers := _children(process.pid)) < 3:  # two, and what tracks their semaphores
            assert process.poll() is None
            assert time.monotonic() < until
            time.sleep(0.1)
        process.send_signal(number)
    while any(Path(f"/proc/{worker}/stat").exists() for worker in workers):
        assert time.monotonic() < until
        time.sleep(0.1)
    if number == signal.SIGTERM:  # which lets it tidy up
        assert list(tmp_path.iterdir()) == []
    assert process.returncode == -number


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text("ascii").split()]


@pytest.mark.parametrize("stdout", ["ascii", "closed"])
def test_a_terminal_of_few_letters_and_a_closed_one_are_no_reason_to_fail(short: str, stdout: str) -> None:
    play = ["evaluate", "--scenario", short, "--agent", "dvfs", "--forecast", "none"]
    done = subprocess.run(
        ["/bin/sh", "-c", '"$@" >&-' if stdout == "closed" else '"$@"', "sh", *COMMAND, *play],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert ("21 hosts ?" in done.stdout) == (stdout == "ascii")


def test_vms_that_cannot_be_played_are_named_when_a_workload_is_played_and_described(tmp_path: Path) -> None:
    rows = ["time,vm,cpu_mhz,arrival_s", "0,a,100,0", "300,a,200,0", "0,late,100,900"]
    (tmp_path / "own.csv").write_text("\n".join([*rows, ""]), encoding="utf-8")
    spec = f"table:{tmp_path / 'own.csv'}"
    played = foreshade("evaluate", "--workload", spec, "--agent", "dvfs", "--forecast", "none")
    assert played.returncode == 0
    assert played.stderr == f"workload: {spec}: left out: 1 vms outside clock\n"
    said = json.loads(foreshade("workload", "describe", spec, "--json").stdout)
    assert said["vms"] == 2
    assert said["to_play"]["dropped_vms_outside_clock"] == 1
    assert "dropped_vms_outside_clock" in foreshade("workload", "describe", spec).stdout


def test_version_agents_and_completion_are_asked_for_without_anything_being_played() -> None:
    assert foreshade("--version").stdout == f"foreshade {__version__}\n"
    told = json.loads(foreshade("agent", "list", "--json").stdout)["agents"]
    assert [one["name"] for one in told] == list(agent_names())
    assert all(one["idea"] for one in told)
    assert "--install-completion" in foreshade("--help").stdout


def test_bench_names_its_rate() -> None:
    done = foreshade(
        "bench", "step", "--hosts", "4", "--vms", "20", "--envs", "2", "--seconds", "0.05", "--json"
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["env_steps_per_s"] > 0


def test_bench_of_decisions_plays_whole_episodes_in_every_environment() -> None:
    done = foreshade(
        "bench", "decide", "--hosts", "2", "--vms", "8", "--envs", "3", "--seconds", "0.05", "--json"
    )
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    for name in ("", "_singles"):
        assert said[f"episodes{name}"] >= 3
        assert said[f"episodes{name}"] % 3 == 0
        rates = [said[f"{what}decisions_per_s{name}"] for what in ("", "median_", "best_")]
        assert 0 < min(rates) <= max(rates) == rates[2]
    assert said["episode_ticks"] == 144


@pytest.mark.parametrize("forecast", ["none", "table", "online"])
def test_bench_names_the_price_of_the_state_apart(forecast: str) -> None:
    done = foreshade(
        "bench", "step", "--hosts", "2", "--vms", "8", "--envs", "2", "--seconds", "0.05",
        "--forecast", forecast, "--json",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said["forecast"] == forecast
    assert said["observe_us"] > 0


def test_a_table_is_announced_once_and_what_it_shows_changes_no_baseline(short: str, tmp_path: Path) -> None:
    rows = {}
    for forecast in ("table", "table", "online", "none"):
        done = foreshade(
            "evaluate", "--scenario", short, "--agent", "thr-mmt-0.7", "--jobs", "1", "--json",
            "--forecast", forecast, FORESHADE_CACHE=str(tmp_path),
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        announced = (
            "forecasts: making the table of generated:enterprise?vms=120 once, 24 ticks" in done.stderr
        )
        assert announced == (forecast == "table" and "table" not in rows)
        rows[forecast] = json.loads(done.stdout)["results"][0]
        assert rows[forecast]["forecast"] == forecast
    assert rows["table"]["cost_usd"] == rows["online"]["cost_usd"] == rows["none"]["cost_usd"]


def test_a_table_is_made_beforehand_by_a_command(tmp_path: Path) -> None:
    made = foreshade(
        "forecast", "precompute", "--workload", "generated:enterprise?vms=9&days=0.1", "--out", str(tmp_path),
        "--no-quantiles",
    )  # fmt: skip
    assert made.returncode == 0, made.stderr
    assert [made.stdout.strip()] == [f"moments: {path}" for path in tmp_path.iterdir()]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["evaluate", "--agent", "nobody"], "unknown agent 'nobody'"),
        (["evaluate", "--agent", "thr-mmt-x"], "found 'x'"),
        (["evaluate", "--scenario", "nowhere"], "unknown scenario 'nowhere'"),
        (["evaluate", "--scenario", "cloudsim", "--variant", "odd"], "'odd'"),
        (["evaluate", "--scenario", "planetlab", "--agent", "npa"], "FORESHADE_DATA is not set"),
        (
            ["evaluate", "--workload", "planetlab:/nowhere/20110303"],
            "/nowhere/20110303: no such file or folder",
        ),
        (["evaluate", "--workload", "martian:x"], "unknown kind 'martian'"),
        (["workload", "describe", "generated:nothing"], "nothing"),
        (["scenario", "validate", "/nowhere.yaml"], "/nowhere.yaml"),
        (["anomaly", "score"], "--nab"),
        (["evaluate", "--forecast", "crystal"], "expected none, table, online, found 'crystal'"),
        (["evaluate", "--scenario", "cloudsim", "--forecast", "table"], "cloudsim shows no forecasts"),
        (["bench", "step", "--forecast", "online"], "lower --envs or --vms"),
        (["evaluate", "--what-if", "host+many"], "--what-if 'host+many': expected host+N, host-N"),
        (["template", "show", "mail"], "unknown template 'mail', expected one of batch, cache"),
        (["template", "validate", "inference", "--scenario", "bitbrains"], "with 1 GPUs, found at most 0"),
        (["template", "select", "1,2,3,4,5,6"], "demand: expected 1 to 5 numbers with commas"),
        (["recommend"], "recommend: expected --workload or --scenario, found neither"),
        (["evaluate", "--report", "/proc/none", "--agent", "npa"], "expected a folder that can be written"),
    ],
)
def test_bad_input_is_one_line_and_status_2(arguments: list[str], expected: str) -> None:
    done = foreshade(*arguments)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("foreshade: ")
    assert expected in done.stderr


def test_truncated_archive_is_named_and_leaves_no_report(tmp_path: Path) -> None:
    broken = tmp_path / "days.tar.gz"
    broken.write_bytes(b"\x1f\x8b\x08\x00" + bytes(20))
    out = tmp_path / "report"
    done = foreshade(
        "evaluate", "--scenario", "planetlab", "--workload", f"planetlab:{broken}/20110303",
        "--agent", "npa", "--report", str(out),
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert str(broken) in done.stderr
    assert list(out.iterdir()) == []


def test_anomalies_are_counted_where_they_are_switched_on_and_change_no_result_of_who_ignores_them(
    short: str,
) -> None:
    rows = []
    for switch in ("--no-anomalies", "--anomalies"):
        said = foreshade("evaluate", "--scenario", short, "--agent", "dvfs", "--json", "--jobs", "1", switch)
        assert said.returncode == 0, said.stderr
        rows.append(json.loads(said.stdout)["results"][0])
    off, on = rows
    assert "vm_alarms" not in off["counts"]
    assert on["counts"]["vm_alarms"] == 0  # two hours are less than a detector's warm-up
    assert on["cost_usd"] == off["cost_usd"]


def test_the_cloudsim_engine_has_no_detectors(planetlab: Path) -> None:
    said = foreshade(
        "evaluate", "--scenario", "cloudsim", "--workload", f"planetlab:{planetlab}", "--agent", "npa",
        "--anomalies",
    )  # fmt: skip
    assert said.returncode == 2
    assert said.stderr == "foreshade: --anomalies: expected the engine foreshade, found cloudsim\n"


def test_ham_and_rules_play_beside_each_other_and_say_who_decided(short: str, tmp_path: Path) -> None:
    pytest.importorskip("onnx")
    policy = policy_folder(tmp_path / "policy", narrow=True)
    done = foreshade(
        "evaluate", "--scenario", short, "--agent", "rules,ham", "--policy", str(policy), "--json",
        "--forecast", "none", "--jobs", "1",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    rules, ham = json.loads(done.stdout)["results"]
    assert rules["fallback_rate"] == 0.0
    assert rules["decisions"]["by_kind"]["wait"]["rules"] > 0
    assert ham["fallback_rate"] == 1.0
    assert list(ham["decisions"]["doubts"]) == ["input out of range"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["evaluate", "--agent", "ham", "--policy", "/nowhere"], "/nowhere: expected a frozen model"),
        (["evaluate", "--agent", "npa", "--policy", "/nowhere"], "--policy /nowhere: expected the agent ham"),
        (["evaluate", "--agent", "rules", "--rules", "/no.yaml"], "/no.yaml: expected a file of rules"),
        (["evaluate", "--agent", "rules", "--rules", "/bin/sh"], "/bin/sh: expected a file of rules, found"),
        (["evaluate", "--profiles", "/bin/sh"], "/bin/sh: expected a file of profiles, found"),
        (["explain", "--tick", "0", "--config", "x"], "explain --config: expected --plan"),
        (["explain", "--tick", "9999", "--agent", "rules"], "--tick 9999: expected 0 to 575"),
        (["explain", "--tick", "0", "--agent", "dvfs"], "--agent dvfs: expected rules or ham"),
        (["explain", "--tick", "0", "--scenario", "mars"], "mars"),
    ],
)
def test_what_cannot_be_decided_or_explained_is_one_line(arguments: list[str], says: str) -> None:
    done = foreshade(*arguments)
    assert done.returncode == 2
    assert says in done.stderr
    assert done.stderr.count("\n") == 1
    assert done.stdout == ""


def test_components_are_tried_with_and_without_and_stand_in_json_and_report(
    short: str, tmp_path: Path
) -> None:
    little = ("--scenario", short, "--workload", "generated:enterprise?vms=30&days=0.1", "--forecast", "none")
    report = ("--report", str(tmp_path / "r"), "--jobs", "1")
    done = foreshade("evaluate", *little, "--agent", "rules", "--seeds", "2", "--ablate", "--json", *report)
    assert done.returncode == 0, done.stderr
    (ablation,) = json.loads(done.stdout)["ablations"]
    assert {row["component"] for row in ablation["contributions"]} >= {"all", "feedback", "spawning"}
    assert all(row["differences"]["cost_usd"]["half_width"] is not None for row in ablation["contributions"])
    assert "What each component is worth to rules" in (tmp_path / "r" / "index.html").read_text()
    refused = foreshade("evaluate", *little, "--agent", "dvfs", "--ablate")
    assert refused.returncode == 2
    assert refused.stderr.splitlines() == ["foreshade: --ablate: expected the agent rules or ham, found dvfs"]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["nowhere"], "No such command 'nowhere'; see 'foreshade --help'"),
        (
            ["evaluate", "--sed", "1"],
            "evaluate: No such option: --sed (Possible options: --seed, --seeds); see ",
        ),
        (["evaluate", "--seed", "-1"], "evaluate: Invalid value for '--seed': "),
        (
            ["scenario", "validate"],
            "scenario validate: Missing argument 'files'; see 'foreshade scenario validate --",
        ),
    ],
)
def test_words_that_no_command_takes_are_one_line(words: list[str], expected: str) -> None:
    done = foreshade(*words)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"foreshade: {expected}")
    assert done.stderr.count("\n") == 1


def test_a_command_without_words_shows_its_help() -> None:
    done = foreshade("scenario")
    assert done.returncode == 2
    assert "validate" in done.stderr


ENTRY = [sys.executable, "-c", "from foreshade_command import main; main()", "scenario", "list"]


def _read(pid: int, part: str) -> None:
    """Wait until a process has begun to read this part of what it needs."""
    until = time.monotonic() + 60.0
    while part not in Path(f"/proc/{pid}/maps").read_text("utf-8"):
        assert time.monotonic() < until
        time.sleep(0.001)


def test_ctrl_c_while_the_program_is_being_read_ends_it_without_a_word() -> None:
    with subprocess.Popen(ENTRY, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        _read(process.pid, "_multiarray_umath")  # among the first of many
        process.send_signal(signal.SIGINT)
        assert process.communicate(timeout=60) == ("", "")
    assert process.returncode == 130


def test_where_ctrl_c_is_ignored_it_stays_so() -> None:
    ignoring = ["/bin/sh", "-c", 'trap "" INT; exec "$@"', "sh", *ENTRY]
    with subprocess.Popen(ignoring, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        _read(process.pid, "_multiarray_umath")
        process.send_signal(signal.SIGINT)
        told, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (0, "")
    assert "enterprise" in told
