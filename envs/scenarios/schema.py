"""What a scenario file may say: every key with its unit, range, default and the reason for the default."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BeforeValidator,
    Field,
    model_validator,
)

from foreshade.envs import catalogue
from foreshade.envs.catalogue.entry import Count, Entry, Factor, NotNegative, Positive, Share
from foreshade.envs.scenarios.prices import Prices, known

#: Kinds of action a scenario can allow; ``wait`` is always allowed.
Kind = Literal["spawn", "despawn", "reshape", "migrate", "microvm", "shadow", "shift", "power", "rent"]
ALL_KINDS: tuple[Kind, ...] = (
    "spawn",
    "despawn",
    "reshape",
    "migrate",
    "microvm",
    "shadow",
    "shift",
    "power",
    "rent",
)


def _moment(value: Any) -> Any:
    """YAML reads an ISO time as datetime or date, a quoted one as str; without an offset it is UTC."""
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            raise ValueError(f"expected an ISO time, found {value!r}") from None
    if isinstance(value, date) and not isinstance(value, datetime):
        value = datetime(value.year, value.month, value.day, tzinfo=UTC)
    if isinstance(value, datetime) and value.tzinfo is None:
        value = value.replace(tzinfo=UTC)
    return value


Moment = Annotated[AwareDatetime, BeforeValidator(_moment)]
ServerName = Annotated[str, AfterValidator(lambda name: known(name, catalogue.server))]
HypervisorName = Annotated[str, AfterValidator(lambda name: known(name, catalogue.hypervisor))]


class HostGroup(Entry):
    """Equal hosts. The keys after ``count`` replace a figure of the catalogue's server."""

    server: ServerName
    hypervisor: HypervisorName = "kvm"
    count: Count = 1  # in each of the group's racks
    cores: Count | None = None
    mhz: Positive | None = None
    memory_mib: Positive | None = None
    disk_mib_s: Positive | None = None
    network_mbit: Positive | None = None
    gpus: Annotated[int, Field(ge=0)] | None = None
    #: The hypervisor's figures in place of the catalogue's, as `foreshade profile learn` writes them.
    figures: catalogue.Hypervisor | None = None

    @property
    def machine(self) -> catalogue.Server:
        """The catalogue's server with this group's replacements."""
        keys = ("cores", "mhz", "memory_mib", "disk_mib_s", "network_mbit", "gpus")
        changes = {key: getattr(self, key) for key in keys if getattr(self, key) is not None}
        base = catalogue.server(self.server)
        return catalogue.Server.model_validate({**base.model_dump(), **changes}) if changes else base

    @property
    def profile(self) -> catalogue.Hypervisor:
        """The hypervisor's figures: the group's own, else the catalogue's."""
        return self.figures or catalogue.hypervisor(self.hypervisor)

    @model_validator(mode="after")
    def _possible(self) -> HostGroup:
        if self.gpus and not catalogue.server(self.server).gpus:
            raise ValueError(f"expected a server whose GPUs' power is known, found {self.server} with gpus")
        return self


class RackGroup(Entry):
    """``racks`` equal racks in one zone; the hosts of a rack stand in the order of ``hosts``."""

    zone: str
    racks: Count = 1
    overhead_w: NotNegative = Field(default_factory=lambda: catalogue.site().rack_overhead_w)
    uplink_mbit: Positive = Field(default_factory=lambda: catalogue.site().uplink_mbit)
    hosts: Annotated[tuple[HostGroup, ...], Field(min_length=1)]


class RentedGroup(HostGroup):
    """Hosts that a cloud rents us by the hour; they stand in a zone of their own, without racks of ours."""

    price_usd_h: Positive
    provision_s: Positive = 600.0  # from the order until it can take VMs


class Overcommit(Entry):
    """Largest sum of allocations over capacity; the hypervisor's own limit also holds."""

    cpu: Factor = 4.0  # usual for mixed enterprise VMs; Nova's default of 16 is for idle ones
    memory: Factor = 1.0  # memory that is promised twice ends in swap
    disk: Factor = 4.0  # a flavour's disk and network are caps, that no provider reserves in full
    network: Factor = 4.0


class Response(Entry):
    """How response time follows contention: it stretches once a host's load passes the knee."""

    slo_stretch: Annotated[float, Field(gt=1)] = 2.0  # response time allowed over the unloaded one
    knee: Annotated[float, Field(gt=0, lt=1)] = 0.8  # load at which queueing begins to show


class Failures(Entry):
    """Hidden host failures, and a hazard signal that foresees some of them; the defaults are declared.

    Of real servers 8 % need a repair in a year (Vishwanath & Nagappan, SoCC 2010): ``mtbf_h`` of 110,000.
    """

    mtbf_h: Positive | None = None  # per host; null = hosts never fail
    repair_h: Positive = 6.0
    recall: Share = 0.6  # share of failures that are foreseen
    false_alarms_per_host_day: NotNegative = 0.01
    lead_h: NotNegative = 2.0  # how long before it a foreseen failure is announced


