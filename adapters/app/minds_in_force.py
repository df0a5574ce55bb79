"""The deciders of a controller: by its configuration, unless rules or a policy of the shelf were put in force."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from foreshade.adapters.app.artefact_check import check_artefact
from foreshade.adapters.app.control_config import ControlConfig
from foreshade.adapters.store.shelf import SHIPPED, ArtefactKind, Shelf, unpacked
from foreshade.adapters.store.store import Store
from foreshade.agents.controller import Minds
from foreshade.agents.ham.agent import Ham
from foreshade.agents.managers.registry import load_components
from foreshade.agents.rules.rules import Rules, load_rules, rules_of
from foreshade.envs.errors import ForeshadeError

log = logging.getLogger(__name__)
Made = TypeVar("Made")
_KINDS: tuple[ArtefactKind, ...] = ("rules", "policy")


class MindsInForce:
    """Makes the deciders, and makes them anew when something else was put in force."""

    def __init__(self, config: ControlConfig, store: Store) -> None:
        self._config = config
        self._shelf = Shelf(store, check_artefact)
        self._numbers: dict[ArtefactKind, int] = {}

    def make(self) -> Minds:
        """The deciders as they are in force now; what of the shelf does not verify is said and left out."""
        self._numbers = {kind: self._number(kind) for kind in _KINDS}
        said = self._config.agent
        rules = self._of("rules", self._rules) or Rules(
            load_rules(said.rules), load_components(said.components)
        )
        if said.name == "rules":
            return Minds(rules)
        ham = self._of("policy", lambda data, name: self._ham(data, name, rules)) or self._configured_ham(
            rules
        )
        return Minds(rules, ham)

    def follow(self, minds: Minds) -> Minds:
        """The same, or new ones where something was put in force since; what watches the world goes on."""
        try:
            if all(self._number(kind) == self._numbers[kind] for kind in _KINDS):
                return minds
            made = replace(self.make(), estimators=minds.estimators)
        except ForeshadeError as error:
            log.error("rules and policy stay as they are: %s", error)
            return minds
        log.info("rules and policy in force: %s", ", ".join(self._shelf.active(kind) for kind in _KINDS))
        return made

    def _number(self, kind: ArtefactKind) -> int:
        newest = self._shelf.history(kind, 1)
        return newest[0].number if newest else 0

    def _of(self, kind: ArtefactKind, make: Callable[[bytes, str], Made]) -> Made | None:
        name = self._shelf.active(kind)
        if name == SHIPPED:
            return None
        try:
            data = self._shelf.data(kind, name)
            return None if data is None else make(data, name)
        except ForeshadeError as error:
            log.error("%s %s is in force and cannot be used, the configured one is: %s", kind, name, error)
            return None

    def _rules(self, data: bytes, name: str) -> Rules:
        return Rules(rules_of(data.decode("utf-8"), name), load_components(self._config.agent.components))

    def _ham(self, data: bytes, name: str, rules: Rules) -> Ham:
        with unpacked(data, f"policy {name}") as folder:
            return self._configured_ham(rules, Path(folder))

    def _configured_ham(self, rules: Rules, folder: Path | None = None) -> Ham:
        said = self._config.agent
        managers = load_components(said.components)
        return Ham(folder or said.policy, rules=rules.knobs, fallback=True, managers=managers)
