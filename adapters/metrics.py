"""The port to measurements of somebody else's: a monitoring system that already watches hosts and guests."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from foreshade.envs.errors import WorldError


class MetricsError(WorldError):
    """The source refused, or did not answer in time."""


@dataclass(frozen=True, slots=True)
class Measured:
    """A value and how old it was when it was read: both by the source's own clock, so that ours may be another."""

    value: float
    age_s: float


class Metrics(Protocol):
    """One quantity of many hosts or guests."""

    def read(self) -> Mapping[str, Measured]:
        """The newest values by the name of host or guest; what is not known is not there.

        Ends within the source's own timeout, changes nothing, and may be called from several threads.

        Raises:
            MetricsError: it refused, or did not answer in time.

        """
        ...

    def close(self) -> None:
        """Let go of its connections."""
        ...


class FakeMetrics:
    """Measurements in memory, which can fail."""

    def __init__(self, known: Mapping[str, Measured] | None = None) -> None:
        self.known = dict(known or {})
        self.error = ""

    def read(self) -> Mapping[str, Measured]:
        """What was put there."""
        if self.error:
            raise MetricsError(self.error)
        return dict(self.known)

    def close(self) -> None:
        """Nothing is held."""
