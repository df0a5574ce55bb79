"""The best score under readable thresholds: the fallback of HAM, and its yardstick."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib.resources import files
from pathlib import Path

from foreshade import _core
from foreshade._core import ClusterState
from foreshade.agents.bars import Admitting, Bars, all_bars
from foreshade.agents.decisions import RULES, Taken, Tally
from foreshade.agents.managers.manager import Advice, Adviser, Manager, RackSeer
from foreshade.agents.managers.outlook import share
from foreshade.envs.candidates import CandidateKnobs
from foreshade.envs.errors import InputError
from foreshade.envs.model.action import Action, ActionKind, five
from foreshade.envs.rule_reach import unreachable
from foreshade.envs.site import Site, native_site
from foreshade.envs.yaml_document import Document, build, parse


def load_rules(path: str | Path | None = None) -> CandidateKnobs:
    """The rules of a YAML file, or those that come with the package.

    Raises:
        InputError: the file cannot be read, a key or value is not what it should be, or no candidate can come
            to a rule or a branch.

    """
    if path is None:
        name, text = "rules.yaml", files(__package__).joinpath("rules.yaml").read_text(encoding="utf-8")
    else:
        name = str(path)
        try:
            text = Path(path).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"{name}: expected a file of rules, found {error}") from error
    return rules_of(text, name)


def rules_of(text: str, name: str) -> CandidateKnobs:
    """The rules of a text; ``name`` is said in errors.

    Raises:
        InputError: a key or value is not what it should be, or no candidate can come to a rule or a branch.

    """
    document: Document = parse(text, name)
    knobs = build(CandidateKnobs, document)
    if (found := unreachable(knobs.rules, knobs.tree)) is not None:
        where, why = found
        raise InputError(f"{name}:{document.line(where)}: {why}")
    return knobs


class Decider:
    """The candidates of a site, tick by tick; whoever chooses among them is a subclass."""

    power_managed = True

    def __init__(self, name: str, knobs: CandidateKnobs, managers: Sequence[Manager] = ()) -> None:
        self.name = name  # as on the command line
        self.knobs = knobs
        self.in_force = knobs  # on the site of the run
        self.managers = managers  # components that offer candidates beside the proposer's own
        self.tally = Tally()  # since the reset
        #: Told of every decision, `wait` too, before it is booked.
        self.on_decision: Callable[[_core.Proposer, Taken], None] | None = None
        self._proposer: _core.Proposer | None = None
        self._labels: tuple[str, ...] = ()
        self._advisers = [manager for manager in managers if isinstance(manager, Adviser)]
        self._rack_seers = [manager for manager in managers if isinstance(manager, RackSeer)]

    def reset(self, site: Site) -> None:
        """A run on ``site`` begins."""
        self.in_force = self.knobs.on(site)
        self._proposer = _core.Proposer(native_site(site), self.in_force.native())
        self._labels = self.knobs.rule_labels
        for manager in self.managers:
            manager.reset(site)
        share(self.managers)
        for adviser in self._advisers:
            adviser.begin(Advice(self.knobs.headroom, self.knobs.threshold))
        self.tally = Tally()

    @property
    def outcomes(self) -> dict[str, Mapping[str, float]]:
        """What came of actions, as components that await outcomes tell it."""
        return {kind: row for adviser in self._advisers for kind, row in adviser.outcomes().items()}

    @property
    def proposer(self) -> _core.Proposer:
        """The candidates as they are now."""
        if self._proposer is None:
            raise RuntimeError(f"{self.name}: act: expected reset first")
        return self._proposer

    def choose(self) -> Taken:
        """The candidate to take; 0 = no more this tick."""
        return Taken(self.proposer.preferred, RULES)

    def act(self, state: ClusterState) -> Sequence[Action]:
        """The actions of this tick."""
        proposer = self.proposer
        for adviser in self._advisers:
            if (advice := adviser.advice()) is not None:
                proposer.retune(advice.headroom, advice.threshold)
        for seer in self._rack_seers:
            seer.see_racks(frozenset(proposer.dark_racks(state)))
        barred = all_bars(self.managers, state)
        if barred is not None:
            proposer.restrain(barred.fixed, barred.hosts)
        bars = Bars.none(state) if barred is None else barred
        proposer.observe(state.copy())  # it books there, and the world's own is not to be written
        offers = [(manager, offer) for manager in self.managers for offer in manager.offers(state, bars)]
        if offers:
            proposer.add([offer.native(manager.name) for manager, offer in offers])
        reasons: list[tuple[str, str]] = []
        while proposer.decisions_left > 0:
            taken = self.choose()
            if self.on_decision is not None:
                self.on_decision(proposer, taken)
            said = proposer.describe(taken.candidate)
            rule = self._labels[said["rule"]] if said["rule"] >= 0 else ""
            if taken.candidate == 0:
                self.tally.count(taken, said, 0)
                break
            if said["offer"] >= 0:
                manager, offer = offers[said["offer"]]
                manager.taken(offer)
            proposer.choose(taken.candidate)
            added = proposer.n_planned - len(reasons)
            self.tally.count(taken, said, added, rule)
            reasons.extend([(said["reason"], taken.by)] * added)
        actions = [
            Action(ActionKind(kind), vm, host, app, rack, value, value2, five(allocation), reason, by)
            for (kind, vm, host, app, rack, value, value2, allocation), (reason, by) in zip(
                proposer.plan(), reasons, strict=True
            )
        ]
        for manager in self.managers:
            if isinstance(manager, Admitting):
                actions = manager.admit(state, actions, bars)
        for adviser in self._advisers:
            adviser.planned(state, actions)
        return actions


class Rules(Decider):
    """Arg-max of the score."""

    def __init__(self, knobs: CandidateKnobs | None = None, managers: Sequence[Manager] = ()) -> None:
        super().__init__("rules", load_rules() if knobs is None else knobs, managers)
