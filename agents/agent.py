"""What chooses: the one protocol behind every baseline, the rules and HAM."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

from foreshade._core import ClusterState
from foreshade.envs.model.action import Action
from foreshade.envs.model.state import Resource
from foreshade.envs.site import Site

F32 = npt.NDArray[np.float32]


class Agent(Protocol):
    """Turns what is seen of a cluster into the actions of one tick; does no I/O and knows no future."""

    @property
    def name(self) -> str:
        """As written on the command line, parameters included."""
        ...

    @property
    def power_managed(self) -> bool:
        """False = its hosts draw full power whatever their load (the baseline ``npa`` alone)."""
        ...

    def reset(self, site: Site) -> None:
        """Forget everything; a run on ``site`` begins."""
        ...

    def act(self, state: ClusterState) -> Sequence[Action]:
        """The actions of this tick, in order; ``state`` is valid until the next tick only."""
        ...


#: The resources that every VM uses; GPUs are placed by allocation alone.
DENSE = slice(Resource.CPU, Resource.GPU)
