"""The API over a real controller of a small simulated cluster: what it shows, takes, and refuses."""

import io
import re
import sys
import time
import zipfile
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

pytest.importorskip("fastapi", reason="fastapi IS MISSING: the API is not tested")

from fastapi.routing import APIRoute
from sqlalchemy import create_engine

from foreshade.adapters.app.api.guard import GuardedRoute
from foreshade.adapters.app.control_config import ControlConfig
from foreshade.adapters.app.minds_in_force import MindsInForce
from foreshade.adapters.app.serve import serve
from foreshade.adapters.auth.role import Role, Scope
from foreshade.adapters.auth.token import mint
from foreshade.adapters.control_service import ControlService
from foreshade.adapters.store.lease import Lease
from foreshade.adapters.store.store import Store
from foreshade.adapters.store.tokens import StoreTokens
from foreshade.agents.baselines.registry import SHIPPED_POLICY
from foreshade.agents.plan import ActionState, Mode, PlannedAction, PlanRecord
from foreshade.envs.model.action import ActionKind
from foreshade.envs.model.state import VmState
from foreshade.envs.order import Order
from tests.api_surface import served

OPEN = {"/", "/assets/{name}", "/healthz", "/readyz", "/metrics"}  # metrics asks for a token by itself
WHY = {"reason": "a test", "dry_run": False}


@pytest.fixture(scope="module")
def quiet(tmp_path_factory):
    """A surface that no test changes."""
    with served(tmp_path_factory.mktemp("quiet")) as one:
        yield one


@pytest.fixture
def fresh(tmp_path):
    """A surface of a test's own."""
    with served(tmp_path) as one:
        yield one


def routes(one):
    return one.surface.app.routes


def address(route):
    """A path of the route with something in its parameters."""
    path = route.path
    for name, value in {"token_id": "0" * 16, "plan_id": "p1", "name": "x"}.items():
        path = path.replace("{" + name + "}", value)
    return path


def test_no_route_is_outside_the_guard(quiet):
    paths = {route.path for route in routes(quiet) if not isinstance(route, GuardedRoute)}
    assert paths == OPEN
    assert all(isinstance(route, GuardedRoute) for route in routes(quiet) if isinstance(route, APIRoute))


def test_every_route_refuses_whoever_lacks_its_role_scope_or_a_token(quiet):
    tried = 0
    for route in routes(quiet):
        if not isinstance(route, GuardedRoute):
            continue
        access, path = route.access, address(route)
        for method in route.methods:
            assert quiet.http.request(method, path).status_code == 401, path
            for role in Role:
                if role < access.role:
                    assert quiet.ask(method, path, role, json=WHY).status_code == 403, (path, role)
            others = quiet.token(Role.ADMIN, frozenset(set(Scope) - {access.scope}))
            headers = {"Authorization": f"Bearer {others}"}
            assert quiet.http.request(method, path, headers=headers, json=WHY).status_code == 403, path
            tried += 1
    assert tried > 45


def test_routes_that_act_want_more_than_a_viewer(quiet):
    harmless = {"/v1/rules/{name}/verify", "/v1/policies/{name}/verify"}
    for route in routes(quiet):
        if isinstance(route, GuardedRoute) and route.methods - {"GET"} and route.path not in harmless:
            assert route.access.role >= Role.OPERATOR, route.path


def test_refused_attempts_are_in_the_audit(fresh):
    fresh.ask("PUT", "/v1/mode", Role.OPERATOR, json={"mode": "auto"})
    fresh.http.get("/v1/status", headers={"Authorization": "Bearer foreshade_0"})
    fresh.surface.context.audit.close()
    found = [e for e in fresh.get("/v1/audit")["items"] if e["outcome"] == "denied"]
    assert [(e["actor"], e["target"]) for e in found] == [
        ("operator", "PUT /v1/mode"),
        ("", "GET /v1/status"),
    ]


