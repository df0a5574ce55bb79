from __future__ import annotations

import numpy as np

from foreshade.envs.workloads.generator import generate


def test_the_same_seed_gives_the_same_bytes() -> None:
    one, two = generate("enterprise", vms="60", seed="5"), generate("enterprise", vms="60", seed="5")
    other = generate("enterprise", vms="60", seed="6")
    assert one.demand.tobytes() == two.demand.tobytes()
    assert one.gpu.tobytes() == two.gpu.tobytes()
    assert one.vms.name == two.vms.name
    assert one.demand.tobytes() != other.demand.tobytes()


def test_flat_demand_never_changes() -> None:
    workload = generate("flat", vms="40")
    np.testing.assert_array_equal(
        workload.demand, np.broadcast_to(workload.demand[:1], workload.demand.shape)
    )
