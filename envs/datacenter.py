"""A data centre as a Gymnasium environment: one decision is one candidate chosen."""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import numpy.typing as npt
from gymnasium import spaces

from foreshade import _core
from foreshade.envs.decision import Decision
from foreshade.envs.errors import ActionError, InputError
from foreshade.envs.features import Schema
from foreshade.envs.model.action import Action, ActionKind, Plan, five
from foreshade.envs.native_schema import native_schema
from foreshade.envs.render import picture, text
from foreshade.envs.simulated import SimulatedWorld
from foreshade.envs.site import Site, native_site, site_of
from foreshade.envs.stock_world import simulated_world
from foreshade.envs.world import ReplayableWorld, World

F32 = npt.NDArray[np.float32]
Observation = dict[str, F32]

COST_TERMS = tuple(_core.cost_terms())


def observation_space(schema: Schema) -> spaces.Dict:
    """``context`` (G,), ``candidates`` (K, F), ``mask`` (K,), in that order, with the schema's bounds."""
    low, high = ([getattr(c, end) for c in schema.context] for end in ("low", "high"))
    row_low, row_high = ([getattr(c, end) for c in schema.candidate] for end in ("low", "high"))
    f32 = np.float32
    return spaces.Dict(
        OrderedDict(  # a plain dict would be sorted, and the flattened form have another order
            context=spaces.Box(np.array(low, f32), np.array(high, f32)),
            candidates=spaces.Box(
                np.tile(np.array(row_low, f32), (schema.k, 1)),
                np.tile(np.array(row_high, f32), (schema.k, 1)),
            ),
            mask=spaces.Box(0.0, 1.0, (schema.k,), f32),
        )
    )


