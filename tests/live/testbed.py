"""The project's own testbed from Python: three libvirt hosts, guests that boot in seconds, a balancer, and load."""

from __future__ import annotations

import ctypes
import os
import subprocess
import threading
import time
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException
from itertools import pairwise
from pathlib import Path
from typing import Any, Self

import libvirt

from foreshade.adapters.clouds import Lease, Node
from foreshade.adapters.haproxy import HaproxyTraffic
from foreshade.adapters.libvirt_world import guest_agent
from foreshade.adapters.libvirt_world.connection import Retries
from foreshade.adapters.libvirt_world.guest_template import identity, named
from foreshade.adapters.libvirt_world.record import Record
from foreshade.adapters.libvirt_world.settings import LibvirtSettings
from foreshade.adapters.libvirt_world.world import LibvirtWorld
from foreshade.adapters.power import PowerReading, PowerState
from foreshade.envs.model.action import Allocation, Boot, spawn
from foreshade.envs.order import Order, Result, Standing

SCRIPT = Path(__file__).with_name("testbed.sh")
STATE = Path(os.environ.get("TESTBED_DIR", "/tmp/foreshade-testbed"))  # noqa: S108 - socket paths must be short
NAMESPACES = f"/run/netns/{os.environ.get('TESTBED_NAME', 'lvtb')}"  # before -h1, -fabric
FRONT = "10.77.0.254"
CORE_MHZ = 1000.0  # what a core is said to be worth, so that allocations are round
APP = "shop"

_CMDLINE = (
    "console=ttyS0 quiet panic=-1 cryptomgr.notests 8250.nr_uarts=1 swiotlb=noforce "
    "memhp_default_state=online_movable"
)


def script(*words: str, timeout_s: float = 300.0) -> str:
    """One command of ``testbed.sh``; what it printed."""
    done = subprocess.run(
        [str(SCRIPT), *words],
        env={**os.environ, "TESTBED_DIR": str(STATE)},
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )
    if done.returncode != 0:
        raise RuntimeError(
            f"testbed.sh {' '.join(words)}: status {done.returncode}: {done.stderr.strip()[-2000:]}"
        )
    return done.stdout


def guest_xml(
    *, micro: bool = False, memory_mib: int = 192, vcpus: int = 2, plug_mib: int = 0, disk: str = ""
) -> str:
    """A guest by direct kernel boot, with agent and balloon; its address follows from its MAC address.

    Args:
        micro: of the machine type microvm.
        memory_mib: that it boots with.
        vcpus: that it may have at most; one is plugged.
        plug_mib: size of a virtio-mem device; 0 = none.
        disk: path of a raw image; "" = it has none.

    """
    address = "<address type='virtio-mmio'/>" if micro else ""
    kernel, initrd = STATE / "guest/vmlinuz", STATE / "guest/initramfs.cpio"
    parts = [
        "<interface type='bridge'><source bridge='br0'/><model type='virtio'/>"
        + (address or "<rom enabled='no'/>")
        + "</interface>",
        f"<controller type='virtio-serial' index='0'>{address}</controller>",
        "<channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0'/></channel>",
        "<serial type='file'><source path='/var/log/libvirt/template.console'/></serial>",
    ]
    if micro:
        parts += ["<controller type='usb' model='none'/>", "<memballoon model='none'/>"]
    else:
        parts.append("<memballoon model='virtio'><stats period='1'/></memballoon>")
        parts.append("<controller type='pci' index='0' model='pcie-root'/>")
        parts += ["<controller type='pci' model='pcie-root-port'/>"] * 8
    most = numa = ""
    if plug_mib:
        most = f"<maxMemory slots='4' unit='MiB'>{memory_mib + 1024}</maxMemory>"
        numa = f"<cpu><numa><cell id='0' cpus='0-{vcpus - 1}' memory='{memory_mib}' unit='MiB'/></numa></cpu>"
        parts.append(
            f"<memory model='virtio-mem'><target><size unit='MiB'>{plug_mib}</size><node>0</node>"
            "<block unit='KiB'>2048</block><requested unit='MiB'>0</requested></target></memory>"
        )
    if disk:
        parts.append(
            f"<disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='{disk}'/>"
            "<target dev='vda' bus='virtio'/></disk>"
        )
    cmdline = _CMDLINE + (" tsc_early_khz=2000000" if micro else "")
    return f"""<domain type='qemu'><name>template</name>{most}
  <memory unit='MiB'>{memory_mib + plug_mib}</memory><currentMemory unit='MiB'>{memory_mib}</currentMemory>
  <vcpu current='1'>{vcpus}</vcpu>
  <os><type arch='x86_64' machine='{"microvm" if micro else "q35"}'>hvm</type>
    <kernel>{kernel}</kernel><initrd>{initrd}</initrd><cmdline>{cmdline}</cmdline></os>
  <features><acpi/></features>{numa}<clock offset='utc'/>
  <on_poweroff>destroy</on_poweroff><on_crash>destroy</on_crash>
  <devices><emulator>/usr/bin/qemu-system-x86_64</emulator>{"".join(parts)}</devices></domain>
"""


