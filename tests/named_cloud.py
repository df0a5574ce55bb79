"""libcloud's dummy provider, but with the names that nodes are ordered under: the original makes up its own."""

from __future__ import annotations

from typing import Any

from libcloud.compute.drivers.dummy import DummyNodeDriver


class NamedNodeDriver(DummyNodeDriver):
    """A provider that keeps names, as every real one does."""

    def create_node(self, name: str, **words: Any) -> Any:
        """As ordered."""
        node = super().create_node(name=name, **words)
        node.name = name
        return node
