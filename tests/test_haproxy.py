"""HAProxy's runtime API: weights that keep their ratios, servers that come and go, a balancer that is not there."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from foreshade.adapters.haproxy import HaproxyTraffic
from foreshade.adapters.traffic import TrafficError
from tests.fake_haproxy import FakeHaproxy


@pytest.fixture
def fake(tmp_path: Path) -> Iterator[FakeHaproxy]:
    served = FakeHaproxy(tmp_path / "admin.sock")
    yield served
    if served.path.exists():
        served.close()


def traffic(fake: FakeHaproxy) -> HaproxyTraffic:
    return HaproxyTraffic(str(fake.path), timeout_s=30.0, remove_s=0.1)


def two(fake: FakeHaproxy) -> HaproxyTraffic:
    made = traffic(fake)
    for name in ("a", "b"):
        made.add("app", name, "10.0.0.1", 80)
    made.weigh("app", {"a": 1.0, "b": 1.0})
    return made


def test_new_server_gets_nothing_until_it_is_weighed(fake: FakeHaproxy) -> None:
    made = traffic(fake)
    made.add("app", "a", "10.0.0.1", 80)
    made.add("app", "a", "10.0.0.1", 80)
    assert [s for s in fake.said if s.startswith("add")] == [
        "add server app/a 10.0.0.1:80 check inter 500ms rise 1 fall 2 weight 0"
    ]
    assert fake.said[-2:] == ["enable health app/a", "enable server app/a"]
    server = made.servers("app")["a"]
    assert (server.weight, server.healthy, server.address, server.port) == (0.0, True, "10.0.0.1", 80)


@pytest.mark.parametrize(
    ("a", "b", "whole"),
    [(1.0, 1.0, (64, 64)), (1.0, 0.1, (64, 6)), (8.0, 1.0, (256, 32)), (1.0, 1e-6, (64, 1))],
)
def test_ratios_of_weights_are_kept_in_whole_numbers(
    fake: FakeHaproxy, a: float, b: float, whole: tuple[int, int]
) -> None:
    made = two(fake)
    made.weigh("app", {"a": a, "b": b})
    assert (fake.servers["a"]["weight"], fake.servers["b"]["weight"]) == whole
    assert [made.servers("app")[n].weight for n in "ab"] == pytest.approx([a, b])
    assert traffic(fake).servers("app")["a"].weight / 64 * 64 == pytest.approx(
        whole[0] / 64
    )  # after a restart


def test_who_gets_more_gets_it_before_the_other_loses(fake: FakeHaproxy) -> None:
    made = two(fake)
    made.weigh("app", {"b": 0.0})
    fake.said.clear()
    made.weigh("app", {"a": 0.0, "b": 1.0})
    assert fake.said == ["set weight app/b 64", "set weight app/a 0"]


def test_server_that_keeps_connections_is_cut_in_the_end(fake: FakeHaproxy) -> None:
    made = two(fake)
    fake.busy.add("a")
    made.drain("app", "a")
    assert made.servers("app")["a"].draining
    made.remove("app", "a")
    assert "shutdown sessions server app/a" in fake.said
    assert list(made.servers("app")) == ["b"]
    made.remove("app", "a")


def test_failing_check_is_seen(fake: FakeHaproxy) -> None:
    made = two(fake)
    fake.servers["a"]["check"] = "L4TOUT"
    assert [made.servers("app")[n].healthy for n in "ab"] == [False, True]


@pytest.mark.parametrize("name", ["a b", "a;quit", ""])
def test_name_that_could_be_another_command_is_refused(fake: FakeHaproxy, name: str) -> None:
    with pytest.raises(TrafficError, match="expected a name of letters"):
        traffic(fake).add("app", name, "10.0.0.1", 80)
    assert fake.said == []


def test_missing_backend_server_and_balancer_are_told_apart(fake: FakeHaproxy) -> None:
    made = two(fake)
    with pytest.raises(TrafficError, match="expected a backend 'shop', found none"):
        made.servers("shop")
    with pytest.raises(TrafficError, match="expected a server app/c, found none"):
        made.weigh("app", {"c": 1.0})
    fake.close()
    with pytest.raises(TrafficError, match="expected an answer to show, found"):
        made.servers("app")