class Testbed:
    """Raised by ``raise_testbed``; everything in it is this project's own."""

    __test__ = False

    def __init__(self, n_hosts: int) -> None:
        self.n_hosts = n_hosts
        self.hosts = tuple(f"h{i}" for i in range(1, n_hosts + 1))
        self.web = STATE / "web.xml"
        self.micro = STATE / "micro.xml"
        self.web.write_text(guest_xml())
        self.micro.write_text(guest_xml(micro=True, memory_mib=96, vcpus=1))

    def uri(self, host: str) -> str:
        """Of a host, as this process reaches it."""
        return f"qemu+unix:///system?socket={STATE}/{host}/run/libvirt-sock"

    def settings(self, **changes: Any) -> LibvirtSettings:
        """The cluster as an operator would write it."""
        said: dict[str, Any] = {
            "hosts": tuple(
                {
                    "name": host,
                    "uri": self.uri(host),
                    "peer_uri": f"qemu+tcp://10.77.0.{host[1:]}/system",
                    "rack": f"rack-{host}",
                    "cores": 2,
                    "mhz": CORE_MHZ / 0.98,  # KVM's profile leaves guests 98 %
                    "memory_mib": 2048.0,
                    "shared_machine": True,
                    "power": {"redfish": "http://testbed", "resource": f"/{host}", "proven": True},
                    "saves": "/var/lib/libvirt",
                    "saves_here": f"{STATE}/{host}/lib",
                }
                for host in self.hosts
            ),
            "templates": {
                "web": {
                    "domain": str(self.web),
                    "microvm": str(self.micro),
                    "saved": "web.save",
                    "address": "10.77.{e}.{f}",
                    "readdress": ("/bin/readdress", "{mac}"),
                    "least_mib": 96.0,
                    "stop_s": 5.0,
                }
            },
            "apps": {APP: {"template": "web", "traffic": "app", "offloadable": 0.5}},
            "traffic": {"haproxy": str(STATE / "lb/admin.sock"), "settle_s": 0.5, "drain_s": 5.0},
            "migration": {"bandwidth_mib_s": 1024.0},
            "mac_prefix": "52:54:00:4d",
            "tick_s": 10.0,
            "timeouts": {"stale": 30.0},
        }
        return LibvirtSettings.model_validate({**said, **changes})

    def host_settings(self, **changes: dict[str, Any]) -> tuple[dict[str, Any], ...]:
        """The hosts of ``settings``, some of them changed."""
        return tuple(host.model_dump() | changes.get(host.name, {}) for host in self.settings().hosts)

    def world(self, *, power: bool = False, rented: bool = False, **changes: Any) -> LibvirtWorld:
        """A world on it, with the balancer, and with the hosts' power and one to rent where that is wanted."""
        clouds = {self.rentable: TestbedCloud()} if rented else {}
        if rented:
            changes["hosts"] = (*self.host_settings(), self._to_rent())
        settings = self.settings(**changes)
        traffic = None
        if settings.traffic is not None:
            traffic = HaproxyTraffic(settings.traffic.haproxy)
        powers = {host: TestbedPower(host) for host in self.hosts} if power else None
        return LibvirtWorld(
            settings, traffic=traffic, powers=powers, clouds=clouds, retries=Retries(first_s=0.2, most_s=1.0)
        )

    @property
    def rentable(self) -> str:
        """Name of the host that is rented: the next number."""
        return f"h{self.n_hosts + 1}"

    def _to_rent(self) -> dict[str, Any]:
        own = self.host_settings()[0]
        return own | {
            "name": self.rentable,
            "uri": f"qemu+unix:///system?socket={STATE}/{{address}}/run/libvirt-sock",
            "peer_uri": f"qemu+tcp://10.77.0.{self.rentable[1:]}/system",
            "saves_here": f"{STATE}/{self.rentable}/lib",
            "power": None,
            "cloud": {"provider": "testbed", "size": "one", "image": "libvirt"},
            "price_usd_h": 0.1,
        }

    def connect(self, host: str) -> Any:
        """A connection of the test's own."""
        return libvirt.open(self.uri(host))

    @staticmethod
    def is_up(host: str) -> bool:
        """Whether a host has power."""
        return (STATE / host / "run/libvirt-sock").exists()

    def sweep(self) -> None:
        """No guests, all hosts on but none rented, and a balancer that knows none."""
        if self.is_up(self.rentable):
            TestbedCloud().give_back(self.rentable)
        for host in self.hosts:
            if not self.is_up(host):
                script("start", host[1:])
            conn = self.connect(host)
            for domain in conn.listAllDomains():
                if domain.isActive():
                    domain.destroy()
                if domain.isPersistent():
                    domain.undefineFlags(libvirt.VIR_DOMAIN_UNDEFINE_MANAGED_SAVE)
            conn.close()
        traffic = HaproxyTraffic(str(STATE / "lb/admin.sock"))
        for name in traffic.servers("app"):
            traffic.remove("app", name)

    def running(self) -> dict[str, str]:
        """Active domains by name, with their host; a name that runs twice is an error."""
        found: dict[str, str] = {}
        for host in filter(self.is_up, self.hosts):
            conn = self.connect(host)
            for domain in conn.listAllDomains(libvirt.VIR_CONNECT_LIST_DOMAINS_ACTIVE):
                assert domain.name() not in found, (
                    f"{domain.name()} runs on {host} and {found[domain.name()]}"
                )
                found[domain.name()] = host
            conn.close()
        return found

    def park(self) -> None:
        """Make the saved template of every host: a guest with its card down, saved while it runs."""
        missing = [host for host in self.hosts if not (STATE / host / "lib/web.save").exists()]
        if not missing:
            return
        conn = self.connect(missing[0])
        who = identity("parked", "52:54:00:4d")
        root = named(self.web.read_text(), who, Record(APP))
        domain = conn.createXML(ET.tostring(root, encoding="unicode"), 0)
        until(lambda: guest_agent.answers(domain, 2), 60.0)
        guest_agent.run(domain, ("/bin/sh", "-c", "ip link set eth0 down"), 3)
        image = STATE / missing[0] / "lib/web.save"
        domain.save("/var/lib/libvirt/web.save")
        conn.close()
        for host in missing[1:]:
            (STATE / host / "lib/web.save").write_bytes(image.read_bytes())


