"""The port to a load balancer, and one in memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Protocol

from foreshade.envs.errors import WorldError


class TrafficError(WorldError):
    """The balancer refused, or did not answer in time."""


@dataclass(frozen=True, slots=True)
class Server:
    """One guest as the balancer knows it."""

    address: str
    port: int
    weight: float  # relative; 0 = no new requests
    healthy: bool = True  # the balancer's own check passes
    draining: bool = False  # gets no new requests whatever its weight
    open_requests: int = 0


class Traffic(Protocol):
    """Who of an application's guests gets how many of its requests.

    Every call is idempotent, ends within the balancer's timeout, and raises TrafficError. Names are those of guests.
    """

    def servers(self, app: str) -> Mapping[str, Server]:
        """The guests of an application by name, as the balancer shows them now."""
        ...

    def add(self, app: str, name: str, address: str, port: int) -> None:
        """Make a guest known, at weight 0, with health checks; one that is known at that address stays as it is."""
        ...

    def weigh(self, app: str, weights: Mapping[str, float]) -> None:
        """Set relative weights of some guests, all in one go; the others keep theirs."""
        ...

    def drain(self, app: str, name: str) -> None:
        """No new requests to it; those that are open end in peace."""
        ...

    def remove(self, app: str, name: str) -> None:
        """Forget a guest; one that is not known is none. Requests that are still open are cut."""
        ...


class FakeTraffic:
    """A balancer in memory: records calls, and can fail the next one."""

    def __init__(self) -> None:
        self.known: dict[str, dict[str, Server]] = {}
        self.calls: list[tuple[str, ...]] = []
        self.fail_next = ""
        self.sick: set[str] = set()

    def servers(self, app: str) -> Mapping[str, Server]:
        """What is known of an application."""
        self._call("servers", app)
        return {
            name: replace(server, healthy=name not in self.sick)
            for name, server in self.known.get(app, {}).items()
        }

    def add(self, app: str, name: str, address: str, port: int) -> None:
        """Remember a guest."""
        self._call("add", app, name)
        here = self.known.setdefault(app, {})
        if name not in here or (here[name].address, here[name].port) != (address, port):
            here[name] = Server(address, port, 0.0)

    def weigh(self, app: str, weights: Mapping[str, float]) -> None:
        """Remember weights."""
        self._call("weigh", app, *(f"{name}={weight:g}" for name, weight in weights.items()))
        here = self.known.get(app, {})
        for name, weight in weights.items():
            if name not in here:
                raise TrafficError(f"balancer: expected a server {app}/{name}, found none")
            here[name] = replace(here[name], weight=weight, draining=False)

    def drain(self, app: str, name: str) -> None:
        """Remember that it drains."""
        self._call("drain", app, name)
        here = self.known.get(app, {})
        if name in here:
            here[name] = replace(here[name], draining=True)

    def remove(self, app: str, name: str) -> None:
        """Forget a guest."""
        self._call("remove", app, name)
        self.known.get(app, {}).pop(name, None)

    def _call(self, *said: str) -> None:
        self.calls.append(said)
        if self.fail_next:
            why, self.fail_next = self.fail_next, ""
            raise TrafficError(why)
