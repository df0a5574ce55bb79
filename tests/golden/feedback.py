"""Outcomes that correct the rules: a VM that was made too small, and a move that was undone."""

from __future__ import annotations

from collections.abc import Iterator

from foreshade.agents.feedback import Feedback, FeedbackKnobs
from foreshade.agents.rules.rules import Rules
from foreshade.envs.candidates import PLACEMENT
from foreshade.envs.simulated import SimulatedWorld
from tests.golden import golden
from tests.golden._stage import App, play, workload
from tests.tiny_world import scenario


@golden("feedback")
def feedback() -> Iterator[str]:
    """A web server's memory is right-sized to what it used, and an hour later it wants more than that: its window
    ends with a VM too small, and the headroom goes up. What is reshaped later fits, and it comes down slowly."""
    load = workload([App([500.0])], 48)
    load.demand[:, 0, 1] = [1_000.0] * 6 + [1_390.0] * 10 + [2_000.0] * 32
    manager = Feedback(FeedbackKnobs(window_ticks=6, headroom_rate=0.1))
    knobs = PLACEMENT.model_copy(
        update={"plans": (), "preferred": ("right_size", "place"), "settle_ticks": 3, "peak_ticks": 6}
    )
    world = SimulatedWorld(scenario(1, actions=("reshape",)), load)

    def note(_: object) -> str:
        advice, said = manager.advice(), manager.outcomes().get("reshape", {})
        counts = f"{said.get('wrong', 0)} of {said.get('judged', 0)} too small"
        return f"headroom {advice.headroom:.3f}, {counts}" if advice is not None else ""

    yield from play(world, Rules(knobs, [manager]), 48, note)
