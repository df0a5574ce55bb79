// What a run cost and how well it served; defined in docs/physics.md.
#pragma once

#include <array>
#include <cstdint>

#include "core/resources.hpp"

namespace foreshade {

enum class CostTerm : std::uint8_t { energy, carbon, rent, unmet, late, downtime, migration, boot };

inline constexpr std::size_t kCostTerms = 8;
inline constexpr std::array<const char*, kCostTerms> kCostTermNames{"energy", "carbon",   "rent",      "unmet",
                                                                    "late",   "downtime", "migration", "boot"};

using Costs = std::array<double, kCostTerms>; // USD, by CostTerm

// Sums over a tick or a run. Times in s, cpu work in MHz·s, the other resources likewise in unit·s.
struct Totals {
    double host_j = 0.0; // energy at our own hosts
    double rack_j = 0.0; // the racks' own
    std::array<double, kResources> demand{};
    std::array<double, kResources> unmet{};
    double late = 0.0;
    double migration_unmet = 0.0; // part of unmet cpu: slow-down and downtime
    double on_s = 0.0;            // host time on
    double overloaded_s = 0.0;    // of it with more cpu wanted than there is
    double used_cpu = 0.0;        // by VMs and hypervisors
    double capacity_cpu = 0.0;    // of hosts that are on
    double dark_s = 0.0;          // VM time without service
    double downtime_s = 0.0;      // of migrations
    std::int64_t migrations = 0;
    std::int64_t migrations_failed = 0;
    std::int64_t host_shutdowns = 0;
    std::int64_t host_boots = 0;
    std::int64_t host_failures = 0;
    std::int64_t hosts_reclaimed = 0; // hired hosts that their provider took back
    double crashed_s = 0.0;           // VM time between the loss of a host and running again
    std::int64_t oom_kills = 0;
    std::int64_t sla_violations = 0;
    std::int64_t spawned = 0;
    std::int64_t scheduled = 0; // VMs that the world's own scheduler placed
    std::int64_t refused = 0;
    Costs cost{};

    void add(const Totals& other);
};

// What happened in one tick, for plots.
struct TickRecord {
    double time_s = 0.0;
    float host_power_w = 0.0F; // mean
    float rack_power_w = 0.0F;
    float demand_cpu_mhz = 0.0F;
    float used_cpu_mhz = 0.0F;
    float capacity_cpu_mhz = 0.0F; // of hosts on, mean
    float unmet_cpu_mhz = 0.0F;
    float hosts_on = 0.0F; // mean
    std::int32_t migrations = 0;
    float cost_usd = 0.0F;
};

} // namespace foreshade