class Maintenance(Entry):
    """A window in which one host or one rack is in the hands of people."""

    host: Annotated[int, Field(ge=0)] | None = None
    rack: Annotated[int, Field(ge=0)] | None = None
    start_h: NotNegative  # after the scenario's start
    hours: Positive

    @model_validator(mode="after")
    def _one_target(self) -> Maintenance:
        if (self.host is None) == (self.rack is None):
            raise ValueError("expected exactly one of host, rack")
        return self


class CloudSimRules(Entry):
    """What the ``cloudsim`` engine does that no real cluster would."""

    remove_idle: bool = False  # delete for good a VM whose request is exactly 0 at an accounting point
    #: What agents that weigh money are told, as nothing has a price here: kWh that a day's demand left unmet is
    #: worth, and a migration. They move along the front of energy, unmet demand and migrations by these.
    unmet_kwh: Annotated[float, Field(gt=0)] = 6_000.0
    migration_kwh: Annotated[float, Field(ge=0)] = 0.003


class Scenario(Entry):
    """One world to be played: what runs, where, at what prices, and what can go wrong.

    Hosts are numbered in file order: rack group by rack group, rack by rack, host group by host group; the
    rented ones follow. Hours of tariffs and grids are those of ``start``'s own offset: write local time.
    """

    name: Annotated[str, Field(min_length=1)]
    description: str = ""
    engine: Literal["foreshade", "cloudsim"] = "foreshade"
    variants: Mapping[str, Mapping[str, Any]] = {}  # partial overrides, merged key by key
    variant: str = ""  # the variant that was applied; empty for the file as it stands
    start: Moment
    tick_s: Annotated[float, Field(gt=0, le=86_400)] = 300.0
    ticks: Count | None = None
    days: Annotated[float, Field(gt=0, le=3_660)] | None = None
    workload: str | None = None  # e.g. generated:enterprise
    needs: Literal["planetlab", "bitbrains", "google_vms", "alibaba_gpu"] | None = None  # trace not shipped
    overcommit: Overcommit = Overcommit()
    guest_cpu: Factor | None = None  # most CPU over the flavour: what guests are booted with; null = any
    scheduler: Literal["first-fit", "best-fit", "worst-fit"] = "worst-fit"  # spreads, as OpenStack does
    fleet: Annotated[tuple[RackGroup, ...], Field(min_length=1)]
    rented: tuple[RentedGroup, ...] = ()
    prices: Prices = Prices()
    response: Response = Response()
    failures: Failures = Failures()
    maintenance: tuple[Maintenance, ...] = ()
    actions: tuple[Kind, ...] = ALL_KINDS
    cloudsim: CloudSimRules = CloudSimRules()
    seed: Annotated[int, Field(ge=0)] = 0

    @property
    def n_ticks(self) -> int | None:
        """Length in ticks; None = as long as the workload."""
        if self.ticks is not None:
            return self.ticks
        return None if self.days is None else round(timedelta(days=self.days).total_seconds() / self.tick_s)

    @property
    def n_racks(self) -> int:
        """Racks of our own."""
        return sum(group.racks for group in self.fleet)

    @property
    def n_hosts(self) -> int:
        """Hosts of our own, without the rented ones."""
        return sum(group.racks * sum(h.count for h in group.hosts) for group in self.fleet)

    @property
    def n_rented(self) -> int:
        """Hosts that can be rented."""
        return sum(group.count for group in self.rented)

    @model_validator(mode="after")
    def _consistent(self) -> Scenario:
        if self.ticks is not None and self.days is not None:
            raise ValueError("expected one of ticks, days, found both")
        if self.n_ticks == 0:
            raise ValueError(f"expected at least one tick, found days: {self.days} at tick_s: {self.tick_s}")
        if self.workload is None and self.needs is None:
            raise ValueError("expected workload, or needs with the name of a trace, found neither")
        if self.engine == "foreshade" and "cloudsim" in self.model_fields_set:
            raise ValueError("expected no cloudsim rules with engine: foreshade, found some")
        if len(set(self.actions)) < len(self.actions):
            raise ValueError(f"expected each kind of action once, found {list(self.actions)}")
        for window in self.maintenance:
            if window.host is not None and window.host >= self.n_hosts:
                raise ValueError(f"expected a host below {self.n_hosts} in maintenance, found {window.host}")
            if window.rack is not None and window.rack >= self.n_racks:
                raise ValueError(f"expected a rack below {self.n_racks} in maintenance, found {window.rack}")
        return self
