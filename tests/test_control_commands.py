"""``foreshade control`` and its verbs, end to end on a small simulated cluster, and what a configuration may say."""

from __future__ import annotations

import json
import logging
import re
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update
from typer.testing import CliRunner

from foreshade.adapters.app.cli import app
from foreshade.adapters.app.control import assemble, reconfigure, run
from foreshade.adapters.app.control_config import load_config
from foreshade.adapters.app.control_log import JsonLines, start_log
from foreshade.adapters.app.control_reference import reference
from foreshade.adapters.app.control_tables import decision_table, print_out, table_of
from foreshade.adapters.store.lease import read_lease
from foreshade.adapters.store.schema import leases
from foreshade.adapters.store.store import Store
from foreshade.agents.plan import Mode
from foreshade.envs.errors import FenceError, ForeshadeError, InputError

SCENARIO = """
name: small
start: 2024-01-01T00:00:00Z
workload: generated:enterprise
overcommit: {cpu: 4, memory: 1.1}
fleet: [{zone: a, hosts: [{server: hpe-dl110-gen10plus, count: 4}]}]
"""
CONFIG = """
cluster: test
state_dir: {folder}/state
mode: advise
agent: {{name: rules}}
simulated:
  scenario: {folder}/small.yaml
  workload: generated:enterprise?vms=24&days=0.2
  acceleration: 1000000
"""


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The configuration of a cluster that has been advised for a while."""
    folder = tmp_path_factory.mktemp("control")
    (folder / "small.yaml").write_text(SCENARIO)
    path = folder / "control.yaml"
    path.write_text(CONFIG.format(folder=folder))
    assert run(assemble(load_config(path, {})), ticks=24) == 24
    return path


def say(config: Path, *words: str) -> dict[str, Any]:
    """A verb's JSON."""
    result = CliRunner().invoke(app, [*words, "--config", str(config), "--json"], catch_exceptions=False)
    assert result.exit_code == 0
    said: dict[str, Any] = json.loads(result.stdout)
    return said


def fails(words: Sequence[str]) -> str:
    with pytest.raises(ForeshadeError) as caught:
        CliRunner().invoke(app, words, catch_exceptions=False)
    return str(caught.value)


def waiting(config: Path) -> str:
    """A plan that waits for approval; one is made where there is none."""
    for _ in range(20):
        plans = say(config, "plan", "--state", "recommended")["plans"]
        if plans:
            return str(plans[0]["id"])
        run(assemble(load_config(config, {})), ticks=1)
    raise AssertionError("no advice in 20 ticks")


def test_status_says_how_the_cluster_is(config: Path) -> None:
    said = say(config, "status")
    assert said["cluster"] == "test"
    assert said["mode"] == "advise"
    assert not said["running"]
    assert sum(said["hosts"].values()) == 4
    assert said["decided_by"] == "rules"
    rows = say(config, "status", "--hosts")["hosts"]
    assert [row["name"] for row in rows] == [f"host{h:04d}" for h in range(4)]
    assert any(row["mean_cpu"] for row in rows)


def test_forecasts_have_intervals(config: Path) -> None:
    forecasts = say(config, "forecast", "show")["forecasts"]
    assert forecasts
    point = forecasts[0]["points"][0]
    levels = sorted(point["quantiles"], key=float)
    values = [point["quantiles"][level] for level in levels]
    assert values == sorted(values)
    assert "expected one of the cluster" in fails(
        ["forecast", "show", "--vm", "ghost", "--config", str(config)]
    )


