"""What the candidate generator looks at, in values that can be read and written (docs/environment.md)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any

from pydantic import AfterValidator, Field

from foreshade import _core
from foreshade.envs.knobs import Knobs
from foreshade.envs.packers import EXPECTED_COST, IDLE_IS_OFF, JOINT, N_SIGMA, PackerKnobs, WindowKnobs
from foreshade.envs.rule_tree import Node, Rule, compiled
from foreshade.envs.site import Site

#: Kinds of candidates, in the order of their flags among the columns.
KINDS: tuple[str, ...] = tuple(_core.candidate_kinds())
#: Before the name of a knob: that of the packer which the rules follow.
OF_PLAN = "plan."


class PlanKnobs(Knobs):
    """A packer whose whole tick is one candidate."""

    name: str
    packer: PackerKnobs
    preferred: bool = False  # the rules take it where it has anything to do; else they never do
    eager: bool = False  # planned when the tick begins, so that its gain is seen; else when it is chosen
    #: Of an eager plan: made at least so often, in between only where something has changed; 1 = every tick.
    every_ticks: Annotated[int, Field(ge=1)] = 1


class Sizing(Knobs):
    """To what right-sizing takes back what VMs never used (docs/rules.md)."""

    headroom: Annotated[float, Field(gt=0)] = 1.4  # memory over the decayed peak
    #: CPU, disk and network over the decayed peak that a VM keeps when what it never used is taken back; 0 = none is.
    slack: Annotated[float, Field(ge=0)] = 3.0
    slack_floor: Annotated[float, Field(gt=0, le=1)] = 0.5  # least that it keeps, share of the flavour
    unseen: Annotated[float, Field(ge=0)] = 0.2  # over its samples: how likely a tick brings a new peak
    #: Times what it has, to which a VM close to a limit grows in a tick.
    growth: Annotated[float, Field(gt=1)] = 1.5
    settle_ticks: Annotated[int, Field(ge=1)] = 12  # samples of a VM before it is reshaped

    def native_sizing(self) -> _core.Sizing:
        """The same for the native generator."""
        native = _core.Sizing()
        for name in Sizing.model_fields:
            setattr(native, name, getattr(self, name))
        return native


def _n_sigma(z: float) -> PlanKnobs:
    return PlanKnobs(name=f"n-sigma-{z:g}", packer=replace(N_SIGMA, z=z))


EXPECTED_COST_PLAN = PlanKnobs(name="expected-cost", packer=EXPECTED_COST, preferred=True, eager=True)
#: The same where something has changed, and every half hour; the likeliest hosts are looked at for drains, and what
#: waiting costs says who gets a GPU where they are short.
WATCHED_PLAN = EXPECTED_COST_PLAN.model_copy(
    update={"every_ticks": 6, "packer": replace(EXPECTED_COST, drain_misses=4, near=4, urgent_gpus=True)}
)


def known_kinds(kinds: tuple[str, ...]) -> tuple[str, ...]:
    """The same kinds; ValueError where one is none."""
    for kind in kinds:
        if kind not in KINDS:
            raise ValueError(f"expected kinds of {', '.join(KINDS)}, found {kind!r}")
    return kinds


Kinds = Annotated[tuple[str, ...], AfterValidator(known_kinds)]


class InsteadKnobs(Knobs):
    """What a site of another kind is played by instead."""

    window: WindowKnobs
    preferred: Kinds = ()
    plans: tuple[PlanKnobs, ...]


AT_ONCE = InsteadKnobs(
    window=IDLE_IS_OFF.window,
    plans=(PlanKnobs(name="expected-cost-at-once", packer=IDLE_IS_OFF, preferred=True, eager=True),),
)
#: What placement and power alone can do: whole racks, whole applications, and who waits, in one plan.
JOINTLY = InsteadKnobs(
    window=JOINT.window,
    plans=(PlanKnobs(name="joint-cost", packer=JOINT, preferred=True, eager=True),),
)


_CONVERTED = {
    *Sizing.model_fields,
    *("sizings", "window", "preferred", "plans", "idle_is_off", "placement_only", "rules", "tree"),
}


class Options(Knobs):
    """What a policy chooses among beside what the rules have."""

    k: Annotated[int, Field(ge=2)]
    sizings: tuple[Sizing, ...]
    plans: tuple[PlanKnobs, ...]  # that the rules never take


class CandidateKnobs(Sizing):
    """How many candidates of each kind are looked at, how they are sized, and which the rules may take."""

    k: Annotated[int, Field(ge=2)] = 64  # candidates shown, `wait` included
    decisions: Annotated[int, Field(ge=1)] = 16  # a tick at most; then the world goes on
    horizon_ticks: Annotated[int, Field(ge=1)] = 24  # over which a saving counts
    off_ticks: Annotated[int, Field(ge=1)] = 48  # likewise of a host that goes off
    sigma_scale: Annotated[float, Field(gt=0)] = 1.0
    window: WindowKnobs = EXPECTED_COST.window
    crowded_hosts: Annotated[int, Field(ge=0)] = 3
    leavers: Annotated[int, Field(ge=0)] = 3  # VMs of a crowded host
    drains: Annotated[int, Field(ge=0)] = 2
    arrivals: Annotated[int, Field(ge=0)] = 4
    reshapes: Annotated[int, Field(ge=0)] = 4
    switches: Annotated[int, Field(ge=0)] = 2  # hosts to go off, to come on, to be hired
    helpers: Annotated[int, Field(ge=0)] = 2  # VMs that micro-VMs and shadows are weighed for
    outgrown: Annotated[int, Field(ge=0)] = 2  # VMs at a limit of a full host that a move makes room for
    sizings: tuple[Sizing, ...] = ()  # others by which all VMs may be right-sized; never the rules' choice
    floor: Annotated[float, Field(gt=0, le=1)] = 0.1  # least allocation, share of the flavour
    ceiling: Annotated[float, Field(ge=1)] = 3.0  # most CPU
    memory_ceiling: Annotated[float, Field(gt=0)] = 1.0  # most memory: what a guest was booted with
    least_change: Annotated[float, Field(ge=0)] = 0.1  # of the flavour
    peak_ticks: Annotated[int, Field(ge=1)] = 1000  # time constant at which a peak is forgotten
    shadow_share: Annotated[float, Field(gt=0, le=1)] = 0.1  # of the primary's allocation
    micro_share: Annotated[float, Field(gt=0, le=1)] = 0.25  # likewise of a micro-VM
    micro_life_s: Annotated[float, Field(gt=0)] = 3600.0
    #: Kinds that the rules may take beside their plan.
    preferred: Kinds = ("right_size", "grow", "shrink", "microvm", "migrate", "place")
    threshold: float = 0.0  # idle host hours that a candidate must earn before the rules take it
    plans: tuple[PlanKnobs, ...] = (WATCHED_PLAN,)
    # None = such a site is like any other
    idle_is_off: InsteadKnobs | None = None  # an idle host is off at once and for nothing
    placement_only: InsteadKnobs | None = None  # VMs may be moved and hosts switched, and nothing else
    rules: tuple[Rule, ...] = ()  # what changes preferences: the first that fits a candidate
    tree: Node | None = None  # likewise where none fits

    @property
    def rule_labels(self) -> tuple[str, ...]:
        """What people call each rule and each leaf of the tree, by the number that a candidate carries."""
        return compiled(self.rules, self.tree).labels

    @property
    def options(self) -> Options:
        """What is here beside what the rules take."""
        return Options(
            k=self.k, sizings=self.sizings, plans=tuple(plan for plan in self.plans if not plan.preferred)
        )

    def with_options(self, options: Options) -> CandidateKnobs:
        """The same rules with these options in place of their own."""
        taken = tuple(plan for plan in self.plans if plan.preferred)
        return self.model_copy(
            update={"k": options.k, "sizings": options.sizings, "plans": (*taken, *options.plans)}
        )

    @property
    def followed(self) -> PlanKnobs | None:
        """The plan that the rules follow, the first that they prefer; None = none."""
        return next((plan for plan in self.plans if plan.preferred), None)

    def value(self, knob: str) -> Any:
        """What a knob is at; a name with ``plan.`` is a knob of the packer that the rules follow.

        Raises:
            ValueError: there is no such knob of a packer, or the rules follow no plan.

        """
        name = knob.removeprefix(OF_PLAN)
        if name == knob:
            return getattr(self, knob)
        if self.followed is None:
            raise ValueError(f"{knob}: expected rules that follow a plan, found none")
        if name not in PackerKnobs.__dataclass_fields__:
            raise ValueError(f"{knob}: expected a knob of packers, found none of that name")
        return getattr(self.followed.packer, name)

    def changed(self, setting: Mapping[str, Any]) -> CandidateKnobs:
        """The same with other values, named as in ``value`` and checked.

        Raises:
            ValueError: a value is out of range, there is no such knob, or the rules follow no plan.

        """
        own = {knob: value for knob, value in setting.items() if not knob.startswith(OF_PLAN)}
        packer = {knob.removeprefix(OF_PLAN): setting[knob] for knob in setting if knob not in own}
        for name in packer:
            self.value(OF_PLAN + name)  # raises where there is none such
        plans = tuple(
            plan.model_copy(update={"packer": replace(plan.packer, **packer)})
            if plan is self.followed
            else plan
            for plan in self.plans
        )
        return CandidateKnobs.model_validate({**self.model_dump(), **own, "plans": plans})

    def on(self, site: Site) -> CandidateKnobs:
        """What holds on a site: the same, or ``idle_is_off`` or ``placement_only`` in place of what it names."""
        other = self.idle_is_off
        if not site.idle_is_off:
            other = self.placement_only if site.placement_only else None
        if other is None:
            return self
        return self.model_copy(
            update={"window": other.window, "preferred": other.preferred, "plans": other.plans}
        )

    def native(self) -> _core.ProposerKnobs:
        """The same knobs for the native generator."""
        native = _core.ProposerKnobs()
        for name in type(self).model_fields:
            if name not in _CONVERTED:
                setattr(native, name, getattr(self, name))
        native.sizing = self.native_sizing()
        native.sizings = [sizing.native_sizing() for sizing in self.sizings]
        native.window = self.window.native()
        native.preferred = sum(1 << KINDS.index(kind) for kind in self.preferred)
        plans = []
        for plan in self.plans:
            one = _core.PlanKnobs()
            one.packer, one.preferred, one.eager = plan.packer.native(), plan.preferred, plan.eager
            one.every_ticks = plan.every_ticks
            plans.append(one)
        native.plans = plans
        native.rules = compiled(self.rules, self.tree).nodes
        return native


def _expected_cost(sigma_scale: float) -> PlanKnobs:
    return PlanKnobs(
        name=f"expected-cost-{sigma_scale:g}", packer=replace(EXPECTED_COST, sigma_scale=sigma_scale)
    )


#: The rules, as `agents/rules/rules.yaml` has them; tuned on training data (benchmarks/tune_rules.py).
RULES = CandidateKnobs(idle_is_off=AT_ONCE, placement_only=JOINTLY)
#: Placement and power alone: the rules are `expected-cost` and nothing else.
PLACEMENT = CandidateKnobs(preferred=(), plans=(EXPECTED_COST_PLAN,))
#: Options beside the rules' own sizings and plan (docs/ham.md), sought on training workloads with components on
#: (benchmarks/tune_options.py). Both let VMs that are close to what they have grow from their first sample on; one
#: takes more back of what was never used, the other lets them grow to twice what they have.
TIGHT = Sizing(slack=2.5, slack_floor=0.35, settle_ticks=1)
PROMPT = Sizing(growth=2.0, settle_ticks=1)
#: Racks that need not stand are emptied as a whole, whatever each of their hosts would earn.
RACK_PLAN = PlanKnobs(name="expected-cost-racks", packer=replace(WATCHED_PLAN.packer, whole_racks=True))
#: What HAM chooses among: what the rules have, and what they never take.
DEFAULT = CandidateKnobs(
    idle_is_off=AT_ONCE,
    sizings=(TIGHT, PROMPT),
    plans=(WATCHED_PLAN, RACK_PLAN, _expected_cost(3.0), _n_sigma(2.5)),
)