class DataCenterEnv(gymnasium.Env[Observation, np.int64]):
    """Who runs where, how large, and which hosts are on: decided candidate by candidate, paid tick by tick.

    ``gymnasium.make("foreshade/DataCenter-v0", scenario="enterprise")``

    - observation: Dict, float32; every column in docs/environment.md.
        - ``context`` (G,): time, prices, load, and what is left of this tick.
        - ``candidates`` (K, F): what could be done now, a row each; row 0 is ``wait``, unused rows are 0.
        - ``mask`` (K,): 1 where the candidate can be chosen.
    - action: Discrete(K), the row chosen. Its effect is booked at once, so the next rows see it. ``wait``,
      and the last decision of a tick, carries the tick's plan out and lets the world go on by one tick. A
      masked row acts as ``wait`` and sets ``info["invalid_action"]``.
    - reward: 0 between the decisions of a tick; across a tick minus its cost in USD, at this episode's
      prices, over what the idle power of the whole fleet costs in a tick. ``shaping_h`` adds the change of a
      potential.
    - discount: ``info["discount"]``, 1 between the decisions of a tick and ``decision.discount`` across it.
    - termination: never; a data centre does not end.
    - truncation: at the episode's length, or where the workload ends. A live world that is given no length
      goes on.
    - reset: ``seed`` starts a series of episodes of which each follows from that seed and its number;
      without one the series goes on. ``options={"start_tick": n}`` begins at tick n of the workload.
    - info: ``terms`` (USD by term of the tick just played, at the scenario's prices; empty within a tick),
      ``invalid_action``, ``discount``, ``plan`` (the actions carried out) and ``refused`` (what the world
      said to those that it did not take).

    Raises:
        InputError: there is no such scenario or workload, ``render_mode`` is unknown, a world that is not
            simulated comes without its site, or ``reset`` is given what it does not know.
        ActionError: ``step`` before ``reset`` or after the episode's end, or with what is no row.

    """

    metadata = {"render_modes": ["ansi", "rgb_array", "human"], "render_fps": 4}  # noqa: RUF012

    def __init__(
        self,
        scenario: str | Path = "enterprise",
        *,
        variant: str = "",
        workload: str | None = None,
        world: World | None = None,
        site: Site | None = None,
        decision: Decision | None = None,
        render_mode: str | None = None,
    ) -> None:
        """Build the world, or take the one given.

        Args:
            scenario: shipped scenario's name or a YAML file; ignored where a world is given.
            variant: of the scenario.
            workload: spec of another workload than the scenario's own.
            world: a world to decide for, simulated or live.
            site: what is known of that world; of a simulated one it is found out.
            decision: settings of candidates and episodes.
            render_mode: ``ansi``, ``rgb_array`` or ``human``.

        """
        if render_mode is not None and render_mode not in self.metadata["render_modes"]:
            raise InputError(f"render_mode: expected ansi, rgb_array or human, got {render_mode!r}")
        self.world: World = simulated_world(scenario, variant, workload) if world is None else world
        if site is None:
            if not isinstance(self.world, SimulatedWorld):
                raise InputError("environment: expected a site with a world that is not simulated, got none")
            site = site_of(self.world, 0)
        self.decision = decision or Decision()
        self.render_mode = render_mode
        self.schema = native_schema(self.decision.k)
        self.observation_space: spaces.Space[Any] = observation_space(self.schema)
        self.action_space = spaces.Discrete(self.decision.k)
        self._site = native_site(site)
        self._proposer = _core.Proposer(self._site, self.decision.candidates.native())
        self._episode = self.decision.episode_knobs()
        self._flat = np.zeros(self.schema.size, np.float32)
        self._seed: int | None = None
        self._number = 0
        self._factors = (1.0, 1.0, 1.0, 1.0)
        self._end: int | None = None
        self._unit_usd = 0.0
        self._running = False
        self._last_plan: tuple[Action, ...] = ()
        self._window: Any = None

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Begin an episode.

        Args:
            seed: of this episode and of those that follow; None = the next of those.
            options: ``start_tick``, where the world can be replayed.

        Raises:
            InputError: another option, or no tick of the world.

        """
        super().reset(seed=seed)
        if seed is not None or self._seed is None:
            self._seed = int(self.np_random.integers(2**31)) if seed is None else seed
            self._number = 0
        else:
            self._number += 1
        drawn = _core.episode_seed(self._seed, self._number)
        said = dict(options or {})
        first = said.pop("start_tick", None)
        if said:
            raise InputError(f"reset: options: expected start_tick, got {min(said)!r}")
        if isinstance(self.world, ReplayableWorld):
            self._factors, start, self._end = _core.draw_episode(self._episode, self.world.n_ticks, drawn)
            if first is not None:
                whole = isinstance(first, int | np.integer) and not isinstance(first, bool)
                if not whole or not 0 <= first < self.world.n_ticks:
                    raise InputError(
                        f"reset: start_tick: expected a whole tick from 0 to {self.world.n_ticks - 1}, got {first!r}"
                    )
                first = int(first)
                start, self._end = first, min(self.world.n_ticks, first + self._end - start)
            self.world.reset(drawn, start)
            if self.decision.placed:
                self.world.schedule()
        elif first is not None:
            raise InputError("reset: start_tick: expected a world that can be replayed, got a live one")
        self._proposer.reset(self._factors)
        self._last_plan = ()
        self._running = True
        self._look()
        if self._end is None and self.decision.episode_ticks is not None:
            self._end = self._state.tick + self.decision.episode_ticks[1]
        self._unit_usd = _core.reward_unit_usd(self._site, self._state)
        if self.render_mode == "human":
            self.render()
        return self._observation(), self._info()

    def step(self, action: np.int64 | int) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """Choose a candidate."""
        if not self._running:
            raise ActionError("step: expected a running episode, got none: call reset first")
        if not self.action_space.contains(action):
            raise ActionError(f"step: expected a row from 0 to {self.decision.k - 1}, got {action!r}")
        index = int(action)
        shaping_h = self.decision.shaping_h
        before = self._proposer.potential(shaping_h, self._unit_usd) if shaping_h > 0.0 else 0.0
        invalid = not self._proposer.possible(index)
        if index != 0 and not invalid:
            self._proposer.choose(index)
        reward, truncated, info = 0.0, False, self._info()
        if index == 0 or invalid or self._proposer.decisions_left == 0:
            reward, truncated = self._advance(info)
        if shaping_h > 0.0:
            after = self._proposer.potential(shaping_h, self._unit_usd)
            reward = _core.shaped(reward, info["discount"], before, after)
        info["invalid_action"] = invalid
        self._running = not truncated
        if self.render_mode == "human":
            self.render()
        return self._observation(), reward, False, truncated, info

    def action_masks(self) -> npt.NDArray[np.bool_]:
        """(K,) whether each candidate can be chosen, as sb3-contrib's ``MaskablePPO`` asks for it."""
        mask: npt.NDArray[np.bool_] = self._flat[-self.decision.k :] > 0.0
        return mask

    @property
    def preferred(self) -> int:
        """The rules' choice."""
        return self._proposer.preferred

    def describe(self, index: int) -> _core.CandidateDict:
        """Kind, reason, score terms and preference of a candidate."""
        return self._proposer.describe(index)

    def render(self) -> Any:
        """Racks, hosts, VMs, load and moves: text, a picture (height, width, 3) uint8, or a window."""
        if not self._running and self._unit_usd == 0.0:
            raise ActionError("render: expected a running episode, got none: call reset first")
        if self.render_mode is None:
            gymnasium.logger.warn("render: the environment was made without a render_mode")
            return None
        if self.render_mode == "ansi":
            return text(self._state, self._last_plan)
        frame = picture(self._state, self._last_plan)
        if self.render_mode == "rgb_array":
            return frame
        from foreshade.envs.render_window import Window  # noqa: PLC0415  an optional library

        if self._window is None:
            self._window = Window(self.metadata["render_fps"])
        self._window.show(frame)
        return None

    def close(self) -> None:
        """Close the window, if there is one."""
        if self._window is not None:
            self._window.close()
            self._window = None

    def _look(self) -> None:
        self._state = self.world.observe()
        self._proposer.observe(self._state)

    def _advance(self, info: dict[str, Any]) -> tuple[float, bool]:
        plan = tuple(
            Action(ActionKind(kind), vm, host, app, rack, value, value2, five(allocation))
            for kind, vm, host, app, rack, value, value2, allocation in self._proposer.plan()
        )
        outcomes = self.world.execute(Plan(self._state.tick, plan))
        terms = dict(self.world.advance())
        info["plan"] = self._last_plan = plan
        info["refused"] = tuple(outcome.error for outcome in outcomes if not outcome.accepted)
        info["terms"] = terms
        info["discount"] = self.decision.discount
        reward = _core.tick_reward(
            [terms.get(term, 0.0) for term in COST_TERMS], self._factors, self._unit_usd
        )
        self._look()
        truncated = self.world.done or (self._end is not None and self._state.tick >= self._end)
        return reward, truncated

    def _observation(self) -> Observation:
        self._proposer.write(self._flat)
        context, candidates, mask = self.schema.split(self._flat.copy())
        return {"context": context, "candidates": candidates, "mask": mask}

    def _info(self) -> dict[str, Any]:
        return {"terms": {}, "invalid_action": False, "discount": 1.0, "plan": (), "refused": ()}
