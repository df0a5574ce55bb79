"""What an operator says of a live cluster: every key with its unit, range, default and the reason for the default."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, model_validator

from foreshade.envs import catalogue
from foreshade.envs.catalogue.entry import Count, Entry, NotNegative, Positive
from foreshade.envs.scenarios.prices import Prices
from foreshade.envs.scenarios.schema import (
    ALL_KINDS,
    HypervisorName,
    Kind,
    Moment,
    Overcommit,
    Response,
    ServerName,
)

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
File = Annotated[Path, BeforeValidator(lambda value: Path(value) if isinstance(value, str) else value)]
Words = tuple[Name, ...]


class PowerSettings(Entry):
    """A host's or rack's management controller, by Redfish."""

    redfish: Annotated[
        str, Field(pattern=r"^https?://")
    ]  # its service root, such as https://bmc-1/redfish/v1
    resource: Annotated[
        str, Field(pattern=r"^/")
    ]  # a host's /redfish/v1/Systems/1, a rack's /redfish/v1/Chassis/1
    user: str = ""
    password_file: File | None = None
    verify: bool = True  # False lets anybody answer in its name
    proven: bool = False  # an operator saw it power on; else it must be seen by us before it may go off
    timeout_s: Positive = 10.0


class CloudSettings(Entry):
    """Where a rented host comes from, as libcloud names it."""

    provider: str  # of libcloud.compute.types.Provider, such as ec2, openstack, hetzner
    credentials_file: File | None = None  # YAML: arguments of the provider's driver
    size: str  # name or id
    image: str  # name or id; libvirt must answer once it has booted
    location: str = ""
    user: str = "root"  # in the URI of the node: qemu+ssh://USER@ADDRESS/system


class HostSettings(Entry):
    """One host. What is not said of its size is asked of libvirt."""

    name: Name  # by which plans, metrics and maintenance know it
    uri: str  # qemu:///system, qemu+ssh://…, qemu+tls://…; with {address} for a rented host
    peer_uri: str = ""  # how the other hosts reach it to migrate guests there; default: uri
    user: str = ""  # of a SASL login
    password_file: File | None = None
    rack: Name = "rack"  # that it stands in
    server: ServerName = "hpe-ml30-gen11"  # whose power curve it has, where nothing measures it
    hypervisor: HypervisorName = "kvm"  # whose profile it begins with
    cores: Count | None = None  # that guests may use
    mhz: Positive | None = None  # of a core
    memory_mib: Positive | None = None  # that guests may use
    disk_mib_s: Positive | None = None  # that its disks move
    network_mbit: Positive | None = None  # of its link
    gpus: Annotated[int, Field(ge=0)] | None = None  # that guests may use
    price_usd_h: NotNegative = 0.0  # of hire, by the hour
    cloud: CloudSettings | None = None
    power: PowerSettings | None = None
    shared_machine: bool = False  # with other hosts of the cluster: node statistics say nothing of this one
    protected: bool = False  # nothing is done to it or to what runs there
    tags: Words = ()  # as actions and rules name it
    #: Folder for saved images as the host sees it, and as this process does; both = guests can be restored there.
    saves: File | None = None
    saves_here: File | None = None

    @model_validator(mode="after")
    def _consistent(self) -> HostSettings:
        if (self.saves is None) != (self.saves_here is None):
            raise ValueError("expected both of saves, saves_here, found one")
        if self.cloud is not None and self.price_usd_h <= 0:
            raise ValueError("expected price_usd_h of a host with cloud, found none")
        if bool(self.user) != (self.password_file is not None):
            raise ValueError("expected both of user, password_file, found one")
        return self


class RackSettings(Entry):
    """A rack's own equipment."""

    zone: Name = "zone"
    overhead_w: NotNegative = Field(default_factory=lambda: catalogue.site().rack_overhead_w)
    uplink_mbit: Positive = Field(default_factory=lambda: catalogue.site().uplink_mbit)
    power: PowerSettings | None = None  # its chassis: power, temperature, and off with its last host


class TemplateSettings(Entry):
    """How a kind of guest comes to be: a domain's XML, of which name, UUID, MAC address and size are replaced."""

    domain: File  # libvirt's domain XML
    microvm: File | None = None  # another, of the machine type microvm, for micro-VMs
    saved: Name | None = None  # name of the saved image in a host's folder ``saves``
    least_mib: NotNegative = 0.0  # memory below which a guest of it does not work
    pool: str = (
        ""  # storage pool in which each guest gets an overlay of its disk's image; "" = disks as they are
    )
    address: str = ""  # of a guest by its MAC aa:bb:cc:dd:ee:ff: "10.77.{e}.{f}"; "" = the agent is asked
    readdress: tuple[str, ...] = ()  # program and arguments in a restored guest, with {mac} and {address}
    port: Annotated[int, Field(ge=1, le=65_535)] = 80
    ready: Literal["traffic", "agent", "running"] = "agent"  # what says that it serves
    boot_s: Positive = 120.0  # a guest that does not serve by then has failed
    stop_s: Positive = 30.0  # for a shutdown by the agent, before it is destroyed


class AppSettings(Entry):
    """An application: whose guests serve one load."""

    template: Name
    traffic: str = ""  # the balancer's name for it; default: the application's
    offloadable: Annotated[float, Field(ge=0, le=1)] = 0.0  # share of its work that micro-VMs can take


class TrafficSettings(Entry):
    """The load balancer."""

    haproxy: str  # its runtime API: path of a UNIX socket, or host:port
    steps: Count = 4  # of a shift; each waits until the guest that gets more is healthy
    settle_s: NotNegative = 1.0  # between steps
    drain_s: Positive = 30.0  # that open requests get before a server is taken out
    timeout_s: Positive = 5.0


