"""Which template, how many VMs of it, how large, and how they boot: ``select_template``.

**Size.** A VM is given, of each resource, its predicted demand over the share of its allocation that it is meant to
use: the rule of target utilisation, of which the Kubernetes Horizontal Pod Autoscaler's
``desired = ceil(current · metric / target)`` is the horizontal form (kubernetes.io, "Horizontal Pod Autoscaling",
Algorithm details). One VM is made as large as its limits allow before there is another; sizes round up.

**Template.** That of the application's type where the type is known. Where it is not, the one whose VMs for this
demand are cheapest at public prices of capacity; the name breaks ties.

**Boot path.** The cheapest to keep ready that serves in time: cold keeps nothing, a saved image a file, a paused
spare its memory. Where none is in time, the fastest.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from foreshade.envs import catalogue
from foreshade.envs.catalogue.entry import lookup
from foreshade.envs.errors import TemplateError
from foreshade.envs.model.action import Allocation, Boot, five
from foreshade.envs.scenarios.prices import Prices
from foreshade.envs.templates.template import Template, templates
from foreshade.envs.workloads.trace import REFERENCE_CORE_MHZ

#: Sizes are whole multiples of these: a vCPU, 256 MiB, 1 MiB/s, 1 Mbit/s, a GPU.
STEPS: Allocation = (REFERENCE_CORE_MHZ, 256.0, 1.0, 1.0, 1.0)
_UNITS = ("MHz", "MiB", "MiB/s", "Mbit/s", "GPUs")


@dataclass(frozen=True, slots=True)
class ApplicationProfile:
    """What is known of the application that needs VMs."""

    application: str = ""  # its type; empty = unknown
    lead_s: float = math.inf  # until the demand comes
    hypervisor: str = "kvm"  # of the catalogue, on which the VMs would run


@dataclass(frozen=True, slots=True)
class Selection:
    """VMs to spawn, all alike."""

    template: Template
    vms: int
    allocation: Allocation  # of each: MHz, MiB, MiB/s, Mbit/s, GPUs
    boot: Boot
    ready_s: float  # from the request until they serve
    in_time: bool
    usd_h: float  # public price of their capacity


def select_template(
    predicted_demand: Allocation | None,
    profile: ApplicationProfile,
    library: Mapping[str, Template] | None = None,
    prices: Prices | None = None,
) -> Selection:
    """Choose a template for demand to come and size its VMs to it.

    Args:
        predicted_demand: MHz, MiB, MiB/s, Mbit/s, GPUs that the new VMs have to serve together, an upper quantile;
            None = nothing is predicted: one VM of the template's initial allocation, and the type must be known.
        profile: of the application.
        library: templates by name; None = those that ship.
        prices: that compare templates; None = the defaults.

    Raises:
        TemplateError: no template can hold the demand, the type has none, or the demand is not finite and >= 0.

    """
    known = templates() if library is None else library
    usd = (prices or Prices()).capacity_usd_h
    if predicted_demand is not None:
        for amount, unit in zip(predicted_demand, _UNITS, strict=True):
            if not 0.0 <= amount < math.inf:
                raise TemplateError(f"predicted demand: expected {unit} >= 0 and finite, found {amount}")
    typed = [t for t in known.values() if t.application == profile.application]
    if profile.application and not typed:
        types = ", ".join(sorted({t.application for t in known.values()})) or "none"
        raise TemplateError(
            f"application {profile.application!r}: expected a template of its type, found {types}"
        )
    if predicted_demand is None and not typed:
        raise TemplateError("expected a predicted demand or the application's type, found neither")
    sized = [
        (template, *size)
        for template in typed or known.values()
        if (size := size_to(template, predicted_demand)) is not None
    ]
    if not sized:
        raise TemplateError(
            f"expected a template that holds {predicted_demand[4] if predicted_demand else 0:g} GPUs, found none"
            + (f" of type {profile.application}" if profile.application else "")
        )

    def usd_h(vms: int, allocation: Allocation) -> float:
        return vms * sum(amount * price for amount, price in zip(allocation, usd, strict=True))

    template, vms, allocation = min(sized, key=lambda s: (usd_h(s[1], s[2]), s[0].name))
    boot, ready_s = _boot(template, profile)
    return Selection(
        template, vms, allocation, boot, ready_s, ready_s <= profile.lead_s, usd_h(vms, allocation)
    )


def size_to(template: Template, predicted_demand: Allocation | None) -> tuple[int, Allocation] | None:
    """How many VMs and how large each, within the template's limits; None where it cannot hold the demand at all."""
    if predicted_demand is None:
        return 1, template.allocation.allocation
    least, most = template.limits.least.allocation, template.limits.most.allocation
    needs = [d / share for d, share in zip(predicted_demand, template.target.shares, strict=True)]
    if any(need > 0.0 and high == 0.0 for need, high in zip(needs, most, strict=True)):
        return None
    vms = max(1, *(math.ceil(need / high) for need, high in zip(needs, most, strict=True) if high > 0.0))
    each = [
        min(max(math.ceil(need / vms / step) * step, low), high)
        for need, step, low, high in zip(needs, STEPS, least, most, strict=True)
    ]
    return vms, five(each)


def _boot(template: Template, profile: ApplicationProfile) -> tuple[Boot, float]:
    """The cheapest prepared path that is in time, else the fastest; and the seconds that it takes."""
    boots = lookup("hypervisor", profile.hypervisor, catalogue.hypervisors()).boot_s
    by_path = {Boot.COLD: boots.cold, Boot.RESTORED: boots.restored, Boot.SPARE: boots.spare}
    # A paused spare's software has already started.
    ready = {p: by_path[p] + (template.lead_s if p is Boot.COLD else 0.0) for p in template.boots}
    path = next((p for p in ready if ready[p] <= profile.lead_s), min(ready, key=lambda p: ready[p]))
    return path, ready[path]
