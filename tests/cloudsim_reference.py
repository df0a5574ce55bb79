"""CloudSim's optimisation written plainly from the rules, to hold the native one's shortcuts against.

Sums, histories and powers are computed anew wherever they are asked for, from the lists and histories that
the caller has collected.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

MIPS = (2500.0, 2000.0, 1000.0, 500.0)
RAM_MB = (870, 1740, 1740, 613)
PE = (1860.0, 2660.0)
CAPACITY = (3720.0, 5320.0)
WATTS = (
    (86, 89.4, 92.6, 96, 99.5, 102, 106, 108, 112, 114, 117),
    (93.7, 97, 101, 105, 110, 116, 121, 125, 129, 133, 135),
)


def power(model: int, u: float) -> float:
    p = WATTS[model]
    if math.fmod(u, 0.1) == 0:
        return p[int(u * 10)]
    a, b = math.floor(u * 10), math.ceil(u * 10)
    return p[a] + ((p[b] - p[a]) / 10) * (u - a / 10.0) * 100


@dataclass
class Reference:
    """One control step: requests in MIPS, newest-first utilisation histories, and the lists of the hosts."""

    policy: str
    parameter: float
    kind: list[int]  # type of each VM
    request: list[float]
    history: list[list[float]]
    lists: list[list[int]]  # VMs of each host, in order of arrival

    def __post_init__(self) -> None:
        self.lists = [list(vms) for vms in self.lists]
        self.frozen = [self.used(h) / CAPACITY[h % 2] for h in range(len(self.lists))]
        self.frozen = [1.0 if 1 < u < 1.01 else u for u in self.frozen]

    def shares(self, h: int) -> tuple[float, float]:
        """What the VMs get, and what is left, in MIPS."""
        needs = [min(self.request[vm], PE[h % 2]) for vm in self.lists[h]]
        left = CAPACITY[h % 2]
        total = 0.0
        for need in needs:
            left -= need
            total += need
        if left >= 0:
            return total, left
        k = CAPACITY[h % 2] / total
        got = 0.0
        for need in needs:
            got += math.floor(need * k)
        return got, 0.0

    def used(self, h: int) -> float:
        return self.shares(h)[0]

    def overloaded(self, h: int, vms: list[int]) -> bool:
        capacity = CAPACITY[h % 2]
        requested = 0.0
        for vm in vms:
            requested += self.request[vm]
        utilisation = requested / capacity
        if self.policy == "thr":
            return utilisation > self.parameter
        sums = [0.0] * max((len(self.history[vm]) for vm in vms), default=1)
        for vm in vms:
            for j, u in enumerate(self.history[vm]):
                sums[j] += u * MIPS[self.kind[vm]] / capacity
        length = 1 + max((j for j, value in enumerate(sums) if value != 0), default=0)
        if length < (10 if self.policy == "lr" else 12):
            return utilisation > 0.7
        if self.policy == "lr":
            return self.parameter * line_ahead(sums[:10][::-1]) >= 1
        spread = iqr(sums[:length]) if self.policy == "iqr" else mad(sums[:length])
        return utilisation > 1 - self.parameter * spread

    def find(self, vm: int, excluded: set[int]) -> int | None:
        best, least = None, math.inf
        for h, listed in enumerate(self.lists):
            used, left = self.shares(h)
            if h in excluded or PE[h % 2] < self.request[vm] or left < self.request[vm]:
                continue
            if used != 0 and self.overloaded(h, [*listed, vm]):
                continue
            after = power(h % 2, (used + self.request[vm]) / CAPACITY[h % 2])
            rise = after - power(h % 2, self.frozen[h])
            if rise < least:
                best, least = h, rise
        return best

    def moves(self) -> list[tuple[int, int]]:
        hosts = range(len(self.lists))
        busy = {h for h in hosts if self.lists[h] and self.overloaded(h, self.lists[h])}
        candidates = []
        for h in sorted(busy):
            while self.lists[h] and self.overloaded(h, self.lists[h]):
                vm = min(self.lists[h], key=lambda v: RAM_MB[self.kind[v]])
                self.lists[h].remove(vm)
                candidates.append(vm)
        out = []
        for vm in sorted(candidates, key=lambda v: -self.request[v]):
            h = self.find(vm, busy)
            if h is not None:
                self.lists[h].append(vm)
                out.append((vm, h))
        no_target = busy | {h for h in hosts if self.frozen[h] == 0}
        no_drain = set(no_target)
        while True:
            open_hosts = [h for h in hosts if h not in no_drain and 0 < self.frozen[h] < 1]
            if not open_hosts:
                return out
            source = min(open_hosts, key=lambda h: self.frozen[h])
            no_target.add(source)
            no_drain.add(source)
            placed: list[tuple[int, int]] = []
            for vm in sorted(self.lists[source], key=lambda v: -self.request[v]):
                h = self.find(vm, no_target)
                if h is None:
                    for undone, target in placed:
                        self.lists[target].remove(undone)
                    break
                self.lists[h].append(vm)
                placed.append((vm, h))
            else:
                out += placed
                no_drain |= {h for _, h in placed}


def line_ahead(y: list[float]) -> float:
    """The value at 11 of the least-squares line through y at 1..10, with running means."""
    mean_x, mean_y, sxx, sxy = 1.0, y[0], 0.0, 0.0
    for n in range(1, 10):
        dx, dy = n + 1 - mean_x, y[n] - mean_y
        sxx += dx * dx * (n / (n + 1.0))
        sxy += dx * dy * (n / (n + 1.0))
        mean_x += dx / (n + 1.0)
        mean_y += dy / (n + 1.0)
    slope = sxy / sxx
    total = 0.0
    for value in y:
        total += value
    return (total - slope * 55) / 10 + slope * 11


def iqr(values: list[float]) -> float:
    ordered = sorted(values)
    rank = [math.floor(q * (len(values) + 1) + 0.5) for q in (0.25, 0.75)]
    return ordered[rank[1] - 1] - ordered[rank[0] - 1]


def median(values: list[float]) -> float:
    ordered = sorted(values)
    position = (len(values) + 1) / 2
    below = math.floor(position)
    if position == below:
        return ordered[below - 1]
    return ordered[below - 1] + (position - below) * (ordered[below] - ordered[below - 1])


def mad(values: list[float]) -> float:
    middle = median(values)
    return median([abs(middle - value) for value in values])
