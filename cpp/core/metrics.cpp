#include "core/metrics.hpp"

namespace foreshade {

void Totals::add(const Totals& o) {
    host_j += o.host_j;
    rack_j += o.rack_j;
    for (std::size_t r = 0; r < kResources; ++r) {
        demand[r] += o.demand[r];
        unmet[r] += o.unmet[r];
    }
    late += o.late;
    migration_unmet += o.migration_unmet;
    on_s += o.on_s;
    overloaded_s += o.overloaded_s;
    used_cpu += o.used_cpu;
    capacity_cpu += o.capacity_cpu;
    dark_s += o.dark_s;
    downtime_s += o.downtime_s;
    migrations += o.migrations;
    migrations_failed += o.migrations_failed;
    host_shutdowns += o.host_shutdowns;
    host_boots += o.host_boots;
    host_failures += o.host_failures;
    hosts_reclaimed += o.hosts_reclaimed;
    crashed_s += o.crashed_s;
    oom_kills += o.oom_kills;
    sla_violations += o.sla_violations;
    spawned += o.spawned;
    scheduled += o.scheduled;
    refused += o.refused;
    for (std::size_t c = 0; c < kCostTerms; ++c) cost[c] += o.cost[c];
}

} // namespace foreshade