#: A PromQL selector of one metric: of its samples ``timestamp()`` tells the time, of anything computed it does not.
_SELECTOR = re.compile(r'[a-zA-Z_:][a-zA-Z0-9_:]*\s*(\{(?:[^{}"]|"(?:[^"\\]|\\.)*")*\})?')


class MetricSettings(Entry):
    """One quantity that a monitoring system measures."""

    query: Annotated[
        str, Field(min_length=1)
    ]  # PromQL, in the unit of its key; one value for each host or VM
    label: Name  # that names the host, or the VM by name or UUID; a port behind it is left out
    seen: str = ""  # PromQL for the Unix time at which each was measured; a plain selector's is known without

    @model_validator(mode="after")
    def _aged(self) -> MetricSettings:
        if not self.seen and not _SELECTOR.fullmatch(self.query.strip()):
            raise ValueError(
                "expected seen, PromQL for the time of the measurement, as query is no plain selector, found none"
            )
        return self

    @property
    def seen_at(self) -> str:
        """The expression with the times of the values."""
        return self.seen or f"timestamp({self.query})"


class PrometheusSettings(Entry):
    """A server that speaks PromQL: while its values are not stale, they stand in the place of libvirt's."""

    url: Annotated[str, Field(pattern=r"^https?://")]
    token_file: File | None = None  # of a bearer token
    timeout_s: Positive = 5.0
    hosts: Mapping[
        Literal["busy", "used_mib", "contention", "power_w"], MetricSettings
    ] = {}  # busy: share of CPUs
    vms: Mapping[
        Literal["cores", "memory_mib", "disk_mib_s", "network_mbit", "contention"], MetricSettings
    ] = {}


class MigrationSettings(Entry):
    """How guests are moved."""

    mode: Literal["peer", "direct", "tunnelled"] = "peer"  # peer goes on when we die
    bandwidth_mib_s: NotNegative = 0.0  # 0 = the hypervisor's default
    downtime_ms: Annotated[int, Field(ge=0)] = 0  # 0 = the hypervisor's default
    auto_converge: bool = False  # slows the guest until it can be moved
    post_copy: bool = False  # a failure then costs the guest
    post_copy_after_s: Positive = 30.0
    copy_disks: bool = False  # where the hosts share no storage
    compressed: bool = False
    parallel: Annotated[int, Field(ge=0, le=16)] = 0
    #: Encrypts the guest's memory on its way, by the certificates of QEMU's configuration; the transport of a
    #: ``peer_uri`` such as qemu+tls carries libvirt's own words alone.
    tls: bool = False

    @model_validator(mode="after")
    def _possible(self) -> MigrationSettings:
        if self.mode == "tunnelled":
            against = [key for key in ("tls", "parallel", "post_copy") if getattr(self, key)]
            if against:
                raise ValueError(f"expected mode peer or direct with {', '.join(against)}, found tunnelled")
        return self


class Timeouts(Entry):
    """Of calls, in seconds."""

    call: Positive = 5.0
    sample: Positive = 5.0  # a host that is slower is shown with its last sample
    agent: Annotated[int, Field(ge=1, le=60)] = 3
    connect: Positive = 10.0  # that the start waits for hosts
    stale: Positive = 900.0  # a host without sample for longer is given nothing to do: three ticks


class LibvirtSettings(Entry):
    """A cluster of libvirt hosts."""

    hosts: Annotated[tuple[HostSettings, ...], Field(min_length=1)]
    racks: Mapping[Name, RackSettings] = {}
    templates: Mapping[Name, TemplateSettings] = {}
    apps: Mapping[Name, AppSettings] = {}
    traffic: TrafficSettings | None = None
    prometheus: PrometheusSettings | None = None
    migration: MigrationSettings = MigrationSettings()
    timeouts: Timeouts = Timeouts()
    overcommit: Overcommit = Overcommit()
    prices: Prices = Prices()
    response: Response = Response()
    actions: tuple[Kind, ...] = ALL_KINDS
    tick_s: Annotated[float, Field(gt=0, le=86_400)] = 300.0
    start: Moment | None = None  # of the prices' local time; default: now, UTC
    mac_prefix: Annotated[str, Field(pattern=r"^([0-9a-f]{2}:){3,4}[0-9a-f]{2}$")] = "52:54:00:46"
    host_reserve_mib: NotNegative = 0.0  # of each host's memory, for the host itself
    proofs: File | None = None  # file in which seen power-ons are kept

    @model_validator(mode="after")
    def _consistent(self) -> LibvirtSettings:
        names = [host.name for host in self.hosts]
        twice = {name for name in names if names.count(name) > 1}
        if twice:
            raise ValueError(f"expected each host once, found {', '.join(sorted(twice))} again")
        unknown = sorted({host.rack for host in self.hosts if self.racks and host.rack not in self.racks})
        if unknown:
            raise ValueError(f"expected racks for every host's rack, found none named {', '.join(unknown)}")
        for name, app in self.apps.items():
            if app.template not in self.templates:
                raise ValueError(f"expected a template of apps.{name}, found none named {app.template!r}")
        return self

    def rack(self, name: str) -> RackSettings:
        """The rack of that name; defaults where the file says nothing of racks."""
        return self.racks.get(name, RackSettings())

    @property
    def ordered_hosts(self) -> tuple[HostSettings, ...]:
        """Own hosts rack by rack, rented ones last: the order of slots."""
        racks = list(self.racks) or list(dict.fromkeys(host.rack for host in self.hosts))
        return tuple(sorted(self.hosts, key=lambda host: (host.cloud is not None, racks.index(host.rack))))
