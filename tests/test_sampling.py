"""Random data centres: the same from a seed, within their ranges, and playable."""

from __future__ import annotations

import numpy as np
import pytest

from foreshade.envs.batch import Batch
from foreshade.envs.decision import Decision
from foreshade.envs.errors import InputError
from foreshade.envs.sampling import Sampling, sampled_worlds

SMALL = Sampling(hosts=(4, 9), electricity=("kr-industrial-tou",), mtbf_h=(100.0, 200.0))


def test_the_same_seed_draws_the_same_worlds_however_many() -> None:
    one, three = sampled_worlds(SMALL, 1, 5), sampled_worlds(SMALL, 3, 5)
    other = sampled_worlds(SMALL, 1, 6)
    assert one[0].scenario == three[0].scenario
    np.testing.assert_array_equal(one[0].workload.demand, three[0].workload.demand)
    assert one[0].scenario != other[0].scenario
    assert three[0].scenario != three[1].scenario


def test_what_is_drawn_lies_in_its_range() -> None:
    for world in sampled_worlds(SMALL, 4, 0):
        said = world.scenario
        assert 4 <= said.n_hosts <= 9
        assert 100.0 <= said.failures.mtbf_h <= 200.0
        assert 0.3 <= said.failures.recall <= 0.9
        assert said.actions == sampled_worlds(SMALL, 1, 0)[0].scenario.actions


def test_memory_fills_the_fleet_as_asked() -> None:
    for world in sampled_worlds(Sampling(hosts=(20, 20), fill=(0.6, 0.6)), 2, 0):
        there = world.workload.vms
        stay = (there.departure_tick - there.arrival_tick) / world.workload.n_ticks
        wanted = float((there.flavour[:, 1] * stay).sum())
        room = sum(g.machine.memory_mib * g.count * r.racks for r in world.scenario.fleet for g in r.hosts)
        assert wanted / room == pytest.approx(0.6, rel=0.25)


def test_demand_is_scaled_and_stays_below_what_is_provisioned() -> None:
    plain, more = (
        sampled_worlds(Sampling(hosts=(5, 5), demand=(factor, factor)), 1, 3)[0].workload
        for factor in (1.0, 1.4)
    )
    assert (more.demand >= plain.demand - 1e-3).all()
    assert 1.2 < more.demand[..., 0].sum() / plain.demand[..., 0].sum() <= 1.4


def test_a_batch_plays_the_worlds_in_turn() -> None:
    batch = Batch(
        sampled_worlds(SMALL, 2, 1), 4, Decision(episode_ticks=(3, 3), random_start=True, placed=True)
    )
    seen = batch.reset(0)
    assert np.isfinite(seen).all()
    while not batch.dones.all():
        seen = batch.step(np.zeros(4, int))
        assert np.isfinite(batch.rewards).all()
    assert [batch.finished(i)["terms"]["energy"] > 0 for i in range(4)] == [True] * 4


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"hosts": (5, 2)}, "hosts: expected 1 <= least <= most"),
        ({"schedulers": ()}, "schedulers: expected at least one, got none"),
        ({"fill": (0.0, 0.5)}, "fill: expected"),
    ],
)
def test_an_empty_range_is_refused_in_one_line(changes: dict, said: str) -> None:
    with pytest.raises(InputError, match=said):
        Sampling(**changes)
