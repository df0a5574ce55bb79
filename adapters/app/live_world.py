"""A live world with its drivers, as the configuration names them."""

from __future__ import annotations

from typing import Literal

from foreshade.adapters.clouds import LibcloudCloud
from foreshade.adapters.haproxy import HaproxyTraffic
from foreshade.adapters.libvirt_world.settings import LibvirtSettings, PowerSettings, PrometheusSettings
from foreshade.adapters.libvirt_world.world import LibvirtWorld
from foreshade.adapters.promql import PromqlMetrics
from foreshade.adapters.redfish import RedfishPower


def open_libvirt_world(settings: LibvirtSettings) -> LibvirtWorld:
    """Hosts, balancer, management controllers and clouds; nothing waits for what is away.

    Raises:
        InputError: a template, a password or a cloud's arguments cannot be read, or a URI is none.
        MissingExtraError: libvirt-python, sushy or libcloud is not installed and would be needed.

    """
    traffic = None
    if settings.traffic is not None:
        traffic = HaproxyTraffic(settings.traffic.haproxy, timeout_s=settings.traffic.timeout_s)
    clouds = {
        host.name: LibcloudCloud(
            host.cloud.provider,
            size=host.cloud.size,
            image=host.cloud.image,
            location=host.cloud.location,
            credentials=host.cloud.credentials_file,
        )
        for host in settings.hosts
        if host.cloud is not None
    }
    return LibvirtWorld(
        settings,
        traffic=traffic,
        powers={host.name: _power(host.power) for host in settings.hosts if host.power is not None},
        rack_powers={
            name: _power(rack.power) for name, rack in settings.racks.items() if rack.power is not None
        },
        clouds=clouds,
        host_metrics=_metrics(settings.prometheus, "hosts"),
        vm_metrics=_metrics(settings.prometheus, "vms"),
    )


def _metrics(said: PrometheusSettings | None, of: Literal["hosts", "vms"]) -> dict[str, PromqlMetrics]:
    """What a monitoring system measures, by metric."""
    if said is None:
        return {}
    return {
        metric: PromqlMetrics(
            said.url,
            one.query,
            seen=one.seen_at,
            label=one.label,
            token_file=said.token_file,
            timeout_s=said.timeout_s,
        )
        for metric, one in getattr(said, of).items()
    }


def _power(said: PowerSettings) -> RedfishPower:
    return RedfishPower(
        said.redfish,
        said.resource,
        user=said.user,
        password_file=said.password_file,
        verify=said.verify,
        timeout_s=said.timeout_s,
    )