class TestbedCloud:
    """Rents the testbed's next host: another machine with its own libvirt, which is there once it has booted."""

    __test__ = False

    @staticmethod
    def _ordered(name: str) -> Path:
        return STATE / f"{name}.ordered"

    def node(self, name: str) -> Node:
        """By its libvirt, and by whether it was ordered."""
        if Testbed.is_up(name):
            return Node(name, Lease.THERE, name)
        return Node(name, Lease.COMING if self._ordered(name).exists() else Lease.NONE)

    def order(self, name: str) -> None:
        """Boot it."""
        self._ordered(name).touch()
        script("start", name[1:])

    def give_back(self, name: str) -> None:
        """Its power goes, and what is on it."""
        script("kill", name[1:])
        self._ordered(name).unlink(missing_ok=True)


class TestbedPower:
    """A host's power by the testbed's script: off is a power failure, on boots it again."""

    __test__ = False

    def __init__(self, host: str) -> None:
        self.host = host

    def read(self) -> PowerReading:
        """Whether its processes are there."""
        up = any(line.startswith(f"{self.host} up") for line in script("status").splitlines())
        return PowerReading(PowerState.ON if up else PowerState.OFF, None, None, time.monotonic())

    def on(self) -> None:
        """Start it."""
        script("start", self.host[1:])

    def off(self, *, force: bool = False) -> None:
        """End every process of it."""
        script("kill", self.host[1:])


@contextmanager
def raise_testbed(n_hosts: int = 3) -> Iterator[Testbed]:
    """Three hosts until the end of the block."""
    script("up", str(n_hosts))
    try:
        yield Testbed(n_hosts)
    finally:
        if not os.environ.get("TESTBED_KEEP"):
            script("down")


