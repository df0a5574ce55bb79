import numpy as np
import pytest

from foreshade import _core
from foreshade.envs.packers import WindowKnobs
from tests.packer_world import tiny_world

PLAIN = WindowKnobs(ticks=4, prior_ticks=0.0, floor_sigma=(0.0,) * 5)


def test_mean_and_variance_are_those_of_the_last_samples():
    cpu = [1000.0, 3000.0, 2000.0, 6000.0, 4000.0, 1000.0, 500.0]
    world = tiny_world(1, [cpu])
    state = world.observe()
    window = PLAIN.window(len(state.vms.state), 300.0)
    for tick in range(len(cpu)):
        window.update(world.observe())
        seen = cpu[max(0, tick - 4) : tick]  # what the world plays in this tick is not seen yet
        if seen:
            assert window.mean[0, 0] == pytest.approx(np.mean(seen), rel=1e-5)
            assert window.mean[0, 1] == pytest.approx(4096.0, rel=1e-5)
        if len(seen) > 1:
            assert window.variance[0, 0] == pytest.approx(np.var(seen, ddof=1), rel=1e-4)
        world.advance()


def test_before_any_telemetry_the_prior_holds():
    state = tiny_world(1, [[1000.0]]).observe()
    window = WindowKnobs().window(len(state.vms.state), 300.0)
    window.update(state)
    assert window.mean[0, 0] == pytest.approx(8000.0 * WindowKnobs().prior_mean[0])
    assert window.variance[0, 0] == pytest.approx((8000.0 * WindowKnobs().prior_sigma[0]) ** 2)


def test_a_new_vm_is_taken_for_what_the_others_are():
    world = tiny_world(1, [[4000.0] * 4, [4000.0] * 4], arrival=[0, 3])
    window = WindowKnobs().window(len(world.observe().vms.state), 300.0)
    for _ in range(3):
        window.update(world.observe())
        world.advance()
    window.update(world.observe())
    assert window.mean[1, 0] == pytest.approx(4000.0)


def test_sigma_never_falls_below_its_floor():
    world = tiny_world(1, [[2000.0] * 6])
    window = WindowKnobs(ticks=4, floor_sigma=(0.05,) * 5).window(len(world.observe().vms.state), 300.0)
    for _ in range(5):
        world.advance()
        window.update(world.observe())
    assert window.variance[0, 0] >= (0.05 * 8000.0) ** 2 * 0.999


def test_the_newest_sample_counts_as_much_as_it_is_told():
    world = tiny_world(1, [[1000.0, 3000.0, 0.0]])
    knobs = WindowKnobs(ticks=4, last=0.5, prior_ticks=0.0)
    window = knobs.window(len(world.observe().vms.state), 300.0)
    for _ in range(2):
        world.advance()
        window.update(world.observe())
    assert window.mean[0, 0] == pytest.approx(0.5 * 2000.0 + 0.5 * 3000.0)


def test_a_window_without_ticks_is_refused():
    knobs = _core.WindowKnobs()
    knobs.ticks = 0
    with pytest.raises(ValueError, match="at least one tick"):
        _core.DemandWindow(knobs, 1, 300.0)
