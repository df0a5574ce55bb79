"""Measurements of a monitoring system in a live state: each has an age; what is stale or missing is never zero."""

from __future__ import annotations

import json
import shutil
import threading
import time
from collections.abc import Mapping
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("httpx", reason="httpx IS MISSING: Prometheus is not asked")

from foreshade.adapters.libvirt_world.outside import Outside
from foreshade.adapters.libvirt_world.settings import PrometheusSettings
from foreshade.adapters.libvirt_world.telemetry import HostReadings, Reading, VmReadings
from foreshade.adapters.metrics import FakeMetrics, Measured, MetricsError
from foreshade.adapters.promql import PromqlMetrics
from foreshade.envs.errors import ScenarioError
from foreshade.envs.yaml_document import build, parse
from tests.prometheus_server import prometheus
from tests.test_prometheus import server

NOW = 1_900_000_000.0  # of the server's clock; ours is another


def vector(question: dict[str, str]) -> tuple[int, str]:
    """Guests a, b, c were measured 10, 400 and never seconds ago; d shows no number, and one series has no name."""
    times = question["query"].startswith("timestamp(")
    rows: dict[str, str] = {"a": "0.25", "b:9100": "2", "c": "1", "d": "NaN"}
    if times:
        rows = {"a": str(NOW - 10), "b:9100": str(NOW - 400), "d": str(NOW)}
    series: list[dict[str, Any]] = [
        {"metric": {"domain": name, "job": "x"}, "value": [NOW, value]} for name, value in rows.items()
    ]
    series.append({"metric": {"job": "x"}, "value": [NOW, "7"]})
    return 200, json.dumps({"status": "success", "data": {"resultType": "vector", "result": series}})


def test_a_value_is_as_old_as_its_sample_by_the_clock_of_the_server(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("secret\n")
    with (
        server(vector) as (url, asked),
        closing(PromqlMetrics(url, "cpu", seen="timestamp(cpu)", label="domain", token_file=token)) as one,
    ):
        assert one.read() == {"a": Measured(0.25, 10.0), "b": Measured(2.0, 400.0)}
    assert [question["query"] for question in asked] == ["cpu", "timestamp(cpu)"]
    assert {question["headers"] for question in asked} == {"Bearer secret"}
    assert {question["path"] for question in asked} == {"/api/v1/query"}


@pytest.mark.parametrize(
    ("status", "answer", "says"),
    [
        (200, {"status": "success", "data": {"resultType": "scalar", "result": []}}, "found a scalar"),
        (422, {"status": "error", "error": "bad expression"}, "found status 422: bad expression"),
        (502, None, "expected JSON, found status 502"),
        (
            200,
            {
                "status": "success",
                "data": {"resultType": "vector", "result": [{"metric": {"d": "a"}, "value": [0, "1"]}] * 2},
            },
            "expected d=a once",
        ),
        (200, {"status": "success", "data": {"resultType": "vector", "result": [{}]}}, "time and value"),
    ],
)
def test_what_is_no_answer_is_one_line(status: int, answer: object, says: str) -> None:
    with (
        server(lambda _question: (status, "no JSON" if answer is None else json.dumps(answer))) as (url, _),
        closing(PromqlMetrics(url, "cpu", seen="timestamp(cpu)", label="d")) as one,
        pytest.raises(MetricsError, match=says) as raised,
    ):
        one.read()
    assert "\n" not in str(raised.value)
    with (
        closing(PromqlMetrics("http://127.0.0.1:9", "cpu", seen="x", label="d")) as one,
        pytest.raises(MetricsError, match="expected an answer"),
    ):
        one.read()


@pytest.mark.parametrize("query", ["rate(cpu[5m])", "cpu / 2", 'cpu{a="b"} * 2', "sum(cpu)"])
def test_what_is_computed_must_say_when_it_was_measured(query: str) -> None:
    text = f"url: http://p\nvms:\n  cores:\n    query: '{query}'\n    label: domain\n"
    with pytest.raises(ScenarioError, match=r"live:3: vms.cores: expected seen, PromQL for the time"):
        build(PrometheusSettings, parse(text, "live"))
    said = build(PrometheusSettings, parse(text + "    seen: newest\n", "live"))
    assert said.vms["cores"].seen_at == "newest"


def test_the_time_of_a_selector_is_known() -> None:
    text = "url: http://p\nhosts:\n  power_w:\n    query: 'node_w{job=\"a}\"}'\n    label: host\n"
    said = build(PrometheusSettings, parse(text, "live"))
    assert said.hosts["power_w"].seen_at == 'timestamp(node_w{job="a}"})'


def test_it_stands_in_the_place_of_ours_until_it_is_stale_and_nothing_becomes_zero() -> None:
    clock = [1000.0]
    cpu, watts = FakeMetrics({"web-1": Measured(1.5, 20.0), "uuid-2": Measured(0.5, 500.0)}), FakeMetrics()
    outside = Outside({"power_w": watts}, {"cores": cpu}, stale_s=100.0, now_s=lambda: clock[0])
    outside.ask()
    outside.hear()
    own = VmReadings(cores=Reading(0.1, 990.0), memory_mib=Reading(64.0, 990.0))
    first = outside.vm("web-1", "uuid-1", own)
    assert (first.cores, first.memory_mib) == (Reading(1.5, 980.0), own.memory_mib)
    assert outside.vm("web-2", "uuid-2", own) == own  # too old already
    assert outside.host("kvm1", HostReadings()) == HostReadings()  # nobody measured it
    cpu.error = "prometheus: away"
    clock[0] += 60.0
    outside.ask()
    outside.hear()
    assert outside.troubles == ["prometheus: away"]
    assert outside.vm("web-1", "uuid-1", own).cores == Reading(1.5, 980.0)  # it ages
    clock[0] += 60.0
    assert outside.vm("web-1", "uuid-1", own) == own
    assert outside.vm("web-1", "uuid-1", VmReadings()).cores is None
    cpu.error, cpu.known = "", {"web-1": Measured(2.0, 0.0)}
    outside.ask()
    outside.hear()
    assert (outside.troubles, outside.vm("web-1", "uuid-1", own).cores) == ([], Reading(2.0, 1120.0))


def test_a_live_state_shows_it_with_its_age(tmp_path: Path) -> None:
    from tests.libvirt_hosts import Record, settings, world  # noqa: PLC0415 - where libvirt is

    cpu = FakeMetrics({"web-1": Measured(0.5, 1.0)})
    memory, watts = FakeMetrics({"web-1": Measured(100.0, 0.0)}), FakeMetrics({"h1": Measured(77.0, 0.0)})
    said = settings(tmp_path, {"h1": {"web-1": Record("shop")}, "h2": {"web-2": Record("shop")}})
    stale_s = said.timeouts.stale
    one = world(said, host_metrics={"power_w": watts}, vm_metrics={"cores": cpu, "memory_mib": memory})
    try:
        state, slots = one.observe(), one.inventory().vm_slot
        known, unknown = slots["web-1"], slots["web-2"]
        assert state.vms.usage[known, :2].tolist() == pytest.approx([500.0, 100.0], rel=1e-3)
        assert 1.0 <= state.vms.age_s[known] < stale_s
        assert state.hosts.power_w[0] == pytest.approx(77.0)
        assert state.hosts.power_w[1] > 0.0  # by the curve of its server
        # Nobody tells how much of its memory the other one uses: all that it was given.
        assert state.vms.usage[unknown, 1] == state.vms.allocation[unknown, 1]
    finally:
        one.close()
    memory.known, cpu.known = {"web-1": Measured(100.0, stale_s)}, {"web-1": Measured(0.5, stale_s / 2)}
    watts.error = "prometheus: away"
    one = world(said, host_metrics={"power_w": watts}, vm_metrics={"cores": cpu, "memory_mib": memory})
    try:
        state, known = one.observe(), one.inventory().vm_slot["web-1"]
        assert state.vms.usage[known, 1] == state.vms.allocation[known, 1]
        assert state.vms.usage[known, 0] > 0.0
        assert state.hosts.power_w[0] != pytest.approx(77.0)
        assert "prometheus: away" in one.troubles()
    finally:
        one.close()


class Exporter(BaseHTTPRequestHandler):
    """A guest's CPU as it was a minute ago, a sum of two, and one that nobody measures any more."""

    def do_GET(self) -> None:
        minute_ago = int((time.time() - 60.0) * 1000)
        text = f'cpu{{domain="web-1",cpu="0"}} 0.5 {minute_ago}\ncpu{{domain="web-1",cpu="1"}} 0.25 {minute_ago}\n'
        text += f'mem{{domain="web-1"}} 64 {minute_ago}\nmem{{domain="web-2"}} NaN\n'
        self.send_response(200)
        self.send_header("Content-Type", "text/plain; version=0.0.4")
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_: object) -> None:
        pass


