"""How large a new VM is to be: ``select_template`` asked for what an application will miss."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from foreshade._core import ClusterState
from foreshade.agents.managers.need import Need
from foreshade.agents.managers.outlook import View
from foreshade.agents.managers.room import Room
from foreshade.envs.errors import InputError, TemplateError
from foreshade.envs.model.action import Boot, five
from foreshade.envs.model.state import Resource, VmKind, VmState
from foreshade.envs.site import Site
from foreshade.envs.templates.select import ApplicationProfile, Selection, select_template
from foreshade.envs.templates.template import Template, templates

_SPLITS = (1, 2, 4, 8)  # into how many VMs a demand is split that fits on no host in one
_UNITS = ("MHz", "MiB", "MiB/s", "Mbit/s", "GPUs")


class Sizing:
    """The templates that a site's applications can be given."""

    def __init__(self, site: Site, library: Mapping[str, Template] | None = None) -> None:
        self._site = site
        self._known = templates() if library is None else library
        # A spare is resumed where it stands; it is none of the ways to bring up a new VM.
        self._library = {
            name: t.model_copy(update={"boot": tuple(b for b in t.boot if b != "spare") or ("cold",)})
            for name, t in self._known.items()
        }
        names = Counter(site.hypervisors).most_common(1)
        self.hypervisor = names[0][0] if names else "kvm"
        self._checked = False

    def template(self, app: int) -> Template | None:
        """The one of the application's type; None where the type is unknown."""
        kind = self._site.app_kinds[app] if app < len(self._site.app_kinds) else ""
        return next((t for t in self._known.values() if t.application == kind), None)

    def software_s(self, selection: Selection) -> float:
        """Seconds from the guest's boot until it serves."""
        return selection.template.lead_s if selection.boot is Boot.COLD else 0.0

    def select(self, state: ClusterState, view: View, need: Need, room: Room) -> Selection | None:
        """VMs for what is missing so that all are used as the template aims at; None where no template serves.

        Raises:
            InputError: a template of a type that the site's applications have fits on no host.

        """
        if not self._checked:
            self._check(room)
        vms = state.vms
        members = (vms.app == need.app) & (vms.kind == VmKind.PRODUCTION)
        members &= (vms.state == VmState.RUNNING) | (vms.state == VmState.MIGRATING)
        if not members.any():
            return None
        known = self.template(need.app)
        target = 0.7 if known is None else known.target.cpu
        missing = max(need.wanted / target - need.capacity, 0.0) * target
        share = missing / max(need.wanted, 1.0)
        # A member needs memory for itself and for its part of the load. How they divide is not known: the more.
        all_mib = float(vms.usage[members, Resource.MEMORY].sum())
        if view.foreseen[need.app]:
            all_mib = max(all_mib, float(view.memory[need.app, -1]))
        each = all_mib / float(members.sum())
        # As much for each MHz as its owner provisioned: what a surge adds to memory lags behind its load.
        flavour = vms.flavour[members].sum(axis=0)
        memory = max(
            each, share * all_mib, 0.87 * missing / target * float(flavour[1] / max(flavour[0], 1.0))
        )
        lead_s = need.first * self._site.tick_s
        profile = ApplicationProfile("" if known is None else known.application, lead_s, self.hypervisor)
        gpus = float(vms.allocation[members, Resource.GPU].max())
        for split in _SPLITS:
            demand = five([missing / split, max(each, memory / split), 0.0, 0.0, gpus])
            try:
                found = select_template(demand, profile, self._library)
            except TemplateError:
                return None
            if room.ever(found.allocation):
                return Selection(
                    found.template, found.vms * split, found.allocation, found.boot, found.ready_s, found.in_time,
                    found.usd_h * split,
                )  # fmt: skip
        return None

    def _check(self, room: Room) -> None:
        """Once: the least VM of every template that the applications' types ask for fits somewhere."""
        self._checked = True
        for template in {
            t.name: t for a in range(len(self._site.app_kinds)) if (t := self.template(a))
        }.values():
            least = template.limits.least.allocation
            if room.ever(least):
                continue
            most = room.largest()
            for want, has, unit in zip(least, most, _UNITS, strict=True):
                if want > has:
                    raise InputError(
                        f"template {template.name}: expected a host with {want:,.0f} {unit}, found at most {has:,.0f}"
                    )
            raise InputError(f"template {template.name}: expected a host that holds its least VM, found none")
