"""What a scenario file may say: every key with its unit, range, default and the reason for the default."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
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
from foreshade.envs.affinity import AffinityRule
from foreshade.envs.catalogue.entry import Count, Entry, Factor, NotNegative, Positive, Share
from foreshade.envs.errors import ScenarioError
from foreshade.envs.knobs import MOST_SEED
from foreshade.envs.maintenance import Window, schedule, weekly
from foreshade.envs.scenarios.prices import Prices, known

_CHECKED_S = 5 * 7 * 86_400.0  # for which windows are checked where the workload says how long a run is

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

#: Ten times the largest fleet that was measured (docs/benchmarks.md): more is a slip of the pen, and much memory.
MOST_HOSTS = 100_000


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
    # What an hour of owning one costs, used or not: on every bill, in no decision.
    owned_usd_h: NotNegative = 0.0
    labels: tuple[str, ...] = ()  # that affinity rules ask for

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
    # What a rack's inlet warms for each kW that it draws: hot air that comes back round it. Declared.
    heat_c_per_kw: NotNegative = 0.5
    power_control: bool = True  # whether it can be switched off and on again from afar
    hosts: Annotated[tuple[HostGroup, ...], Field(min_length=1)]


class RentedGroup(HostGroup):
    """Hosts that a cloud rents us by the hour; they stand in a zone of their own, without racks of ours.

    ``reserved`` ones are paid whether they are used or not; ``spot`` ones may be wanted back: VMs that are still
    there when the notice is over are lost. AWS announces that two minutes ahead (EC2 User Guide, "Spot Instance
    interruption notices"), and its Spot Instance Advisor tells of 5 to 20 % of instances interrupted in a month.
    """

    price_usd_h: Positive
    provision_s: Positive = 600.0  # from the order until it can take VMs
    market: Literal["on-demand", "reserved", "spot"] = "on-demand"
    reclaims_per_h: NotNegative = 0.00014  # of spot: a tenth of them in a month
    notice_s: NotNegative = 120.0  # of spot


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


class Thermal(Entry):
    """Air at the racks' inlets: supply plus what a rack's own heat brings back."""

    # ASHRAE, Thermal Guidelines for Data Processing Environments, 2021: 18 to 27 °C recommended
    supply_c: Annotated[float, Field(ge=5, le=45)] = 20.0
    limit_c: Annotated[float, Field(ge=10, le=60)] = 27.0  # beyond which nobody adds load to a rack


class Maintenance(Entry):
    """A window in which hosts are in the hands of people, or in which nothing moves; one of three forms.

    ``start_h`` and ``hours``, ``start`` and ``end``, or ``weekly`` (envs/maintenance.py). The first two are about one
    host, one rack, or neither: a freeze; the third says itself what it is about.
    """

    host: Annotated[int, Field(ge=0)] | None = None
    rack: Annotated[int, Field(ge=0)] | None = None
    freeze: bool = False
    start_h: NotNegative | None = None  # after the scenario's start
    hours: Positive | None = None
    start: Moment | None = None
    end: Moment | None = None
    weekly: str | None = None  # sat 02:00-04:00 Europe/Berlin rack 1
    said: str = ""  # where it is from, for people

    @model_validator(mode="after")
    def _one_form(self) -> Maintenance:
        forms = [("start_h", "hours"), ("start", "end"), ("weekly",)]
        given = [form for form in forms if any(getattr(self, key) is not None for key in form)]
        if len(given) != 1 or any(getattr(self, key) is None for key in given[0]):
            raise ValueError("expected start_h and hours, or start and end, or weekly")
        targets = (self.host is not None) + (self.rack is not None) + self.freeze
        if self.weekly is not None:
            if targets:
                raise ValueError(
                    "expected no host, rack or freeze beside weekly, which says what it is about"
                )
            try:
                weekly(self.weekly)
            except ScenarioError as error:
                raise ValueError(str(error)) from error
        elif targets != 1:
            raise ValueError("expected exactly one of host, rack, freeze")
        return self

    def windows(self, origin: datetime, end: datetime) -> Iterator[Window]:
        """What it comes to from a scenario's start to its end."""
        if self.weekly is not None:
            yield from weekly(self.weekly).between(origin, end)
        elif self.start is not None and self.end is not None:
            yield Window(self.start, self.end, self.host, self.rack, self.said)
        elif self.start_h is not None and self.hours is not None:
            begins = origin + timedelta(hours=self.start_h)
            yield Window(begins, begins + timedelta(hours=self.hours), self.host, self.rack, self.said)


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
    thermal: Thermal = Thermal()
    maintenance: tuple[Maintenance, ...] = ()
    affinity: tuple[AffinityRule, ...] = ()  # which VMs may stand where (envs/affinity.py)
    #: How long one-off jobs may wait for hours in which power is cheap (envs/workloads/deferred.py); 0 = not at all.
    defer_h: Annotated[float, Field(ge=0, le=168)] = 0.0
    actions: tuple[Kind, ...] = ALL_KINDS
    cloudsim: CloudSimRules = CloudSimRules()
    seed: Annotated[int, Field(ge=0, le=MOST_SEED)] = 0

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
        if self.n_hosts + self.n_rented > MOST_HOSTS:
            raise ValueError(f"expected at most {MOST_HOSTS:,} hosts, found {self.n_hosts + self.n_rented:,}")
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
        if self.engine == "cloudsim" and self.affinity:
            raise ValueError("expected no affinity with engine: cloudsim, found some")
        if self.engine == "cloudsim" and self.defer_h:
            raise ValueError("expected no defer_h with engine: cloudsim, found some")
        names = [rule.name for rule in self.affinity]
        if len(set(names)) < len(names):
            raise ValueError(f"expected each name of an affinity rule once, found {names}")
        try:
            windows = self.windows(self.n_ticks or round(_CHECKED_S / self.tick_s))
        except ScenarioError as error:
            raise ValueError(str(error)) from error
        for window in windows:
            if window.host is not None and window.host >= self.n_hosts:
                raise ValueError(f"expected a host below {self.n_hosts} in maintenance, found {window.host}")
            if window.rack is not None and window.rack >= self.n_racks:
                raise ValueError(f"expected a rack below {self.n_racks} in maintenance, found {window.rack}")
        return self

    def usd_kwh(self, n_ticks: int) -> list[float]:
        """Price of a kWh at each tick, its carbon included, before PUE."""
        grid, prices = catalogue.grid(self.prices.grid), self.prices
        times = [self.start + timedelta(seconds=k * self.tick_s) for k in range(n_ticks)]
        return [prices.usd_per_kwh(at) + grid.intensity(at) * 1e-6 * prices.carbon_usd_per_t for at in times]

    def windows(self, n_ticks: int) -> tuple[Window, ...]:
        """Maintenance and freezes of a run of so many ticks, in order; ScenarioError where two overlap."""
        end = self.start + timedelta(seconds=n_ticks * self.tick_s)
        return schedule([window for said in self.maintenance for window in said.windows(self.start, end)])
