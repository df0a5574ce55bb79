"""Which slot of the state stands for which VM, from tick to tick.

A VM keeps its slot as long as it is there, wherever it stands; a freed slot is used again, with another birth. When
they run out there are twice as many, and slots mean other things: a new generation.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

LEAST = 64


class Slots:
    """Slots of VMs by UUID, and numbers of applications by name."""

    def __init__(self) -> None:
        self.n = 0
        self.generation = 0
        self.apps: list[str] = []
        self._slot: dict[str, int] = {}
        self._free: list[int] = []
        self._births = 0
        self._birth: list[int] = []

    def update(self, uuids: Iterable[str], apps: Iterable[str]) -> None:
        """Give the new ones a slot, take those that are gone out of theirs."""
        here = set(uuids)
        for uuid in [uuid for uuid in self._slot if uuid not in here]:
            self._free.append(self._slot.pop(uuid))
        new = sorted(here - self._slot.keys())
        if len(new) > len(self._free):
            wanted = max(LEAST, self.n)
            while wanted < 2 * len(here):
                wanted *= 2
            self._free = list(range(wanted - 1, self.n - 1, -1)) + sorted(self._free, reverse=True)
            self._birth += [0] * (wanted - self.n)
            self.n = wanted
            self.generation += 1
        for uuid in new:
            slot = self._free.pop()
            self._births += 1
            self._slot[uuid] = slot
            self._birth[slot] = self._births
        fresh = sorted(set(apps) - set(self.apps))
        if fresh:
            self.apps += fresh
            self.generation += 1

    def slot(self, uuid: str) -> int:
        """Of a VM that is there; -1 of another."""
        return self._slot.get(uuid, -1)

    @property
    def births(self) -> Sequence[int]:
        """(n,) tells apart the VMs that use one slot in turn."""
        return self._birth
