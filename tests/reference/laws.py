"""The laws that need no world: fair shares, curves, the split of a load."""

from __future__ import annotations

import math
from collections.abc import Sequence

from .state import MICRO, Vm


def fair_share(wants: Sequence[float], weights: Sequence[float], capacity: float) -> list[float]:
    """Weighted max–min fairness by filling: whoever wants less than the level allows is met and leaves."""
    if sum(wants) <= capacity:
        return list(wants)
    got = [0.0] * len(wants)
    left = capacity
    hungry = [i for i, want in enumerate(wants) if want > 0]
    while hungry:
        level = left / sum(weights[i] for i in hungry)
        content = [i for i in hungry if wants[i] <= level * weights[i]]
        if not content:
            for i in hungry:
                got[i] = level * weights[i]
            break
        for i in content:
            got[i] = wants[i]
            left -= wants[i]
        hungry = [i for i in hungry if i not in content]
    return got


def power_at(watts: Sequence[float], u: float) -> float:
    """Straight lines between the 11 points of SPECpower."""
    x = min(1.0, max(0.0, u)) * 10
    i = min(9, int(x))
    return watts[i] + (watts[i + 1] - watts[i]) * (x - i)


def late_share(cores: int, stretch: float, rho: float) -> float:
    """L(ρ), read from 1,025 points."""

    def exact(i: int) -> float:
        r = i / 1024
        return math.pow(r, math.sqrt(2 * (cores + 1)) - 1) * math.exp(-cores * (1 - r) * (stretch - 1))

    x = min(1.0, max(0.0, rho)) * 1024
    i = min(1023, int(x))
    return exact(i) + (exact(i + 1) - exact(i)) * (x - i)


def split(members: Sequence[Vm], offloadable: float) -> tuple[dict[int, float], bool]:
    """Each member's share of the application's demand, and whether nobody serves it."""
    serving = [vm for vm in members if vm.up and vm.weight > 0]
    micro = sum(vm.weight for vm in serving if vm.kind == MICRO)
    others = sum(vm.weight for vm in serving if vm.kind != MICRO)
    scale = 1.0
    if micro > 0 and micro > offloadable * (micro + others):
        scale = offloadable * others / ((1 - offloadable) * micro)
    total = others + scale * micro
    if total > 0:
        return {vm.id: vm.weight * (scale if vm.kind == MICRO else 1.0) / total for vm in serving}, False
    heirs = [vm for vm in members if vm.owns_load]
    weights = sum(vm.weight for vm in heirs)
    return {vm.id: vm.weight / weights if weights > 0 else 1 / len(heirs) for vm in heirs}, bool(heirs)
