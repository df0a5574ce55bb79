"""What things cost in a scenario, in USD, and why the defaults are what they are.

The credit for demand that was not met is the public price of the capacity times ``CREDIT_FACTOR``.
Capacity prices follow from on-demand list prices of one cloud (us-east-1, Linux): c5, m5 and r5.xlarge
cost 0.17, 0.192 and 0.252 USD/h for 4 vCPUs with 8, 16 and 32 GiB, so a GiB is worth 0.00275 to 0.00375 and
a vCPU 0.035 USD/h; with 2.5 GHz to a vCPU that is 0.014 USD per GHz-hour.
The published SLA gives back 10, 30 and 100 % of a VM's price below 99.5, 99 and 95 % (aws-compute-instance):
per unit of what was missed never less than 6 times its price up to 5 % missed. A factor of 6 is thus the
largest straight line that stays below the schedule from 0.5 to 5 %. At these defaults half a GHz short for
an hour (0.1 to 0.3 % of a host) costs what the host's electricity costs: chronic overload never pays.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Any

from pydantic import AfterValidator, Field

from foreshade.envs import catalogue
from foreshade.envs.catalogue.entry import Entry, Factor, NotNegative
from foreshade.envs.errors import ScenarioError

CREDIT_FACTOR = 6.0


def known(name: str, find: Callable[[str], Any]) -> str:
    """``name`` if the catalogue has it; pydantic wants the refusal as ValueError."""
    try:
        find(name)
    except ScenarioError as error:
        raise ValueError(str(error)) from error
    return name


TariffName = Annotated[str, AfterValidator(lambda name: known(name, catalogue.tariff))]
GridName = Annotated[str, AfterValidator(lambda name: known(name, catalogue.grid))]


class Unmet(Entry):
    """Credit for an hour of demand that was not met, at credit 1 of the VM."""

    cpu_usd_per_ghz_h: NotNegative = 0.014 * CREDIT_FACTOR  # see the module
    memory_usd_per_gib_h: NotNegative = 0.00375 * CREDIT_FACTOR  # r5 over m5
    # gp3 volumes: 0.04 USD a month for each MiB/s
    disk_usd_per_mib_s_h: NotNegative = 5.5e-5 * CREDIT_FACTOR
    # m5n over m5: 0.046 USD/h for 2,850 Mbit/s more of baseline bandwidth
    network_usd_per_mbit_h: NotNegative = 1.6e-5 * CREDIT_FACTOR
    # g5.xlarge (1.006 USD/h) less a c5 of its vCPUs and memory
    gpu_usd_per_gpu_h: NotNegative = 0.81 * CREDIT_FACTOR


class Prices(Entry):
    """What the reward is made of."""

    electricity: TariffName | NotNegative = "us-va-commercial"  # a tariff's name, or USD per kWh
    grid: GridName = "miso"  # whose carbon intensity counts
    carbon_usd_per_t: NotNegative = 0.0  # nobody pays it in most places
    pue: Factor = Field(default_factory=lambda: catalogue.site().pue)
    unmet: Unmet = Unmet()
    late_usd_per_ghz_h: NotNegative = 0.014  # work served beyond the SLO's stretch is given back at its price
    # A VM that is down is charged as if its 4 vCPUs and 16 GiB (m5.xlarge, 0.192 USD/h) were unmet.
    downtime_usd_per_h: NotNegative = 0.192 * CREDIT_FACTOR
    # declared: breaks ties against churn; a migration's downtime and slow-down are charged apart
    migration_usd: NotNegative = 0.001
    # declared: a server of 10,000 USD over five years loses 0.0038 USD a minute; a cycle wears like two
    boot_usd: NotNegative = 0.0076

    @property
    def capacity_usd_h(self) -> tuple[float, float, float, float, float]:
        """Public price of an hour of capacity: USD per MHz, MiB, MiB/s, Mbit/s and GPU; see the module."""
        u = self.unmet
        return (
            u.cpu_usd_per_ghz_h / 1000.0 / CREDIT_FACTOR,
            u.memory_usd_per_gib_h / 1024.0 / CREDIT_FACTOR,
            u.disk_usd_per_mib_s_h / CREDIT_FACTOR,
            u.network_usd_per_mbit_h / CREDIT_FACTOR,
            u.gpu_usd_per_gpu_h / CREDIT_FACTOR,
        )

    def usd_per_kwh(self, when: datetime) -> float:
        """Price of electricity at a site's local time, before PUE."""
        if isinstance(self.electricity, str):
            return catalogue.tariff(self.electricity).price(when)
        return self.electricity
