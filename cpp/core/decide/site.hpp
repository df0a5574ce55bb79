// What a decision maker is told of a world once, before the first tick; nothing in it knows the future's demand.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <vector>

#include "core/action.hpp"
#include "core/affinity.hpp"
#include "core/decide/assumed.hpp"
#include "core/resources.hpp"

namespace foreshade {

struct Economy {
    std::vector<float> usd_kwh; // (n_ticks,) tariff and carbon at the meter, times PUE; the last holds ever after
    Amounts unmet_usd_h{};      // per MHz·h, MiB·h, (MiB/s)·h, (Mbit/s)·h, GPU·h
    float late_usd_mhz_h = 0.0F;
    float downtime_usd_h = 0.0F;
    float migration_usd = 0.0F;
    float boot_usd = 0.0F;
    float slo_stretch = 2.0F; // response time promised over the unloaded one
};

// What a tick may not touch, by whoever watches beside the planners: churn, maintenance, racks that go dark.
enum class HostBar : std::uint8_t {
    open,
    closed,  // takes no VMs for now
    leaving, // takes none and is to be emptied
};

struct Restraint {
    std::vector<std::uint8_t> fixed; // (n_vms,) 1 = may not migrate; empty = all may
    std::vector<HostBar> hosts;      // (n_hosts,); empty = all are open
};

struct Site {
    float tick_s = 300.0F;
    std::uint32_t capabilities = 0; // bit per ActionKind
    Economy economy;
    std::vector<float> power_w;               // (n_hosts, 11) at 0, 10, … 100 % CPU; 0 where it is a provider's
    std::vector<std::int32_t> cores;          // (n_hosts,) physical
    std::vector<float> off_w;                 // (n_hosts,)
    std::vector<float> sleep_w;               // (n_hosts,) suspended to memory; empty = no host sleeps
    std::vector<float> wake_s;                // (n_hosts,) from asleep to on
    std::vector<float> vm_overhead;           // (n_hosts, 5) what the hypervisor takes for each VM
    std::vector<std::uint8_t> rented;         // (n_hosts,) 1 = a cloud rents it to us by the hour
    std::vector<float> largest_vm;            // (n_hosts,) largest CPU allocation of one VM, MHz; empty = any
    float migration_mbit_s = kMigrationMbitS; // at which memory is copied
    std::vector<float> rack_w;                // (n_racks,) of the rack itself while it is on; empty = not told
    std::vector<float> offloadable; // (n_apps,) share of an application's work that micro-VMs can take; empty = none
    std::shared_ptr<const Affinity> affinity; // null = any VM may stand anywhere

    float guest_cpu = 0.0F; // largest CPU allocation of a VM over its flavour; 0 = any

    bool can(ActionKind kind) const { return (capabilities >> static_cast<unsigned>(kind) & 1U) != 0; }
};

} // namespace foreshade