def test_lists_filter_and_page_without_gap_or_repeat(quiet):
    whole = quiet.get("/v1/vms")
    assert whole["total"] == len(whole["items"]) == 8
    paged, cursor = [], ""
    while cursor is not None:
        page = quiet.get(f"/v1/vms?limit=3{cursor and '&cursor=' + cursor}")
        paged += page["items"]
        cursor = page["next"]
    assert paged == whole["items"]
    host = whole["items"][0]["host"]
    assert {vm["host"] for vm in quiet.get(f"/v1/vms?host={host}")["items"]} == {host}
    assert quiet.get("/v1/vms?host=nowhere")["total"] == 0
    assert quiet.get("/v1/hosts?state=on")["total"] + quiet.get("/v1/hosts?state=unrented")["total"] == 5
    assert [h["name"] for h in quiet.get("/v1/hosts?rented=true")["items"]] == [
        h["host"] for h in quiet.get("/v1/rental")["hosts"]
    ]


def test_an_application_is_there_while_it_has_a_vm(fresh):
    snapshot = fresh.service.snapshot
    states = snapshot.vms["state"].copy()
    states[3] = VmState.ABSENT
    fresh.service.show(replace(snapshot, vms={**snapshot.vms, "state": states}))
    left = [f"app{k}" for k in range(8) if k != 3]
    assert [app["name"] for app in fresh.get("/v1/applications")["items"]] == left
    assert [app["application"] for app in fresh.get("/v1/traffic")["items"]] == left
    assert fresh.get("/v1/cluster")["applications"] == len(left)
    assert fresh.get("/v1/applications/app4")["vms"] == 1
    assert fresh.ask("GET", "/v1/applications/app3").status_code == 404


@pytest.mark.parametrize(
    "path",
    [
        "cluster", "heatmap", "racks", "hosts", "vms", "applications", "templates", "status", "plans", "candidates",
        "forecasts", "forecasts/vms", "anomalies", "hazards", "profiles", "history", "timeline", "shadows", "traffic",
        "events/recent", "rules", "policies", "rules/activations", "tokens", "audit", "audit/verify", "webhooks",
        "host-database", "rental", "whoami", "openapi.json",
    ],
)  # fmt: skip
def test_every_question_is_answered(quiet, path):
    assert quiet.get(f"/v1/{path}")


def test_what_has_not_changed_is_not_sent_again(quiet):
    first = quiet.ask("GET", "/v1/hosts")
    tag = first.headers["etag"]
    again = quiet.ask("GET", "/v1/hosts", headers={"If-None-Match": f'"x", {tag}'})
    assert (again.status_code, again.content) == (304, b"")


def test_what_was_rendered_for_one_is_for_whoever_may_see_it_and_until_the_next_snapshot(fresh):
    path = "/v1/cluster?"
    first = fresh.ask("GET", path, Role.VIEWER)
    again = fresh.ask("GET", path, Role.OPERATOR)
    assert (again.content, again.headers["etag"]) == (first.content, first.headers["etag"])
    assert fresh.http.get(path).status_code == 401
    narrow = fresh.token(Role.ADMIN, frozenset({Scope.PLANS}))
    assert fresh.http.get(path, headers={"Authorization": f"Bearer {narrow}"}).status_code == 403
    assert fresh.ask("GET", "/v1/cluster?x=1").content == first.content
    fresh.tick()
    assert fresh.get(path)["tick"] == first.json()["tick"] + 1


def test_a_tick_is_told_once_and_shown_in_history(fresh):
    end = time.monotonic() + 60.0
    while True:  # until the narrator, which has a thread of its own, has told all that was ticked
        ticks = fresh.get("/v1/events/recent?kind=tick")["items"]
        moments = fresh.get("/v1/history")["items"]
        told = [last["tick"] for last in (ticks[-1]["data"], moments[-1])] if ticks and moments else []
        if len(moments) >= 2 and told == [fresh.service.newest().tick] * 2:
            break
        assert time.monotonic() < end
        time.sleep(0.02)
    assert [m["tick"] for m in moments] == sorted({m["tick"] for m in moments})
    last = moments[-1]
    assert last["power_w"] == pytest.approx(last["no_action_power_w"]), "nobody has acted yet"
    assert ticks[-1]["data"]["moment"] == last


