"""The dynamic configuration adjuster: what each VM may use of CPU, memory, disk and network, inside declared bounds.

A VM gets more where its upper forecast, or what it is seen to use, comes near to what it may use, and less where both
what it used for a declared time and the upper forecast are far below. It never feeds on its own effect:

- what a VM uses at a cap says nothing about what it wants: such samples do not enter its record, and a VM that is at
  a cap which was lowered here gets back what it had;
- after a change a resource of a VM is left alone for a cooldown, and after it was raised it is not lowered before the
  record has seen a whole such time again;
- what is stale or missing takes nothing away.

It spawns nothing and shifts nothing: that is independent of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field, model_validator

from foreshade._core import ClusterState
from foreshade.agents.bars import Bars
from foreshade.agents.managers.manager import ManagerKnobs, Offer
from foreshade.agents.managers.need import Share
from foreshade.agents.managers.room import Room
from foreshade.envs.model.action import ActionKind, five, reshape
from foreshade.envs.model.state import Resource, VmKind, VmState
from foreshade.envs.site import Site

F32 = npt.NDArray[np.float32]
Bools = npt.NDArray[np.bool_]
Adjusted = Literal["cpu", "memory", "disk", "network"]
Bound = Annotated[float, Field(gt=0)]

_NAMES: tuple[Adjusted, ...] = ("cpu", "memory", "disk", "network")
_UNITS = ("MHz", "MiB", "MiB/s", "Mbit/s")
_AT_CAP = 0.95  # use over the allocation from which on what is wanted is hidden


class AdjusterKnobs(ManagerKnobs):
    """Of the adjuster; bounds are over the flavour, in the order CPU, memory, disk, network."""

    trigger: Literal["forecast", "usage"] = "forecast"
    resources: tuple[Adjusted, ...] = ("cpu", "disk", "network")  # memory is the rules' own (`right_size`)
    shrinks: tuple[Adjusted, ...] = ("cpu",)  # those that may be lowered: of the others room is seldom scarce
    level: Annotated[float, Field(ge=0.5, lt=1)] = 0.9  # of the forecast
    floor: tuple[Bound, Bound, Bound, Bound] = (0.25, 0.25, 0.25, 0.25)
    ceiling: tuple[Bound, Bound, Bound, Bound] = (2.0, 1.0, 2.0, 2.0)
    grow_at: Share = 0.9  # of the allocation, that the upper forecast or use must exceed
    target: Share = 0.7  # share of the allocation that the upper forecast is to be
    shrink_at: Share = 0.35  # of the allocation, that record and upper forecast must both be below
    quiet_ticks: Annotated[int, Field(ge=1)] = (
        36  # for which they must have been, since the VM's last change too
    )
    cooldown_ticks: Annotated[int, Field(ge=1)] = 6
    forget: Annotated[float, Field(gt=0, le=1)] = 0.005  # of the record's peak a tick

    @model_validator(mode="after")
    def _ordered(self) -> AdjusterKnobs:
        for name, low, high in zip(_NAMES, self.floor, self.ceiling, strict=True):
            if low > high:
                raise ValueError(f"expected floor <= ceiling of {name}, found {low:g} > {high:g}")
        if not self.shrink_at < self.target < self.grow_at:
            raise ValueError(
                f"expected shrink_at < target < grow_at, found {self.shrink_at:g}, {self.target:g}, {self.grow_at:g}"
            )
        return self


class Adjuster:
    """See the module; a ``Manager``."""

    name = "adjuster"

    def __init__(self, knobs: AdjusterKnobs | None = None) -> None:
        self.knobs = knobs or AdjusterKnobs()

    def reset(self, site: Site) -> None:
        """Forget everything; a run on ``site`` begins."""
        self._site = site
        self._room = Room(site)
        self._birth = np.zeros(0, np.uint32)

    def offers(self, state: ClusterState, _bars: Bars, /) -> Sequence[Offer]:
        """One change of a VM each, all resources of it together."""
        if ActionKind.RESHAPE not in self._site.capabilities:
            return ()
        self._room.look(state)
        self._learn(state)
        upper = self._upper(state)
        vms, knobs = state.vms, self.knobs
        idle = (vms.kind == VmKind.PRODUCTION) & (vms.state == VmState.RUNNING) & (vms.destination < 0)
        fresh = (vms.age_s < self._site.tick_s) & (vms.host >= 0)
        now, flavour = vms.allocation[:, :4], vms.flavour[:, :4]
        may = np.array([name in knobs.resources for name in _NAMES])
        lowers = np.array([name in knobs.shrinks for name in _NAMES])
        calm = state.tick - self._changed >= knobs.cooldown_ticks
        ready = (idle & fresh)[:, None] & may & calm & (flavour > 0.0)
        at_cap = vms.usage[:, :4] >= _AT_CAP * now
        expects = np.maximum(upper, vms.demand[:, :4])
        grows = ready & ((expects > knobs.grow_at * now) | at_cap)
        # Capped by our own hand: what it had before is what it gets back, at least.
        least = np.where(at_cap & (self._before > now), self._before, np.where(at_cap, 1.5 * now, 0.0))
        most = np.array(knobs.ceiling, np.float32) * flavour
        if self._site.guest_cpu is not None:
            most[:, 0] = np.minimum(most[:, 0], self._site.guest_cpu * flavour[:, 0])
        larger = np.clip(np.maximum(expects / knobs.target, least), now, np.maximum(most, now))
        quiet = (self._quiet >= knobs.quiet_ticks) & (state.tick - self._changed >= knobs.quiet_ticks)
        high = np.maximum(self._peak, upper)
        shrinks = ready & lowers & quiet & (high < knobs.shrink_at * now) & np.isfinite(upper)
        smaller = np.clip(high / knobs.target, np.array(knobs.floor, np.float32) * flavour, now)
        then = np.where(grows, larger, np.where(shrinks, smaller, now))
        change = np.abs(then - now) > 0.05 * np.maximum(flavour, 1e-6)
        offers = []
        for vm in np.flatnonzero(change.any(axis=1)).tolist():
            offer = self._offer(state, vm, np.where(change[vm], then[vm], now[vm]), expects[vm])
            if offer is not None:
                offers.append(offer)
        return offers

    def taken(self, offer: Offer) -> None:
        """The cooldown of what was changed begins."""
        vm, wanted = offer.vm, offer.actions[0].allocation
        if wanted is None:
            return
        now = self._now[vm]
        for r in range(4):
            if abs(wanted[r] - now[r]) <= 1e-3 * max(now[r], 1.0):
                continue
            self._changed[vm, r] = self._tick
            self._quiet[vm, r] = 0
            self._before[vm, r] = max(self._before[vm, r], now[r]) if wanted[r] < now[r] else wanted[r]

    def _learn(self, state: ClusterState) -> None:
        """Peaks of what VMs used below their caps, and for how long they used little."""
        vms, knobs = state.vms, self.knobs
        n = len(vms.state)
        if len(self._birth) != n:
            self._birth = np.array(vms.birth)
            self._peak = np.zeros((n, 4), np.float32)
            self._before = np.zeros((n, 4), np.float32)  # allocation before it was lowered here
            self._quiet = np.zeros((n, 4), np.int64)  # ticks
            self._changed = np.full((n, 4), -(10**6), np.int64)  # tick of the last change
        new = (vms.birth != self._birth) | (vms.state == VmState.ABSENT)
        self._peak[new] = self._before[new] = 0.0
        self._quiet[new] = 0
        self._changed[new] = state.tick - knobs.cooldown_ticks
        self._birth = np.array(vms.birth)
        seen = (vms.age_s < self._site.tick_s) & (vms.state == VmState.RUNNING)
        used, now = vms.demand[:, :4], vms.allocation[:, :4]
        free = seen[:, None] & (vms.usage[:, :4] < _AT_CAP * now)
        faded = self._peak * (1.0 - knobs.forget)
        self._peak = np.where(free, np.maximum(used, faded), self._peak).astype(np.float32)
        low = free & (used < knobs.shrink_at * now)
        self._quiet = np.where(seen[:, None], np.where(low, self._quiet + 1, 0), self._quiet)
        self._tick, self._now = state.tick, np.array(now)

    def _upper(self, state: ClusterState) -> F32:
        """(n_vms, 4) the upper forecast of the hour by VM; NaN where there is none, 0 where use alone counts."""
        vms, said = state.vms, state.forecasts.quantiles
        out = np.zeros((len(vms.state), 4), np.float32)
        if self.knobs.trigger == "usage":
            return out
        if said.size == 0:
            return np.full_like(out, np.nan)
        near = [k for k, h in enumerate(state.forecasts.horizons) if h * self._site.tick_s <= 3600.0]
        level = int(np.argmin(np.abs(np.asarray(state.forecasts.levels) - self.knobs.level)))
        rows = said[:, :, near, level].max(axis=2)
        known = state.forecasts.series >= 0
        series = np.where(known, state.forecasts.series, 0)
        share = np.repeat(state.forecasts.share[:, None], 4, axis=1)
        share[:, Resource.MEMORY] = state.forecasts.memory_share
        upper: F32 = np.where(known[:, None], rows[series] * share, np.nan).astype(np.float32)
        return upper

    def _offer(self, state: ClusterState, vm: int, then: F32, expects: F32) -> Offer | None:
        vms = state.vms
        now = five(vms.allocation[vm].tolist())
        host = int(vms.host[vm])
        wanted = five([*then.tolist(), now[4]])
        if not self._room.grows(host, now, wanted):
            wanted = five([min(a, b) for a, b in zip(wanted, now, strict=True)])
            if wanted == now:
                return None
        self._room.change(host, now, wanted)
        tick_h = self._site.tick_s / 3600.0
        prices = self._site.economy.unmet_usd_h
        credit = float(vms.credit[vm])
        gain, parts = 0.0, []
        for r in range(4):
            if wanted[r] == now[r]:
                continue
            missed = max(0.0, float(expects[r]) - now[r]) + (
                0.15 * now[r] if expects[r] >= _AT_CAP * now[r] else 0.0
            )
            gain += (
                missed * prices[r] * credit * self.knobs.cooldown_ticks * tick_h
                if wanted[r] > now[r]
                else 0.0
            )
            parts.append(f"{_NAMES[r]} {now[r]:.0f} to {wanted[r]:.0f} {_UNITS[r]}")
        saved = self._room.usd_h(host, now) - self._room.usd_h(host, wanted)
        shrinks = all(a <= b for a, b in zip(wanted, now, strict=True))
        return Offer(
            "shrink" if shrinks else "grow",
            (reshape(vm, wanted),),
            f"vm {vm}: {', '.join(parts)}",
            vm=vm,
            host=host,
            source=host,
            performance=gain,
            utilisation=saved * self.knobs.quiet_ticks * tick_h,
        )