def test_a_plan_is_shown_explained_simulated_and_approved(config: Path) -> None:
    plan_id = waiting(config)
    shown = say(config, "show", plan_id)
    assert shown["state"] == "recommended"
    assert all(action["reason"] for action in shown["actions"])
    explained = say(config, "explain", "--plan", plan_id)
    chosen = [d["candidates"][d["chosen"]] for d in explained["decisions"]]
    assert any(one["kind"] != "wait" for one in chosen)
    for one in (one for decision in explained["decisions"] for one in decision["candidates"]):
        assert not re.search(r"\b(vm|host|app|rack) \d", f"{one['what']} {one['verdict']}", re.IGNORECASE)
        assert one["vm_name"] in one["what"] or one["kind"] not in ("migrate", "place", "grow", "shrink")
    simulated = say(config, "simulate", plan_id, "--ticks", "3")
    assert simulated["saved_usd"] == pytest.approx(
        sum(simulated["cost_usd_without"].values()) - sum(simulated["cost_usd"].values())
    )
    assert say(config, "show", plan_id)["state"] == "recommended"  # nothing of that touched it
    assert say(config, "approve", plan_id, "--dry-run", "--by", "ann")["done"] is False
    assert say(config, "show", plan_id)["state"] == "recommended"
    assert say(config, "approve", plan_id, "--by", "ann")["plan"]["approved_by"] == "ann"
    assert "is approved: expected" in fails(["approve", plan_id, "--config", str(config)])
    running = assemble(load_config(config, {}))
    run(running, ticks=3)
    assert say(config, "show", plan_id)["state"] in ("succeeded", "failed", "superseded", "ongoing")


def test_a_plan_is_cancelled(config: Path) -> None:
    plan_id = waiting(config)
    assert (
        say(config, "cancel", plan_id, "--reason", "not now", "--by", "ann")["plan"]["state"] == "cancelled"
    )
    shown = say(config, "show", plan_id)
    assert {action["state"] for action in shown["actions"]} <= {"cancelled", "refused"}


def test_pause_resume_mode_and_drain_are_kept(config: Path) -> None:
    assert say(config, "pause", "--reason", "incident", "--by", "ann")["done"]
    said = say(config, "status")
    assert (said["paused"], said["paused_by"], said["paused_reason"]) == (True, "ann", "incident")
    say(config, "resume")
    assert not say(config, "status")["paused"]
    say(config, "mode", "auto")
    assert say(config, "status")["mode"] == "auto"
    say(config, "mode", "advise")
    say(config, "drain", "host0002", "--dry-run")
    assert say(config, "status")["draining"] == []
    say(config, "drain", "host0002")
    assert say(config, "status")["draining"] == ["host0002"]
    say(config, "drain", "host0002", "--undo")
    assert say(config, "status")["draining"] == []
    assert "expected one of the cluster" in fails(["drain", "ghost", "--config", str(config)])


def test_what_is_done_on_the_command_line_is_in_the_audit(config: Path) -> None:
    def entries() -> list[tuple[str, ...]]:
        words = ["audit", "show", "--last", "1000", "--json", "--config", str(config)]
        lines = CliRunner().invoke(app, words, catch_exceptions=False).stdout.splitlines()
        said = [json.loads(line) for line in lines]
        return [(e["actor"], e["action"], e["target"], e["outcome"], e["request"]) for e in said]

    before = len(entries())
    say(config, "pause", "--by", "ann", "--dry-run")
    assert len(entries()) == before
    say(config, "pause", "--by", "ann", "--reason", "incident")
    say(config, "resume", "--by", "ann")
    fails(["approve", "p404", "--by", "bob", "--config", str(config)])
    assert entries()[before:] == [
        ("ann", "pause", "", "taken", "command line"),
        ("ann", "resume", "", "taken", "command line"),
        ("bob", "plan.approve", "p404", "taken", "command line"),
        ("bob", "plan.approve", "p404", "failed", "command line"),
    ]
    verdict = CliRunner().invoke(app, ["audit", "verify", "--config", str(config)])
    assert verdict.exit_code == 0, verdict.output
    assert "expected 1 to 100 printable characters" in fails(
        ["pause", "--by", "a\nb", "--config", str(config)]
    )


def test_two_who_drain_hosts_at_once_both_have_their_way(config: Path) -> None:
    running = assemble(load_config(config, {}))
    hosts = [f"host{h:04d}" for h in range(4)]
    with ThreadPoolExecutor(4) as at_once:
        list(at_once.map(lambda host: running.service.drain(host, "ann"), hosts))
    assert sorted(running.service.controls().draining) == hosts
    with ThreadPoolExecutor(4) as at_once:
        list(at_once.map(lambda host: running.service.drain(host, "ann", undo=True), hosts))
    assert not running.service.controls().draining
    running.stopping.set()
    run(running)


