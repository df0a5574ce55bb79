"""What a live cluster is, as far as it was seen: its scenario, and what guests can have of each host."""

from __future__ import annotations

from collections.abc import Mapping

from foreshade.adapters.libvirt_world.sample import NodeCounters
from foreshade.adapters.libvirt_world.settings import LibvirtSettings
from foreshade.adapters.libvirt_world.site import HostSize, scenario_of, sizes_of
from foreshade.envs.errors import WorldError
from foreshade.envs.scenarios.schema import Scenario


class Description:
    """Made anew where hosts turn out to have another size, or where the prices that were told have run out."""

    def __init__(self, settings: LibvirtSettings) -> None:
        self._settings = settings
        self._order = tuple(host.name for host in settings.ordered_hosts)
        self._nodes: dict[str, NodeCounters | None] = {}
        self._scenario: Scenario | None = None
        self._sizes: dict[str, HostSize] = {}
        self.generation = 0  # grows with each description

    @property
    def known(self) -> bool:
        """Whether anything was seen."""
        return self._scenario is not None

    @property
    def scenario(self) -> Scenario:
        """The cluster as a scenario.

        Raises:
            WorldError: nothing was seen.

        """
        if self._scenario is None:
            raise WorldError("expected a cluster that was observed, found none")
        return self._scenario

    @property
    def sizes(self) -> tuple[HostSize, ...]:
        """By slot."""
        return tuple(self._sizes[name] for name in self._order)

    def size(self, host: str) -> HostSize | None:
        """Of one host; None before anything was seen."""
        return self._sizes.get(host)

    def update(self, nodes: Mapping[str, NodeCounters | None], *, ended: bool) -> bool:
        """Take in what the hosts' nodes show now; None keeps what was known. Whether the description is a new one."""
        seen = {name: nodes.get(name) or self._nodes.get(name) for name in self._order}
        if self._scenario is not None and _shapes(seen) == _shapes(self._nodes) and not ended:
            return False
        self._nodes = seen
        self._scenario = scenario_of(self._settings, seen)
        self._sizes = dict(zip(self._order, sizes_of(self._scenario), strict=True))
        self.generation += 1
        return True


def _shapes(nodes: Mapping[str, NodeCounters | None]) -> dict[str, object]:
    """Another amount of free memory is no other machine."""
    return {
        name: None if node is None else (node.cpus, node.mhz, node.memory_mib) for name, node in nodes.items()
    }