@pytest.mark.skipif(
    shutil.which("prometheus") is None, reason="Prometheus IS MISSING (apt-get install prometheus)"
)
def test_a_real_server_shows_old_samples_as_old(tmp_path: Path) -> None:
    exporter = ThreadingHTTPServer(("127.0.0.1", 0), Exporter)
    threading.Thread(target=exporter.serve_forever, daemon=True).start()
    config = tmp_path / "prometheus.yaml"
    target = f"127.0.0.1:{exporter.server_port}"
    config.write_text(
        "global: {scrape_interval: 1s}\n"
        f"scrape_configs: [{{job_name: guests, static_configs: [{{targets: ['{target}']}}]}}]\n"
    )
    sums, oldest = "sum by (domain) (cpu)", "min by (domain) (timestamp(cpu))"
    try:
        with (
            prometheus(config, tmp_path / "server") as url,
            closing(PromqlMetrics(url, "mem", seen="timestamp(mem)", label="domain")) as memory,
            closing(PromqlMetrics(url, sums, seen=oldest, label="domain")) as total,
            closing(PromqlMetrics(url, "sum(", seen="x", label="domain")) as wrong,
        ):
            end = time.monotonic() + 120.0
            found: Mapping[str, Measured] = {}
            while not found and time.monotonic() < end:  # until it has scraped
                found = memory.read()
                time.sleep(0.2)
            assert list(found) == ["web-1"]
            assert found["web-1"].value == 64.0
            # A minute, and what has passed since the scrape: a server shows a sample for five minutes.
            assert 59.0 <= found["web-1"].age_s <= 360.0
            assert total.read()["web-1"].value == 0.75
            assert total.read()["web-1"].age_s >= 59.0
            with pytest.raises(MetricsError, match="parse error"):
                wrong.read()
    finally:
        exporter.shutdown()
        exporter.server_close()
