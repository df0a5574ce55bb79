"""The typed client and the command line against a served controller."""

import json

import pytest

pytest.importorskip("fastapi", reason="fastapi IS MISSING: the API is not tested")

from typer.testing import CliRunner

from foreshade.adapters.app.cli import app
from foreshade.adapters.auth.role import Role
from foreshade.adapters.client import Client, token_from
from foreshade.adapters.control_models import HostRecord
from foreshade.agents.plan import Mode
from foreshade.envs.errors import InputError, PlanError, WorldError
from tests.api_surface import served


@pytest.fixture(scope="module")
def one(tmp_path_factory):
    with served(tmp_path_factory.mktemp("client")) as found:
        yield found


@pytest.fixture
def client(one):
    with Client(str(one.http.base_url), one.token(Role.ADMIN)) as found:
        yield found


def test_the_client_answers_as_the_service_does(one, client):
    assert client.plans() == one.service.plans()
    plan = client.plans(1)[0]
    assert client.plan(plan.id) == one.service.plan(plan.id)
    assert client.explain(plan.id) == one.service.explain(plan.id)
    assert client.forecasts() == one.service.forecasts()
    assert client.host_database() == one.service.host_database()
    assert client.status().model_copy(update={"running": False}) == one.service.status()
    assert [vm.name for vm in client.vms(state="running")] == [f"vm{i}" for i in range(8)]
    assert {host.rented for host in client.hosts(rented=True)} == {True}
    assert client.simulate(plan.id, 2).ticks == 2


def test_verbs_go_through_under_the_name_of_the_token(one, client):
    assert client.set_mode(Mode.OBSERVE, dry_run=True).done is False
    client.pause(reason="a look")
    assert one.service.controls().paused_by == "admin"
    client.resume()
    client.drain("host0001")
    assert one.service.controls().draining == {"host0001"}
    client.drain("host0001", undo=True)


def test_errors_are_ours_and_of_one_line(one, client):
    with pytest.raises(PlanError, match="p999"):
        client.plan("p999")
    with (
        pytest.raises(InputError, match="Not allowed"),
        Client(str(one.http.base_url), one.token(Role.VIEWER)) as low,
    ):
        low.set_mode(Mode.AUTO)
    with pytest.raises(WorldError, match="expected an answer"), Client("http://127.0.0.1:9", "x") as gone:
        gone.status()
    with pytest.raises(InputError, match="FORESHADE_TOKEN"):
        token_from({})
    for text in ("", "hush\nhush", "hüsh", "two words"):
        with pytest.raises(InputError, match="token: expected one line of ASCII") as raised:
            Client(str(one.http.base_url), text)
        assert "sh" not in str(raised.value)


def test_the_stream_brings_what_happens(one, client):
    stream = client.events(["mode"], last_id="before-0")
    client.pause(reason="for the stream")
    for event in stream:
        if event.data.get("reason") == "for the stream":
            break
    client.resume()


def test_the_command_line_uses_it_where_it_is_given_an_address(one, monkeypatch):
    monkeypatch.setenv("FORESHADE_URL", str(one.http.base_url))
    monkeypatch.setenv("FORESHADE_TOKEN", one.token(Role.OPERATOR))
    run = CliRunner()
    said = json.loads(run.invoke(app, ["status", "--json"], catch_exceptions=False).stdout)
    assert said["cluster"] == "tiny"
    rows = json.loads(run.invoke(app, ["status", "--hosts", "--json"], catch_exceptions=False).stdout)[
        "hosts"
    ]
    assert [HostRecord.model_validate(row) for row in rows] == one.service.host_database()
    assert rows[0]["name"] == "host0000"
    assert 0.0 < rows[0]["mean_cpu"] <= rows[0]["peak_cpu"] < 1.0  # of what was measured
    plan = json.loads(run.invoke(app, ["plan", "--json", "--limit", "1"], catch_exceptions=False).stdout)[
        "plans"
    ][0]
    assert run.invoke(app, ["approve", plan["id"], "--dry-run"], catch_exceptions=False).stdout.startswith(
        "dry run"
    )
    with pytest.raises(InputError, match="Not allowed"):
        run.invoke(app, ["mode", "auto"], catch_exceptions=False)


def test_tokens_and_audit_are_asked_of_an_address_too_and_strangers_write_no_lines(one, monkeypatch):
    monkeypatch.setenv("FORESHADE_URL", str(one.http.base_url))
    monkeypatch.setenv("FORESHADE_TOKEN", one.token(Role.ADMIN))

    def said(*words):
        return CliRunner().invoke(app, words, catch_exceptions=False).stdout

    made = json.loads(said("token", "create", "bob", "--role", "viewer", "--scope", "events", "--json"))
    row = next(t for t in json.loads(said("token", "list", "--json"))["tokens"] if t["id"] == made["id"])
    assert (row["name"], row["role"], row["scopes"], row["state"]) == ("bob", "viewer", ["events"], "valid")
    assert made["token"] not in said("token", "list")
    assert json.loads(said("token", "revoke", made["id"], "--json")) == {"id": made["id"], "state": "revoked"}
    assert f"{made['id']}  revoked" in said("token", "list")
    evil = "/v1/hosts/x%0A%20%20%20%20%201%20forged%1B%5B31m"
    assert one.http.get(evil, headers={"Authorization": "Bearer foreshade_0"}).status_code == 401
    one.surface.context.audit.close()  # what was refused is written later
    lines = said("audit", "show", "--last", "3").splitlines()
    assert [line.split()[3:6] for line in lines[:2]] == [
        ["admin", "(admin)", "token.create"],
        ["admin", "(admin)", "token.revoke"],
    ]
    assert lines[2].endswith(r"denied  somebody access GET /v1/hosts/x     1 forged\x1b[31m")
    assert len(lines) == 3
    assert said("audit", "verify").startswith("whole: ")
