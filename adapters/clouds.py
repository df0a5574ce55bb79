"""The port to clouds that rent hosts, and libcloud behind it.

A rented host is a node whose name is ours, so that it is found again after a crash: ordering it twice orders it once.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Protocol

import yaml

from foreshade.envs.errors import InputError, WorldError
from foreshade.envs.extras import require


class CloudError(WorldError):
    """A cloud refused, or did not answer."""


class Lease(StrEnum):
    """How far a rented host is."""

    NONE = "none"
    COMING = "coming"
    THERE = "there"
    GOING = "going"


@dataclass(frozen=True, slots=True)
class Node:
    """A rented host as its cloud shows it."""

    name: str
    lease: Lease
    address: str = ""


class Cloud(Protocol):
    """Where one kind of host is rented. All raise CloudError; ordering and returning are idempotent by name."""

    def node(self, name: str) -> Node:
        """What the cloud shows of a host; lease ``NONE`` where it knows none."""
        ...

    def order(self, name: str) -> None:
        """Ask for it; ``node`` shows when it is there."""
        ...

    def give_back(self, name: str) -> None:
        """Let it go, with all that is on it."""
        ...


class LibcloudCloud:
    """Any provider that libcloud has a compute driver for."""

    def __init__(
        self, provider: str, *, size: str, image: str, location: str = "", credentials: Path | None = None
    ) -> None:
        """Make the driver; most providers are not asked anything yet.

        Raises:
            MissingExtraError: libcloud is not installed.
            InputError: an unknown provider, or credentials that cannot be read or that the driver does not take.

        """
        providers = require("libcloud.compute.providers", "live", "rented hosts")
        self._types: Any = require("libcloud.compute.types", "live", "rented hosts")
        self._provider, self._size, self._image, self._location = provider, size, image, location
        arguments = _arguments(credentials)
        try:
            driver = providers.get_driver(provider)
            self._driver: Any = driver(*arguments.pop("args", ()), **arguments)
        except (AttributeError, ImportError) as error:
            raise InputError(
                f"cloud.provider: expected a provider of libcloud, found {provider!r}"
            ) from error
        except (TypeError, ValueError) as error:
            raise InputError(f"cloud {provider}: expected arguments of its driver, found {error}") from error

    def node(self, name: str) -> Node:
        """The newest node of that name that is not gone."""
        found = self._find(name)
        if found is None:
            return Node(name, Lease.NONE)
        states = self._types.NodeState
        addresses = list(found.public_ips or ()) + list(found.private_ips or ())
        if found.state in (states.TERMINATED, states.STOPPING):
            return Node(name, Lease.GOING)
        there = found.state == states.RUNNING and bool(addresses)
        return Node(name, Lease.THERE if there else Lease.COMING, addresses[0] if addresses else "")

    def order(self, name: str) -> None:
        """``create_node``, unless there is one of that name."""
        if self._find(name) is not None:
            return
        words: dict[str, Any] = {
            "name": name,
            "size": self._pick("size", self._size, self._call("sizes", self._driver.list_sizes)),
            "image": self._pick("image", self._image, self._call("images", self._driver.list_images)),
        }
        if self._location:
            places = self._call("locations", self._driver.list_locations)
            words["location"] = self._pick("location", self._location, places)
        self._call("create_node", lambda: self._driver.create_node(**words))

    def give_back(self, name: str) -> None:
        """``destroy_node``; one that is not there is none."""
        found = self._find(name)
        if found is not None and not self._call("destroy_node", lambda: self._driver.destroy_node(found)):
            raise CloudError(f"cloud {self._provider}: {name}: expected it gone, found it refused")

    def _find(self, name: str) -> Any:
        terminated = self._types.NodeState.TERMINATED
        nodes = [n for n in self._call("list_nodes", self._driver.list_nodes) if n.name == name]
        alive = [node for node in nodes if node.state != terminated]
        return alive[-1] if alive else None

    def _pick(self, what: str, wanted: str, offered: Any) -> Any:
        for one in offered:
            if wanted in (str(one.id), one.name):
                return one
        known = ", ".join(sorted({str(one.name) for one in offered})[:10])
        raise CloudError(f"cloud {self._provider}: {what}: expected one of {known}, found {wanted!r}")

    def _call(self, what: str, act: Any) -> Any:
        """One call; a driver raises whatever its provider's protocol gives it."""
        try:
            return act()
        except CloudError:
            raise
        except Exception as error:  # libcloud has no common base of what its drivers raise
            text = " ".join(str(error).split()) or type(error).__name__
            raise CloudError(f"cloud {self._provider}: {what}: expected an answer, found {text}") from error


def _arguments(path: Path | None) -> dict[str, Any]:
    if path is None:
        return {}
    try:
        said = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InputError(
            f"{path}: expected arguments of a driver, found {' '.join(str(error).split())}"
        ) from error
    if not isinstance(said, dict) or not all(isinstance(key, str) for key in said):
        raise InputError(f"{path}: expected keys and values, found {type(said).__name__}")
    return said


class FakeCloud:
    """A cloud in memory: hosts come when the test says so."""

    def __init__(self) -> None:
        self.nodes: dict[str, Node] = {}
        self.calls: list[tuple[str, str]] = []
        self.fail_next = ""

    def node(self, name: str) -> Node:
        """As it is."""
        self._call("node", name)
        return self.nodes.get(name, Node(name, Lease.NONE))

    def order(self, name: str) -> None:
        """Coming."""
        self._call("order", name)
        self.nodes.setdefault(name, Node(name, Lease.COMING))

    def give_back(self, name: str) -> None:
        """Gone."""
        self._call("give back", name)
        self.nodes.pop(name, None)

    def _call(self, what: str, name: str) -> None:
        self.calls.append((what, name))
        if self.fail_next:
            why, self.fail_next = self.fail_next, ""
            raise CloudError(why)
