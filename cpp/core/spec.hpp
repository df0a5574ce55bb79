// What a simulated data centre is made of: values that stay the same for a whole run. Units and laws: docs/physics.md.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "core/affinity.hpp"
#include "core/resources.hpp"

namespace foreshade {

struct ServerModel {
    std::string name;
    Amounts capacity{};
    int cores = 1;
    std::array<float, 11> power_w{}; // at 0, 10, … 100 % load
    float off_w = 0.0F;
    float sleep_w = 0.0F;
    float boot_w = 0.0F;
    float boot_s = 0.0F;
    float shutdown_s = 0.0F;
    float sleep_enter_s = 0.0F;
    float wake_s = 0.0F;
    float gpu_idle_w = 0.0F; // per GPU
    float gpu_peak_w = 0.0F; // per GPU
};

// How a VM comes up; the order is that of the Python enum Boot, micro-VMs last.
enum class BootPath : std::uint8_t { cold, restored, spare, micro };

struct HypervisorProfile {
    std::string name;
    Amounts efficiency{1.0F, 1.0F, 1.0F, 1.0F, 1.0F};
    float vm_cpu_mhz = 0.0F;       // overhead per standing VM
    float vm_memory_mib = 0.0F;    // overhead per standing VM
    std::array<float, 4> boot_s{}; // by BootPath
    float shutdown_s = 0.0F;       // graceful, of a VM
    bool cpu_up = true, cpu_down = true, memory_up = true, memory_down = true, disk = true, network = true;
    float swap_factor = 20.0F;  // κ
    float oom_overflow = 0.25F; // overflow beyond which the OOM killer acts
    float migration_mbit_s = 1000.0F;
    float migration_setup_s = 0.0F;
    float downtime_limit_s = 0.3F;
    float resume_s = 0.0F;
    int max_rounds = 30;
    int max_concurrent = 2; // migrations a host takes part in
    float migration_cpu_mhz_per_mbit = 0.0F;
    float migration_slowdown = 0.1F;
    float dirty_share_per_s = 0.0F; // δ, of memory in use, at full cpu
    float working_set = 0.0F;       // ω, of memory in use
};

struct Rack {
    std::int32_t zone = 0;
    float overhead_w = 0.0F;
    float uplink_mbit_s = 0.0F;
    float heat_c_per_kw = 0.0F; // what its inlet warms for each kW that it draws
};

struct Host {
    std::int32_t model = 0;
    std::int32_t profile = 0;
    std::int32_t rack = 0;
    Amounts overcommit{1.0F, 1.0F, 1.0F, 1.0F, 1.0F};
    bool rented = false;
    float price_usd_h = 0.0F;
    float provision_s = 0.0F;
    bool committed = false;      // paid by the hour whether it is used or not: reserved, or our own
    float reclaims_per_h = 0.0F; // of a hired host: how often its provider wants it back
    float notice_s = 120.0F;     // from the provider's notice until the host is gone
};

// Prices in USD. Series have one value per tick.
struct Prices {
    std::vector<float> electricity_usd_kwh;
    std::vector<float> carbon_g_kwh;
    float carbon_usd_per_t = 0.0F;
    float pue = 1.0F;
    Amounts unmet_usd_h{}; // per GHz·h, GiB·h, (100 MiB/s)·h, (Gbit/s)·h, GPU·h
    float late_usd_ghz_h = 0.0F;
    float downtime_usd_h = 0.0F;
    float migration_usd = 0.0F;
    float boot_usd = 0.0F;
};

// USD per unit·second of unmet demand at a price of 1, by Resource: from the units of Prices::unmet_usd_h.
inline constexpr Amounts kPriceUnit{1.0F / 1000.0F / 3600.0F, 1.0F / 1024.0F / 3600.0F, 1.0F / 100.0F / 3600.0F,
                                    1.0F / 1000.0F / 3600.0F, 1.0F / 3600.0F};

struct Failures {
    double mtbf_h = 0.0; // 0 = hosts never fail
    double repair_h = 0.0;
    double recall = 0.0;
    double false_alarms_per_host_day = 0.0;
    double lead_h = 1.0;
};

struct MaintenanceWindow {
    std::int32_t host = 0;
    double start_s = 0.0;
    double end_s = 0.0;
};

enum class Scheduler : std::uint8_t { first_fit, best_fit, worst_fit };

struct DataCentre {
    double tick_s = 300.0;
    std::vector<ServerModel> models;
    std::vector<HypervisorProfile> profiles;
    std::vector<Rack> racks;
    std::vector<Host> hosts;
    Prices prices;
    Failures failures;
    std::vector<MaintenanceWindow> maintenance;
    Scheduler scheduler = Scheduler::worst_fit;
    float slo_stretch = 5.0F;
    float knee = 0.8F;
    float guest_cpu = 0.0F; // largest CPU allocation over the flavour: a guest's maximum of vCPUs; 0 = any
    float supply_c = 20.0F; // air that the cooling supplies
    std::shared_ptr<const Affinity> affinity; // null = any VM may stand anywhere
    std::size_t spare_slots = 0;              // VM slots beyond the workload's, for VMs that actions make

    // Throws std::invalid_argument, naming what is wrong, unless every number can be simulated.
    void validate(std::size_t n_ticks) const;
};

// Demand and lives of the workload's VMs. The tables are borrowed and shared by all environments.
struct WorkloadView {
    std::size_t n_ticks = 0;
    std::size_t n_series = 0;
    const float* demand = nullptr; // (n_ticks, n_series, 4)
    std::size_t n_gpu_series = 0;
    const float* gpu = nullptr;             // (n_ticks, n_gpu_series)
    std::vector<std::int32_t> gpu_column;   // (n_series,) column of `gpu`, -1 = none
    std::vector<std::int32_t> app_series;   // (n_apps,)
    std::vector<std::int32_t> app_members;  // (n_apps,)
    std::vector<float> app_memory_floor;    // (n_apps,)
    std::vector<float> app_offloadable;     // (n_apps,)
    std::vector<std::int32_t> vm_app;       // (n_vms,)
    std::vector<float> vm_flavour;          // (n_vms, 5)
    std::vector<std::int32_t> vm_arrival;   // (n_vms,) tick
    std::vector<std::int32_t> vm_departure; // (n_vms,) tick
    std::vector<float> vm_credit;           // (n_vms,)
    std::vector<double> cumulative_cpu;     // (n_ticks + 1, n_series) MHz·s, filled by prepare()

    std::size_t n_vms() const { return vm_app.size(); }
    std::size_t n_apps() const { return app_series.size(); }

    // Sums the demand over time; call once, before the view is shared. Throws std::invalid_argument on bad indices.
    void prepare(double tick_s);
};

} // namespace foreshade