def until(found, *, wanted=bool):
    """What comes of asking again, as others have threads of their own."""
    end = time.monotonic() + 30.0
    while not wanted(what := found()):
        assert time.monotonic() < end, what
        time.sleep(0.02)
    return what


def test_an_event_says_what_a_person_changed(fresh):
    host = fresh.get("/v1/hosts?limit=1")["items"][0]["name"]
    fresh.ask("POST", "/v1/pause", json={"reason": "incident"})
    fresh.ask("POST", "/v1/resume", json=WHY)
    fresh.ask("PUT", "/v1/mode", json={"mode": "observe"})
    fresh.ask("POST", f"/v1/hosts/{host}/drain", json=WHY)
    fresh.ask("POST", f"/v1/hosts/{host}/undrain", json=WHY)
    said = until(
        lambda: [
            e["data"] for e in fresh.get("/v1/events/recent?kind=mode")["items"] if e["data"]["by"] == "admin"
        ],
        wanted=lambda told: len(told) >= 5,
    )
    assert [(one["what"], one.get("mode"), one.get("host"), one.get("draining")) for one in said] == [
        ("pause", None, None, None),
        ("resume", None, None, None),
        ("mode", "observe", None, None),
        ("drain", None, host, [host]),
        ("undrain", None, host, []),
    ]
    assert said[0]["reason"] == "incident"


def test_a_calendar_that_names_nobody_is_told(quiet):
    host = quiet.get("/v1/hosts?limit=1")["items"][0]["name"]
    text = f"sat 02:00-04:00 UTC on {host}, host9999\nfri 18:00-20:00 UTC\n"
    put = quiet.ask(
        "PUT", "/v1/maintenance/calendars/x", content=text, headers={"Content-Type": "text/plain"}
    )
    assert put.json()["unknown"] == ["host9999"]
    assert quiet.get("/v1/maintenance/calendars")["items"][0]["unknown"] == ["host9999"]
    assert quiet.ask("DELETE", "/v1/maintenance/calendars/x").status_code == 204


def test_a_tick_that_comes_to_nothing_is_said_told_and_counted_until_the_next(fresh):
    def troubles():
        return [e["data"]["troubles"] for e in fresh.get("/v1/events/recent?kind=trouble")["items"]]

    fresh.service.fail("tick: nothing was begun: disk full")
    assert fresh.get("/v1/status")["troubles"] == ["tick: nothing was begun: disk full"]
    until(troubles)
    scraped = fresh.ask("GET", "/metrics").text
    assert 'foreshade_ticks_total{result="failed"} 1.0' in scraped
    assert "foreshade_troubles 1.0" in scraped
    fresh.tick()
    assert fresh.get("/v1/status")["troubles"] == []
    assert until(troubles, wanted=lambda told: len(told) == 2) == [["tick: nothing was begun: disk full"], []]


class _Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize("terminal", [True, False])
def test_a_token_is_shown_to_a_person_and_to_no_log(tmp_path, monkeypatch, terminal):
    said = ControlConfig.model_validate({"state_dir": str(tmp_path), "api": {"port": 0}})
    store = Store(tmp_path / "control.db", power_safe=False)
    service = ControlService(store, said.cluster)
    lease = Lease(store, said.cluster, length_s=30.0)
    heard = _Terminal() if terminal else io.StringIO()
    monkeypatch.setattr(sys, "stderr", heard)
    serve(said, service, lease, hint=" --config c.yaml")()
    serve(said, service, lease, hint=" --config c.yaml")()  # whoever starts it again has lost the first one
    lines = heard.getvalue().splitlines()
    if terminal:
        assert all(
            re.fullmatch(r"foreshade: http://127\.0\.0\.1:\d+/#token=foreshade_\S+", line) for line in lines
        )
    else:
        assert all(
            line.endswith("(with a token: foreshade token create NAME --config c.yaml)") for line in lines
        )
    tokens = StoreTokens(store)
    assert len(tokens.all()) == (2 if terminal else 0)
    tokens.add(mint("kim", Role.VIEWER, timedelta(days=1), datetime.now(UTC))[1])
    serve(said, service, lease)()
    assert "#token=" not in heard.getvalue().splitlines()[-1]
    store.close()