def test_names_and_reasons_are_shown_as_they_are_and_whole(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.setenv("FORCE_COLOR", "1")  # as a terminal, which sets the width
    table = table_of("plan", "state", "actions", "reason")
    table.add_row("p12345", "recommended", "1 spawn, 37 reshape", "[/b] [red]why[/red] :smile: \x1b[31m")
    print_out(table)
    shown = "".join(capsys.readouterr().out.split())
    for word in ("p12345", "recommended", "37", "reshape", "[/b]", "[red]why[/red]", ":smile:", "\\x1b[31m"):
        assert word in shown


@pytest.mark.parametrize(
    ("columns", "confidence", "words"),
    [
        (["context.week_sin"], 0.4, "rules, HAM in doubt: out of range (context.week_sin)"),
        ([], 0.004, "rules, HAM in doubt: out of range (0.004)"),
        ([], None, "rules, HAM hands over: out of range"),
    ],
)
def test_a_doubt_is_shown_with_what_raises_it(
    capsys: pytest.CaptureFixture[str], columns: list[str], confidence: float | None, words: str
) -> None:
    wait = {"index": 0, "possible": True, "preference": 0.0, "what": "wait", "probability": None}
    decision = {
        "chosen": 0, "by": "rules", "doubt": "out of range", "out_of_range": columns, "confidence": confidence,
        "candidates": [{**wait, "score": 0.0, "verdict": "taken by rules"}],
    }  # fmt: skip
    print_out(decision_table(1, decision, 1))
    shown = " ".join(capsys.readouterr().out.split())  # a title as wide as its table
    assert shown.startswith(f"Decision 1: wait, taken by {words} candidate")


def test_an_output_that_cannot_be_written_is_one_line() -> None:
    words = [sys.executable, "-c", "from foreshade.adapters.app.cli import main; main()", "agent", "list"]
    with Path("/dev/full").open("w") as full:
        ended = subprocess.run(words, stdout=full, stderr=subprocess.PIPE, text=True, check=False, timeout=60)
    assert (ended.returncode, ended.stderr) == (
        2,
        "foreshade: the output cannot be written: No space left on device\n",
    )


def test_a_drained_host_is_emptied(config: Path) -> None:
    say(config, "drain", "host0001")  # a person asks for it: it needs no approval, in mode advise either
    run(assemble(load_config(config, {})), ticks=6)
    row = say(config, "status", "--hosts")["hosts"][1]
    assert row["vms"] == 0
    moves = [
        action
        for plan in say(config, "plan", "--limit", "20")["plans"]
        for action in plan["actions"]
        if action["source"] == "host0001" and action["state"] == "succeeded"
    ]
    assert any(action["reason"] == "host host0001 is being drained" for action in moves)
    say(config, "drain", "host0001", "--undo")


def test_a_second_controller_is_refused(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    running = assemble(load_config(config, {}))
    monkeypatch.setattr("foreshade.adapters.store.lease.this_process", lambda: "elsewhere:1:1")
    with pytest.raises(InputError, match=r"expected no other controller, found .* a second one waits with"):
        assemble(load_config(config, {}))
    running.stopping.set()
    run(running)


def test_the_lease_is_kept_from_before_the_first_tick(config: Path) -> None:
    running = assemble(load_config(config, {"FORESHADE_CONTROL__LEASE__LENGTH_S": "1"}))
    time.sleep(1.5)  # as long as a large cluster may take to be read
    running.lease.fence()
    running.stopping.set()
    run(running)


def test_a_controller_that_lost_its_lease_ends_as_failed_so_that_it_is_started_again(config: Path) -> None:
    running = assemble(load_config(config, {}))
    row = read_lease(running.store, "test")
    assert row is not None
    with running.store.writing() as connection:
        connection.execute(update(leases).values(holder="elsewhere:1:1", epoch=row.epoch + 1))
    with pytest.raises(FenceError, match="expected the lease, found it with another controller"):
        run(running)
    store = Store(load_config(config, {}).store_url)
    with store.writing() as connection:
        connection.execute(update(leases).values(released=True))
    store.close()


def test_a_reload_takes_over_mode_and_guard(config: Path) -> None:
    running = assemble(load_config(config, {}))
    reconfigure(running, load_config(config, {"FORESHADE_CONTROL__GUARD__ACTIONS_PER_TICK": "3"}))
    assert running.controller.guard.knobs.actions_per_tick == 3
    reconfigure(running, load_config(config, {"FORESHADE_CONTROL__MODE": "observe"}))
    assert running.service.controls().mode is Mode.OBSERVE
    reconfigure(running, load_config(config, {}))
    running.stopping.set()
    run(running)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("mode: auto\nguard: {actions_per_tick: 0}", ":2: guard.actions_per_tick: expected"),
        ("mode: sometimes", ":1: mode: expected 'observe', 'advise' or 'auto', found 'sometimes'"),
        ("modes: auto", ":1: modes: expected one of"),
        ("guard:\n  levels: {migrate: never}", ":2: guard.levels.migrate: expected"),
        ("guard:\n  levels: {fly: auto}", ":2: guard.levels: expected kinds of action"),
        ("store: {url: a, url_file: b}", ":1: store: expected one of url, url_file, found both"),
        ("- a list", ":1: expected keys and values, found a list"),
        ("mode: [", "expected YAML"),
        ("tick_s: .inf", ":1: tick_s: expected"),
        ("cluster: ../elsewhere", ":1: cluster: expected a name that a folder can have"),
        (
            "guard:\n  windows: [{start_s: 9, end_s: 1}]",
            ":2: guard.windows[0]: expected end_s after start_s 9",
        ),
        ("guard: {windows: [{start_s: .nan, end_s: 1}]}", "guard.windows[0].start_s: expected"),
    ],
)
def test_a_configuration_error_says_line_and_key(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(text)
    with pytest.raises(InputError) as caught:
        load_config(path, {})
    assert str(path) in str(caught.value)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_environment_is_laid_over_the_file(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text("guard: {actions_per_tick: 4, vm_cooldown_s: 60}")
    said = load_config(path, {"FORESHADE_CONTROL__GUARD__ACTIONS_PER_TICK": "9", "OTHER": "x"})
    assert (said.guard.actions_per_tick, said.guard.vm_cooldown_s) == (9, 60)
    with pytest.raises(
        InputError, match=r"^FORESHADE_CONTROL__GUARD__ACTIONS_PER_TICK: guard\.actions_per_tick: exp"
    ):
        load_config(path, {"FORESHADE_CONTROL__GUARD__ACTIONS_PER_TICK": "none"})


def test_a_secret_is_read_from_its_file_and_never_shown(tmp_path: Path) -> None:
    path, secret = tmp_path / "c.yaml", tmp_path / "url"
    path.write_text(f"store: {{url_file: {secret}}}")
    with pytest.raises(InputError, match="expected a file with the secret"):
        _ = load_config(path, {}).store_url
    secret.write_text("postgresql://me:hush@db/x\nmore\n")
    with pytest.raises(InputError, match="expected one line, found 2") as caught:
        _ = load_config(path, {}).store_url
    assert "hush" not in str(caught.value)
    secret.write_text("postgresql://me:hush@db/x\n")
    assert load_config(path, {}).store_url == "postgresql://me:hush@db/x"


def test_the_reference_names_every_key() -> None:
    written = reference()
    for key in ("actions_per_tick", "call_timeout_s", "acceleration", "standby", "raw_days", "strikes"):
        assert f"`{key}`" in written
    assert "object at 0x" not in written
    rows = [line for line in written.split("\n") if line.startswith("| `")]
    assert {len(re.findall(r"(?<!\\)\|", line)) for line in rows} == {5}  # four cells


def test_a_log_line_is_json_with_source_target_and_reason() -> None:
    record = logging.LogRecord("foreshade", logging.INFO, "", 0, "calling %s", ("migrate",), None)
    record.__dict__.update({"source": "h1", "target": "h2", "reason": "because"})
    said = json.loads(JsonLines().format(record))
    assert {"time", "level", "message", "source", "target", "reason"} <= set(said)
    assert said["message"] == "calling migrate"


def test_what_a_library_logs_is_json_too(capsys: pytest.CaptureFixture[str]) -> None:
    before = [
        (log, log.handlers, log.level, log.propagate) for log in map(logging.getLogger, ("", "foreshade"))
    ]
    try:
        start_log("info", "json")
        logging.getLogger("some.library").warning("no such thing")
        assert json.loads(capsys.readouterr().err)["message"] == "no such thing"
    finally:
        for log, handlers, level, propagate in before:
            log.handlers, log.propagate = handlers, propagate
            log.setLevel(level)
