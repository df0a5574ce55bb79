"""Servers: capacity, measured power, and what it takes to turn them off and on."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Annotated

from pydantic import Field, model_validator

from foreshade.envs.catalogue.entry import Count, NotNegative, Positive, Sourced, document, lookup
from foreshade.envs.yaml_document import build

#: Load levels at which SPECpower_ssj2008 measures: active idle, then 10 % to 100 % of the calibrated load.
CURVE_POINTS = 11


class Server(Sourced):
    """One model of server as it can be bought.

    ``power_w`` is the published average active power at 0, 10, …, 100 % of the CPU's load, without GPUs:
    each GPU adds between ``gpu_idle_w`` and ``gpu_peak_w``, linear in its utilisation.
    """

    title: str
    available: str  # YYYY-MM or YYYY, hardware availability or first result
    sockets: Count
    cores: Count  # physical cores of all sockets
    mhz: Positive  # nominal clock of one core
    memory_mib: Positive
    disk_mib_s: Positive  # read + write
    network_mbit: Positive  # received + sent
    power_w: Annotated[tuple[Positive, ...], Field(min_length=CURVE_POINTS, max_length=CURVE_POINTS)]
    gpus: Annotated[int, Field(ge=0)] = 0
    gpu_idle_w: NotNegative = 0.0  # per GPU
    gpu_peak_w: NotNegative = 0.0  # per GPU
    off_w: NotNegative  # the management controller alone
    sleep_w: NotNegative  # suspended to memory
    boot_s: Positive
    boot_w: Positive
    shutdown_s: Positive
    shutdown_w: Positive
    sleep_enter_s: Positive
    wake_s: Positive

    @property
    def cpu_mhz(self) -> float:
        """CPU capacity: cores times nominal clock."""
        return self.cores * self.mhz

    @property
    def capacity(self) -> tuple[float, float, float, float, float]:
        """MHz, MiB, MiB/s, Mbit/s, GPUs: a row of the state's host capacity."""
        return (self.cpu_mhz, self.memory_mib, self.disk_mib_s, self.network_mbit, float(self.gpus))

    def power_at(self, load: float, gpu_load: float = 0.0) -> float:
        """Watts at a CPU load in 0..1 and a mean GPU load in 0..1, linear between the measured points."""
        at = min(max(load, 0.0), 1.0) * (CURVE_POINTS - 1)
        below = min(int(at), CURVE_POINTS - 2)
        cpu_w = self.power_w[below] + (self.power_w[below + 1] - self.power_w[below]) * (at - below)
        return cpu_w + self.gpus * (self.gpu_idle_w + (self.gpu_peak_w - self.gpu_idle_w) * gpu_load)

    @model_validator(mode="after")
    def _consistent(self) -> Server:
        if any(b < a for a, b in zip(self.power_w, self.power_w[1:], strict=False)):
            raise ValueError(f"expected power_w to rise with load, found {list(self.power_w)}")
        if self.gpus and not 0 < self.gpu_idle_w <= self.gpu_peak_w:
            raise ValueError(
                f"expected 0 < gpu_idle_w <= gpu_peak_w with {self.gpus} GPUs, "
                f"found {self.gpu_idle_w} and {self.gpu_peak_w}"
            )
        if not self.off_w <= self.sleep_w < self.power_w[0]:
            raise ValueError(
                f"expected off_w <= sleep_w < idle, found {self.off_w}, {self.sleep_w}, {self.power_w[0]}"
            )
        return self


@cache
def servers() -> Mapping[str, Server]:
    """Every server of the catalogue by name."""
    read = document("servers.yaml")
    common = read.value["common"]
    table = {}
    for name, given in read.value["servers"].items():
        sources = {**common["sources"], **given.get("sources", {})}
        merged = {**common, **given, "sources": sources}
        # Transition power follows the curve where no figure of the model's own is published: see "common".
        merged.setdefault("boot_w", given["power_w"][-1])
        merged.setdefault("shutdown_w", given["power_w"][-1])
        table[name] = build(Server, read, merged, ("servers", name))
    return table


def server(name: str) -> Server:
    """One server; ScenarioError lists the known names."""
    return lookup("server", name, servers())