def test_a_plan_of_thousands_of_refused_actions_is_one_event_and_what_comes_after_is_told_at_once(fresh):
    kept = fresh.controller.journal
    refused = tuple(
        PlannedAction(Order(f"big-{k}", ActionKind.MIGRATE, vm="v", host="b", source="a")).to(
            ActionState.REFUSED, "budget"
        )
        for k in range(3000)
    )
    fresh.service.publish()
    kept.add(PlanRecord("big", 0, 0.0, Mode.AUTO, "rules", refused))
    kept.say("pause", {"paused": True, "reason": "after it"}, "kim")
    assert fresh.service.publish() == 2
    assert fresh.service.publish() == 0
    assert len(kept.events(0, 10_000, "big")) == 3001, "the journal has them all"
    brief = fresh.get("/v1/plans?limit=1&refused=false")["items"][0]
    assert (brief["id"], brief["refused"], brief["actions"]) == ("big", 3000, [])
    assert len(fresh.get("/v1/plans/big")["actions"]) == fresh.get("/v1/plans/big")["refused"] == 3000
    assert fresh.get("/v1/status")["plans_open"] == {"recommended": 2}


def test_a_plan_is_approved_once_by_whoever_holds_the_token(fresh):
    plan = fresh.get("/v1/plans?state=recommended")["items"][0]
    tag = fresh.ask("GET", f"/v1/plans/{plan['id']}").headers["etag"]
    path = f"/v1/plans/{plan['id']}/approve"
    dry = fresh.ask("POST", path, Role.OPERATOR, json={"dry_run": True})
    assert (dry.status_code, dry.json()["done"]) == (200, False)
    done = fresh.ask("POST", path, Role.OPERATOR, json=WHY, headers={"If-Match": tag})
    assert done.json()["plan"]["approved_by"] == "operator"
    assert fresh.ask("POST", path, Role.OPERATOR, json=WHY, headers={"If-Match": tag}).status_code == 412
    assert fresh.ask("POST", path, Role.OPERATOR, json=WHY).status_code == 409
    acts = [(e["action"], e["outcome"]) for e in fresh.get("/v1/audit")["items"]]
    assert acts == [("plan.approve", "taken"), ("plan.approve", "taken"), ("plan.approve", "failed")]
    assert fresh.get("/v1/audit/verify")["whole"]
    assert fresh.controller.serve() == 1


def test_a_key_makes_a_request_that_is_sent_twice_done_once(fresh):
    key = {"Idempotency-Key": "k-1"}
    first = fresh.ask("POST", "/v1/pause", Role.OPERATOR, json=WHY, headers=key)
    again = fresh.ask("POST", "/v1/pause", Role.OPERATOR, json=WHY, headers=key)
    assert (again.status_code, again.content) == (200, first.content)
    assert again.headers["idempotent-replayed"] == "true"
    other = fresh.ask("POST", "/v1/pause", Role.OPERATOR, json={"reason": "else"}, headers=key)
    assert other.status_code == 422
    assert fresh.ask("POST", "/v1/resume", Role.OPERATOR, json=WHY, headers=key).status_code == 422
    assert fresh.ask("POST", "/v1/pause", Role.ADMIN, json=WHY, headers=key).status_code == 200, (
        "keys have owners"
    )
    paused = [e for e in fresh.get("/v1/audit")["items"] if e["action"] == "pause"]
    assert [e["actor"] for e in paused] == ["operator", "admin"]


