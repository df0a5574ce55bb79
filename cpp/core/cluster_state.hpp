// What an operator can know of a cluster at one instant, as a structure of arrays.
//
// The simulator fills it from its hidden truth, a live adapter from telemetry; candidates, features and scores are
// computed from it alone. Amounts are row-major (n, 5) in the order and units of Resource.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "core/episode.hpp"
#include "core/resources.hpp"

namespace foreshade {

enum class HostState : std::uint8_t {
    off,           // no power but the management controller's
    booting,       // power on, not yet able to hold VMs
    on,            // holds VMs
    shutting_down, // on its way to off
    asleep,        // suspended to memory
    waking,        // on its way from asleep to on
    failed,        // broken, under repair
    unrented,      // a cloud host that we do not pay for
    renting,       // ordered from the cloud, not yet there
    maintenance,   // powered, in the hands of people
};

enum class VmState : std::uint8_t {
    absent,    // the slot is free, or the VM has left
    pending,   // requested, no host yet
    booting,   // on a host, not yet serving
    running,   // serving
    migrating, // serving on its source while being copied to its destination
    stopping,  // shutting down gracefully, no longer serving
    paused,    // a warm spare: holds memory, serves nothing
    failed,    // lost its host; waits to be restarted
};
inline constexpr std::size_t kVmStates = 8;

inline bool is_waiting(VmState state) { // for a host
    return state == VmState::pending || state == VmState::failed;
}

enum class VmKind : std::uint8_t {
    production,
    shadow, // warm clone of a production VM at a fraction of its allocation
    micro,  // small, short-lived helper of an application
};

struct HostColumns {
    std::vector<float> capacity;   // (n_hosts, 5) usable
    std::vector<float> allocated;  // (n_hosts, 5) sum of allocations and of VMs' memory overhead, arriving VMs included
    std::vector<float> usage;      // (n_hosts, 5) what its VMs and the hypervisor get
    std::vector<float> overcommit; // (n_hosts, 5) limit of allocated / capacity
    std::vector<float> contention; // (n_hosts,) share of wanted CPU time spent waiting
    std::vector<float> power_w;    // (n_hosts,)
    std::vector<float> idle_w;     // (n_hosts,) P(0)
    std::vector<float> peak_w;     // (n_hosts,) P(1)
    std::vector<float> boot_s;     // (n_hosts,) off to on
    std::vector<float> price_usd_h;       // (n_hosts,) hire of a cloud host, 0 of our own
    std::vector<float> hazard_per_h;      // (n_hosts,) observed failure hazard
    std::vector<float> hazard_confidence; // (n_hosts,) in [0, 1], how far that is to be believed
    std::vector<float> inlet_c;           // (n_hosts,) air at the inlet of its rack, °C; NaN = not told
    std::vector<float> since_s;           // (n_hosts,) time in this state
    std::vector<float> age_s;             // (n_hosts,) age of the newest sample
    std::vector<std::int32_t> n_vms;      // (n_hosts,) VMs that stand here, arriving ones not counted
    std::vector<std::int32_t> arriving;   // (n_hosts,) VMs being copied to here
    std::vector<std::int32_t> rack;       // (n_hosts,)
    std::vector<std::int32_t> zone;       // (n_hosts,)
    std::vector<std::int32_t> model;      // (n_hosts,) server model
    std::vector<std::int32_t> profile;    // (n_hosts,) hypervisor profile
    std::vector<HostState> state;         // (n_hosts,)
    std::vector<AnomalyLabel> anomaly;    // (n_hosts,) normal where nothing detects

