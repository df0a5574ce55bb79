"""Physical and commercial facts with their sources: servers, hypervisors, electricity, carbon, prices."""

from foreshade.envs.catalogue.hypervisors import Hypervisor, hypervisor, hypervisors
from foreshade.envs.catalogue.servers import Server, server, servers
from foreshade.envs.catalogue.sites import (
    Grid,
    Rental,
    SlaSchedule,
    Tariff,
    grid,
    grids,
    read_carbon_csv,
    rental,
    rentals,
    site,
    sla,
    slas,
    tariff,
    tariffs,
)

__all__ = [
    "Grid",
    "Hypervisor",
    "Rental",
    "Server",
    "SlaSchedule",
    "Tariff",
    "grid",
    "grids",
    "hypervisor",
    "hypervisors",
    "read_carbon_csv",
    "rental",
    "rentals",
    "server",
    "servers",
    "site",
    "sla",
    "slas",
    "tariff",
    "tariffs",
]