BAD = {
    "unknown field": ("POST", "/v1/pause", {"json": {"reason": "x", "force": True}}, 422, "/force"),
    "wrong type": ("POST", "/v1/pause", {"json": {"reason": 5}}, 422, "/reason"),
    "text for a truth": ("POST", "/v1/pause", {"json": {"dry_run": "yes"}}, 422, "/dry_run"),
    "no JSON": ("POST", "/v1/pause", {"content": b"{", "headers": {"Content-Type": "application/json"}}, 422, "JSON"),
    "a list": ("POST", "/v1/pause", {"json": [1]}, 422, ""),
    "lone surrogate": (
        "POST", "/v1/pause", {"content": b'{"reason": "\\ud800"}', "headers": {"Content-Type": "application/json"}},
        422, "/reason",
    ),
    "unknown mode": ("PUT", "/v1/mode", {"json": {"mode": "yolo"}}, 422, "observe"),
    "unknown filter": ("GET", "/v1/vms?hosts=x", {}, 422, "hosts"),
    "NaN": ("GET", "/v1/vms?min_contention=nan", {}, 422, "min_contention"),
    "foreign cursor": ("GET", "/v1/vms?cursor=AAAA", {}, 422, "cursor"),
    "no such plan": ("POST", "/v1/plans/p999/approve", {"json": {}}, 404, "p999"),
    "no such host": ("POST", "/v1/hosts/none/drain", {"json": {}}, 404, "none"),
    "no such path": ("GET", "/v1/nothing", {}, 404, ""),
    "another method": ("DELETE", "/v1/hosts", {}, 405, ""),
    "key with blanks": ("POST", "/v1/pause", {"json": {}, "headers": {"Idempotency-Key": "a b"}}, 422, "Idempotency"),
    "oversized body": ("POST", "/v1/pause", {"json": {"reason": "x" * 2_000_000}}, 413, "1048576"),
    "audit head": ("GET", "/v1/audit/verify?head=zz", {}, 422, "head"),
}  # fmt: skip


@pytest.mark.parametrize("what", BAD)
def test_bad_input_gets_a_precise_problem(quiet, what):
    method, path, kwargs, status, said = BAD[what]
    response = quiet.ask(method, path, **kwargs)
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    problem = response.json()
    assert (problem["status"], problem["instance"]) == (status, response.headers["x-request-id"])
    assert said in response.text


def test_a_body_without_a_length_is_cut_off_too(quiet):
    def pieces():
        for _ in range(40):
            yield b"x" * 50_000

    headers = {"Content-Type": "application/json"}
    assert quiet.ask("POST", "/v1/pause", content=pieces(), headers=headers).status_code == 413


def test_other_names_and_other_origins_are_refused(quiet):
    assert quiet.ask("GET", "/v1/status", headers={"Host": "evil.example"}).status_code == 421
    origin = {"Origin": "https://evil.example"}
    assert quiet.ask("POST", "/v1/pause", json={"dry_run": True}, headers=origin).status_code == 403
    own = {"Origin": str(quiet.http.base_url).rstrip("/")}
    assert quiet.ask("POST", "/v1/pause", json={"dry_run": True}, headers=own).status_code == 200


def test_tokens_are_made_listed_and_revoked_without_their_secret(fresh, caplog):
    caplog.set_level("DEBUG")
    body = {"name": "ci", "role": "operator", "lifetime": "1d", "scopes": ["plans"]}
    made = fresh.ask("POST", "/v1/tokens", json=body).json()
    headers = {"Authorization": f"Bearer {made['token']}"}
    assert fresh.http.get("/v1/plans", headers=headers).status_code == 200
    assert fresh.http.get("/v1/hosts", headers=headers).status_code == 403
    secret = made["token"].split("_", 2)[2]
    for path in ("tokens", "audit", "events/recent"):
        assert secret not in fresh.ask("GET", f"/v1/{path}").text
    assert fresh.ask("DELETE", f"/v1/tokens/{made['record']['id']}").json()["revoked"]
    assert fresh.http.get("/v1/plans", headers=headers).status_code == 401
    assert secret not in caplog.text