def until(reached: Callable[[], object], limit_s: float, step_s: float = 0.05) -> float:
    """Wait until it is so; the seconds it took."""
    begun = time.monotonic()
    while time.monotonic() - begun < limit_s:
        if reached():
            return time.monotonic() - begun
        time.sleep(step_s)
    raise AssertionError(f"not within {limit_s:.0f} s")


def settled(world: LibvirtWorld, order: Order, limit_s: float = 90.0) -> Result:
    """Carry out, and wait for what goes on by itself."""
    result = world.carry_out(order, limit_s)
    end = time.monotonic() + limit_s
    while result.standing is Standing.UNDER_WAY and time.monotonic() < end:
        result = world.carry_out(order, end - time.monotonic())
    return result


#: Of a guest of the shop, unless a test wants another.
SIZE = (1000.0, 160.0, 0.0, 0.0, 0.0)


def spawned(
    world: LibvirtWorld,
    host: int,
    key: str = "",
    *,
    size: Allocation = SIZE,
    boot: Boot = Boot.RESTORED,
) -> Order:
    """A guest of the first application that serves on a host; the order that made it."""
    world.observe()
    order = world.order(spawn(0, host, size, boot), key or f"guest-{host}-{time.time()}")
    result = settled(world, order)
    assert result.standing is Standing.DONE, result
    world.observe()
    return order


# -- load from inside the fabric --

_CLONE_NEWNET = 0x40000000


def enter_fabric() -> None:
    """This thread's sockets are in the fabric's network namespace from now on."""
    with Path(f"{NAMESPACES}-fabric").open() as namespace:
        if ctypes.CDLL(None, use_errno=True).setns(namespace.fileno(), _CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), f"setns {namespace.name}")


def get(host: str, path: str = "/", timeout_s: float = 5.0, port: int = 80) -> str:
    """One request on a connection of its own, from a thread that entered the fabric."""
    wire = HTTPConnection(host, port, timeout=timeout_s)
    try:
        wire.request("GET", path)
        reply = wire.getresponse()
        text = reply.read().decode()
        if reply.status != 200:
            raise OSError(f"status {reply.status}")
        return text.strip()
    except HTTPException as error:
        raise OSError(str(error)) from error
    finally:
        wire.close()


def in_fabric(act: Callable[[], Any]) -> Any:
    """Do something in a thread that is in the fabric; its value."""
    box: list[Any] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            enter_fabric()
            box.append(act())
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(120.0)
    if errors:
        raise errors[0]
    return box[0]


@dataclass(slots=True)
class Load:
    """A steady HTTP load through the balancer; every request is counted."""

    rate_per_s: float
    path: str = "/"
    timeout_s: float = 5.0
    workers: int = 4
    served: Counter[str] = field(default_factory=Counter)
    failed: list[str] = field(default_factory=list)
    times: list[tuple[float, float]] = field(
        default_factory=list
    )  # (end, seconds) of every one that was served
    _stop: threading.Event = field(default_factory=threading.Event)
    _threads: list[threading.Thread] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __enter__(self) -> Self:
        for number in range(self.workers):
            thread = threading.Thread(target=self._run, args=(number,), daemon=True)
            thread.start()
            self._threads.append(thread)
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(30.0)

    @property
    def sent(self) -> int:
        """Requests that ended, well or not."""
        return sum(self.served.values()) + len(self.failed)

    @property
    def longest_gap_s(self) -> float:
        """Longest time without a served request."""
        ends = sorted(end for end, _ in self.times)
        return max((b - a for a, b in pairwise(ends)), default=0.0)

    def share(self, since_s: float = 0.0) -> Mapping[str, float]:
        """Who served how much."""
        whole = sum(self.served.values()) or 1
        return {name: count / whole for name, count in self.served.items()}

    def _run(self, number: int) -> None:
        enter_fabric()
        pause = self.workers / self.rate_per_s
        due = time.monotonic() + pause * number / self.workers
        while not self._stop.wait(max(0.0, due - time.monotonic())):
            due = max(due + pause, time.monotonic() - pause)
            begun = time.monotonic()
            try:
                who = get(FRONT, self.path, self.timeout_s, 8080)
                with self._lock:
                    self.served[who] += 1
                    self.times.append((time.monotonic(), time.monotonic() - begun))
            except OSError as error:
                with self._lock:
                    self.failed.append(f"{time.monotonic():.2f} {type(error).__name__}: {error}")