    void resize(std::size_t n);
};

struct VmColumns {
    std::vector<float> flavour;      // (n_vms, 5) provisioned at spawn
    std::vector<float> allocation;   // (n_vms, 5) what it may use now
    std::vector<float> usage;        // (n_vms, 5) what it gets
    std::vector<float> demand;       // (n_vms, 5) estimated from usage and contention
    std::vector<float> contention;   // (n_vms,) share of wanted CPU time spent waiting
    std::vector<float> weight;       // (n_vms,) share of the application's traffic, relative
    std::vector<float> credit;       // (n_vms,) multiplier of the SLA credit
    std::vector<float> since_move_s; // (n_vms,) since its last migration, inf = never
    std::vector<float> age_s;        // (n_vms,) age of the newest sample
    std::vector<float> anomaly_p;    // (n_vms,) conformal p-value of the newest sample, 1 = nothing strange
    std::vector<float> widen; // (n_vms,) at least 1: what a forecast's sigma or upper half-width is multiplied by
    std::vector<std::uint32_t> birth;      // (n_vms,) tells apart the VMs that use one slot in turn
    std::vector<std::int32_t> app;         // (n_vms,) application
    std::vector<std::int32_t> host;        // (n_vms,) where it stands, -1 = nowhere
    std::vector<std::int32_t> destination; // (n_vms,) where it is being copied to, -1 = nowhere
    std::vector<std::int32_t> primary;     // (n_vms,) of a shadow: the VM it stands for, else -1
    std::vector<VmState> state;            // (n_vms,)
    std::vector<VmKind> kind;              // (n_vms,)
    std::vector<AnomalyLabel> anomaly;     // (n_vms,) normal where nothing detects

    void resize(std::size_t n);
};

// What is expected to be wanted, as known at the end of the last tick; horizons count from there, so that the first
// tick to come is horizon 1. A row is one load, which an application's members share by traffic.
struct ForecastColumns {
    std::span<const float> moments;     // (n_horizons, n_rows, 4, 2) mean, standard deviation; empty = no forecast now
    std::span<const float> quantiles;   // (n_rows, 4, n_horizons, n_levels) ascending in the level; empty = not kept
    std::vector<float> levels;          // (n_levels,) ascending in (0, 1)
    std::vector<std::int32_t> horizons; // (n_horizons,) ticks, ascending
    std::vector<std::int32_t> series;   // (n_vms,) row of each VM, -1 = none
    std::vector<float> share;           // (n_vms,) of the row's cpu, disk and network that reaches the VM
    std::vector<float> memory_share;    // (n_vms,) of the row's memory that it needs
    std::shared_ptr<const void> owner;  // of what the spans borrow; a copy of the state keeps it alive

    std::size_t n_rows() const { return horizons.empty() ? 0 : moments.size() / (horizons.size() * kDense * 2); }
    void resize(std::size_t n_vms);
    void clear(); // no forecast for anybody, until told otherwise
};

struct ClusterState {
    double time_s = 0.0;   // since the scenario's start
    std::int64_t tick = 0; // control intervals since the start
    HostColumns hosts;
    VmColumns vms;
    ForecastColumns forecasts;
    std::vector<double> moved_s; // (n_vms,) end of each VM's last migration, in place of since_move_s; empty = not told

    float since_move_s(std::size_t v) const {
        return moved_s.empty() ? vms.since_move_s[v] : static_cast<float>(time_s - moved_s[v]);
    }
    std::size_t n_hosts() const { return hosts.state.size(); }
    std::size_t n_vms() const { return vms.state.size(); }

    // Room for so many hosts and VMs; columns of new ones say what nobody has told yet.
    void resize(std::size_t n_hosts, std::size_t n_vms);
    // Throws std::invalid_argument where a code is none, an index points nowhere, an amount is negative or not a
    // number, or a share is none: what a telemetry adapter may get wrong.
    void validate() const;

    // What a detector beside the world says: labels, p-values and widening of VMs, labels of hosts. Columns that
    // nobody fills stay at normal, 1 and 1. Throws std::invalid_argument, changing nothing, on a wrong length or a
    // value out of range.
    void show_anomalies(std::span<const AnomalyLabel> vm, std::span<const float> vm_p, std::span<const float> vm_widen,
                        std::span<const AnomalyLabel> host);
    // What health signals say: (n_hosts,) failures per hour and confidence in [0, 1]. Throws likewise.
    void show_hazards(std::span<const float> per_h, std::span<const float> confidence);
    // What a forecaster beside the world says; `said` has one entry per VM in series, share and memory_share. Throws
    // likewise.
    void show_forecasts(ForecastColumns said);
};

// VMs of which a state shows more that is new than usage, demand and allocation since it was looked at last, ascending;
// none = all may be new.
using Changed = std::optional<std::span<const std::int32_t>>;

} // namespace foreshade