def test_expired_tokens_are_refused_without_saying_why(fresh):
    for text in (fresh.token(days=1), "foreshade_" + "0" * 16 + "_" + "x" * 43, "eyJhbGciOiJub25lIn0.e30."):
        response = fresh.http.get("/v1/status", headers={"Authorization": f"Bearer {text}"})
        assert response.status_code == 401
        assert response.headers["www-authenticate"].startswith("Bearer")
        assert text not in response.text


def test_a_token_of_some_scopes_cannot_make_one_of_more(fresh):
    text = fresh.token(Role.ADMIN, frozenset({Scope.TOKENS}))
    headers = {"Authorization": f"Bearer {text}"}
    body = {"name": "more", "role": "admin"}
    assert fresh.http.post("/v1/tokens", json=body, headers=headers).status_code == 403
    body["scopes"] = ["tokens"]
    assert fresh.http.post("/v1/tokens", json=body, headers=headers).status_code == 201


def test_callers_that_ask_too_often_are_told_when_to_come_back(tmp_path):
    rate = {"per_s": 0.001, "burst": 3, "failures_per_s": 0.001, "failures_burst": 2}
    with served(tmp_path, rate=rate) as one:
        found = [one.ask("GET", "/v1/whoami", Role.VIEWER) for _ in range(4)]
        assert [r.status_code for r in found] == [200, 200, 200, 429]
        assert int(found[-1].headers["retry-after"]) > 900
        assert one.ask("GET", "/v1/whoami", Role.OPERATOR).status_code == 200, "callers do not share"
        assert [one.http.get("/v1/whoami").status_code for _ in range(3)] == [401, 401, 429]


def test_rules_are_verified_before_they_are_kept_activated_and_rolled_back(fresh):
    bad = fresh.ask("PUT", "/v1/rules/mine", content=b"threshold: 0.1\nnonsense: 1\n")
    assert bad.status_code == 422
    assert "rules:2" in bad.json()["detail"]
    kept = fresh.ask("PUT", "/v1/rules/mine", content=b"threshold: 0.25\n")
    assert kept.status_code == 201
    assert kept.json()["about"]["threshold"] == 0.25
    assert fresh.ask("PUT", "/v1/rules/mine", content=b"threshold: 0.5\n").status_code == 409, "names stay"
    assert fresh.ask("POST", "/v1/rules/mine/activate", json={"dry_run": True}).json()["name"] == "mine"
    assert [a["name"] for a in fresh.get("/v1/rules")["items"] if a["active"]] == ["shipped"]
    assert fresh.ask("POST", "/v1/rules/mine/activate", json=WHY).json()["number"] == 1
    assert [a["name"] for a in fresh.get("/v1/rules")["items"] if a["active"]] == ["mine"]
    assert fresh.ask("POST", "/v1/rules/rollback", json=WHY).json()["name"] == "shipped"
    assert fresh.ask("POST", "/v1/rules/none/activate", json=WHY).status_code == 404
    assert [e["data"]["name"] for e in fresh.get("/v1/events/recent?kind=policy")["items"]] == [
        "mine",
        "shipped",
    ]


def zipped(**files):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name.replace("__", "/"), data)
    return out.getvalue()


def test_a_policy_that_does_not_verify_is_not_kept(fresh):
    good = {path.name: path.read_bytes() for path in SHIPPED_POLICY.iterdir() if path.is_file()}
    forged = {**good, "weights.npz": good["weights.npz"][::-1]}
    for data, why in (
        (b"no zip", "expected a zip"),
        (zipped(**{"..__evil": b"x"}), "plain file names"),
        (zipped(**{f"f{i}": b"" for i in range(20)}), "at most 16 files"),
        (zipped(bomb=bytes(80 << 20)), "at most 16 files of 64 MiB"),
        (zipped(**forged), "SHA-256"),
        (zipped(**{"manifest.json": b"{}"}), "format"),
    ):
        response = fresh.ask("PUT", "/v1/policies/mine", content=data)
        assert response.status_code == 422, response.text
        assert why in response.json()["detail"]
    assert fresh.get("/v1/policies")["total"] == 1
    assert fresh.ask("PUT", "/v1/policies/mine", content=zipped(**good)).status_code == 201
    assert fresh.ask("POST", "/v1/policies/mine/verify", Role.VIEWER).json()["verified"]
    assert fresh.ask("POST", "/v1/policies/mine/activate", json=WHY).status_code == 200


