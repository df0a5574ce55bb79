"""A real Prometheus scrapes a controller: alerts fire and go, and every query of the dashboard is answered."""

import json
import shutil
import subprocess
import time
from pathlib import Path

import httpx
import pytest
import yaml

pytest.importorskip("fastapi", reason="fastapi IS MISSING: the API is not tested")

from foreshade.adapters.auth.role import Role, Scope
from foreshade.adapters.prometheus import Prometheus
from tests.api_surface import served
from tests.prometheus_server import prometheus

DEPLOY = Path(__file__).resolve().parents[1] / "deploy"
PROMETHEUS, PROMTOOL = shutil.which("prometheus"), shutil.which("promtool")
pytestmark = pytest.mark.skipif(
    PROMETHEUS is None or PROMTOOL is None,
    reason="Prometheus IS MISSING (apt-get install prometheus): alerts are not tested",
)


def test_rules_and_their_tests_pass_promtool(tmp_path):
    for what in (["check", "rules", "alerts.yaml"], ["test", "rules", "alerts_test.yaml"]):
        done = subprocess.run(
            [PROMTOOL, *what], cwd=DEPLOY / "prometheus", capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr


def dashboard_queries(job):
    panels = json.loads((DEPLOY / "grafana" / "foreshade.json").read_text())["panels"]
    for panel in panels:
        for target in panel.get("targets", ()):
            yield target["expr"].replace("$job", job).replace("$__rate_interval", "1m")


@pytest.fixture(scope="module")
def scraped(tmp_path_factory):
    """A controller's surface, and the address of a Prometheus that scrapes it each second, waiting for nothing."""
    folder = tmp_path_factory.mktemp("prometheus")
    with served(folder / "control") as one:
        rules = yaml.safe_load((DEPLOY / "prometheus" / "alerts.yaml").read_text())
        for rule in rules["groups"][0]["rules"]:
            rule.pop("for", None)  # hours of patience are not tested
        (folder / "alerts.yaml").write_text(yaml.safe_dump(rules))
        (folder / "token").write_text(one.token(Role.VIEWER, frozenset({Scope.METRICS})))
        config = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yaml").read_text())
        config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
        (job,) = config["scrape_configs"]
        job["authorization"]["credentials_file"] = str(folder / "token")
        job["static_configs"] = [{"targets": [one.http.base_url.netloc.decode()]}]
        (folder / "prometheus.yaml").write_text(yaml.safe_dump(config))
        with (
            prometheus(folder / "prometheus.yaml", folder / "server") as address,
            httpx.Client(base_url=f"{address}/api/v1/", timeout=30.0) as http,
        ):
            yield one, http


def until(http, what, found, patience_s=120.0):
    """What Prometheus says once it is as expected."""
    end, said = time.monotonic() + patience_s, None
    while time.monotonic() < end:
        said = http.get(**what).json()["data"]
        if found(said):
            return said
        time.sleep(0.3)
    raise AssertionError(f"{what}: not within {patience_s} s: {json.dumps(said)[:2000]}")


def firing(said):
    return {alert["labels"]["alertname"] for alert in said["alerts"] if alert["state"] == "firing"}


def test_the_controller_is_scraped_and_every_query_of_the_dashboard_is_answered(scraped):
    one, http = scraped
    for _ in range(3):
        one.tick()
    until(http, {"url": "targets"}, lambda said: [t["health"] for t in said["activeTargets"]] == ["up"])
    # No forecast is due yet in a cluster of some minutes, and nothing was carried out or refused.
    quiet = ("forecast", "validation_failures", "action_outcomes")
    end = time.monotonic() + 120.0
    while True:
        one.tick()
        empty = [q for q in dashboard_queries("foreshade") if not answered(http, q)]
        if all(any(word in query for word in quiet) for query in empty):
            break
        assert time.monotonic() < end, empty
        time.sleep(1.0)


def answered(http, query):
    answer = http.get("query", params={"query": query})
    assert answer.status_code == 200, f"{query}: {answer.text}"
    return answer.json()["data"]["result"]


def test_our_own_queries_over_a_range_are_answered_by_it(scraped):
    _, http = scraped
    until(
        http, {"url": "query", "params": {"query": "foreshade_hosts"}}, lambda said: len(said["result"]) > 1
    )
    now = time.time()
    with Prometheus(str(http.base_url).removesuffix("/api/v1/")) as client:
        (found,) = client.query_range('foreshade_hosts{state="on"}', now - 60.0, now, 1.0)
    assert 'state="on"' in found.name
    assert found.values[-1] >= 1.0


def test_alerts_fire_with_what_is_wrong_and_go_when_it_is_mended(scraped):
    one, http = scraped
    assert one.ask("POST", "/v1/pause", Role.OPERATOR, json={"reason": "a test"}).status_code == 200
    alerts = {"url": "alerts"}
    expected = {"ForeshadeNoLeader", "ForeshadePaused"}  # nobody holds the lease of this cluster
    until(http, alerts, lambda said: expected <= firing(said))
    one.surface.metrics.late_calls.inc()
    until(http, alerts, lambda said: "ForeshadeLateCall" in firing(said))
    assert one.ask("POST", "/v1/resume", Role.OPERATOR, json={"reason": "a test"}).status_code == 200
    # A scrape of a busy machine may take longer than its second: what is down for one round is up in the next.
    gone = {"ForeshadePaused", "ForeshadeDown", "ForeshadeTwoLeaders"}
    until(http, alerts, lambda said: "ForeshadeNoLeader" in firing(said) and not gone & firing(said))
    (group,) = http.get("rules").json()["data"]["groups"]
    assert [
        (rule["name"], rule.get("lastError", "")) for rule in group["rules"] if rule["health"] != "ok"
    ] == []
