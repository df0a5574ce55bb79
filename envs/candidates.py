"""What the candidate generator looks at, in values that can be read and written (docs/environment.md)."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field, field_validator

from foreshade import _core
from foreshade.envs.packers import EXPECTED_COST, N_SIGMA, PackerKnobs, WindowKnobs

#: Kinds of candidates, in the order of their flags among the columns.
KINDS: tuple[str, ...] = tuple(_core.candidate_kinds())


class PlanKnobs(BaseModel):
    """A packer whose whole tick is one candidate."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    packer: PackerKnobs
    preferred: bool = False  # the rules take it where it has anything to do; else they never do
    eager: bool = False  # planned when the tick begins, so that its gain is seen; else when it is chosen


def _n_sigma(z: float) -> PlanKnobs:
    knobs = {field: getattr(N_SIGMA, field) for field in PackerKnobs.__dataclass_fields__}
    return PlanKnobs(name=f"n-sigma-{z:g}", packer=PackerKnobs(**{**knobs, "z": z}))


EXPECTED_COST_PLAN = PlanKnobs(name="expected-cost", packer=EXPECTED_COST, preferred=True, eager=True)


class CandidateKnobs(BaseModel):
    """How many candidates of each kind are looked at, how they are sized, and which the rules may take."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    k: int = Field(default=64, ge=2)  # candidates shown, `wait` included
    decisions: int = Field(default=16, ge=1)  # a tick at most; then the world goes on
    horizon_ticks: int = Field(default=24, ge=1)  # over which a saving counts
    off_ticks: int = Field(default=48, ge=1)  # likewise of a host that goes off
    sigma_scale: float = Field(default=1.0, gt=0)
    window: WindowKnobs = EXPECTED_COST.window
    crowded_hosts: int = Field(default=3, ge=0)
    leavers: int = Field(default=3, ge=0)  # VMs of a crowded host
    drains: int = Field(default=2, ge=0)
    arrivals: int = Field(default=4, ge=0)
    reshapes: int = Field(default=4, ge=0)
    switches: int = Field(default=2, ge=0)  # hosts to go off, to come on, to be hired
    helpers: int = Field(default=2, ge=0)  # VMs that micro-VMs and shadows are weighed for
    headroom: float = Field(default=1.2, gt=0)  # allocation over the decayed peak
    floor: float = Field(default=0.05, gt=0, le=1)  # least allocation, share of the flavour
    ceiling: float = Field(default=2.0, ge=1)  # most
    least_change: float = Field(default=0.1, ge=0)  # of the flavour
    peak_ticks: int = Field(default=288, ge=1)  # time constant at which a peak is forgotten
    settle_ticks: int = Field(default=12, ge=1)  # samples of a VM before it is reshaped
    shadow_share: float = Field(default=0.1, gt=0, le=1)  # of the primary's allocation
    micro_share: float = Field(default=0.25, gt=0, le=1)  # likewise of a micro-VM
    micro_life_s: float = Field(default=3600.0, gt=0)
    preferred: tuple[str, ...] = ()  # kinds that the rules may take beside their plan
    threshold: float = 0.0  # idle host hours that a candidate must earn before the rules take it
    plans: tuple[PlanKnobs, ...] = (EXPECTED_COST_PLAN,)

    @field_validator("preferred")
    @classmethod
    def _known(cls, kinds: tuple[str, ...]) -> tuple[str, ...]:
        for kind in kinds:
            if kind not in KINDS:
                raise ValueError(f"expected kinds of {', '.join(KINDS)}, found {kind!r}")
        return kinds

    def native(self) -> _core.ProposerKnobs:
        """The same knobs for the native generator."""
        native = _core.ProposerKnobs()
        for name in type(self).model_fields:
            if name not in ("window", "preferred", "plans"):
                setattr(native, name, getattr(self, name))
        native.window = self.window.native()
        native.preferred = sum(1 << KINDS.index(kind) for kind in self.preferred)
        plans = []
        for plan in self.plans:
            one = _core.PlanKnobs()
            one.packer, one.preferred, one.eager = plan.packer.native(), plan.preferred, plan.eager
            plans.append(one)
        native.plans = plans
        return native


#: The rules are `expected-cost` and nothing else.
PLACEMENT = CandidateKnobs()
#: What HAM chooses among by default.
DEFAULT = CandidateKnobs(
    preferred=("right_size", "grow", "shrink"),
    plans=(EXPECTED_COST_PLAN, _n_sigma(1.3), _n_sigma(2.5), _n_sigma(4.0)),
)