def test_a_store_that_is_gone_is_a_problem_and_what_is_in_memory_is_shown(fresh, tmp_path):
    fresh.ask("GET", "/v1/hosts")  # the token is known for a moment
    store = fresh.service.store
    engine, store.engine = store.engine, create_engine(f"sqlite:///{tmp_path}/gone/control.db")
    try:
        assert fresh.ask("GET", "/v1/hosts").status_code == 200
        response = fresh.ask("GET", "/v1/plans")
        assert (response.status_code, response.json()["title"]) == (503, "Not available now")
        assert fresh.ask("POST", "/v1/pause", json=WHY).status_code == 503
        assert fresh.http.get("/healthz").status_code == 200
    finally:
        store.engine = engine
    assert fresh.service.controls().paused is False


def test_metrics_want_a_token_and_are_well_formed(quiet):
    parser = pytest.importorskip("prometheus_client.parser")
    assert quiet.http.get("/metrics").status_code == 401
    text = quiet.ask("GET", "/metrics", Role.VIEWER).text
    families = {family.name: family for family in parser.text_string_to_metric_families(text)}
    assert all(name.startswith("foreshade_") for name in families)
    for name in (
        "ticks",
        "decisions",
        "validation_failures",
        "actions",
        "mode",
        "leader",
        "sample_age_seconds",
    ):
        assert f"foreshade_{name}" in families, name
    assert all(s.name.endswith("_total") for f in families.values() if f.type == "counter" for s in f.samples)


def test_the_page_loads_nothing_from_elsewhere(quiet):
    page = quiet.http.get("/")
    assert page.headers["content-type"].startswith("text/html")
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    for name in (
        "page.css",
        "page.js",
        "api.js",
        "dom.js",
        "heat.js",
        "plan.js",
        "charts.js",
        "vms.js",
        "icon.svg",
    ):
        asset = quiet.http.get(f"/assets/{name}")
        assert asset.status_code == 200
        assert "://" not in asset.text.replace("http://www.w3.org/2000/svg", "")
        assert not re.search(r"[\"'`]/(v1|assets)\b", asset.text + page.text), (
            "a proxy may serve it under a path"
        )
    assert quiet.http.get("/assets/..%2fserver.py").status_code == 404
    packed = quiet.http.get("/assets/plotly.min.js", headers={"Accept-Encoding": "gzip"})
    assert packed.headers["content-encoding"] == "gzip"


def test_what_is_put_in_force_decides_from_the_next_tick_on(fresh, tmp_path):
    minds = MindsInForce(ControlConfig(agent={"name": "rules"}), fresh.service.store)
    one = minds.make()
    assert minds.follow(one) is one
    fresh.ask("PUT", "/v1/rules/mine", content=b"threshold: 0.25\n")
    fresh.ask("POST", "/v1/rules/mine/activate", json=WHY)
    two = minds.follow(one)
    assert (two.rules.knobs.threshold, two.generation) == (0.25, -1)
    fresh.ask("POST", "/v1/rules/rollback", json=WHY)
    assert minds.follow(two).rules.knobs == one.rules.knobs


def test_rules_put_in_force_are_those_that_ham_starts_from(fresh):
    minds = MindsInForce(ControlConfig(agent={"name": "ham"}), fresh.service.store)
    shipped = minds.make().ham.knobs
    fresh.ask("PUT", "/v1/rules/mine", content=b"headroom: 1.8\n")
    fresh.ask("POST", "/v1/rules/mine/activate", json=WHY)
    mine = minds.make().ham.knobs
    assert (shipped.headroom, mine.headroom) == (1.4, 1.8)
    assert mine.options == shipped.options
