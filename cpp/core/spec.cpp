#include "core/spec.hpp"

#include <cmath>
#include <stdexcept>

namespace foreshade {

namespace {

void require(bool ok, const std::string& what) {
    if (!ok) throw std::invalid_argument(what);
}

bool in_range(std::int32_t index, std::size_t n) {
    return index >= 0 && static_cast<std::size_t>(index) < n;
}

bool not_negative(float x) {
    return std::isfinite(x) && x >= 0.0F;
}

} // namespace

void DataCentre::validate(std::size_t n_ticks) const {
    require(tick_s > 0.0, "tick_s: expected a positive number of seconds");
    require(!hosts.empty(), "hosts: expected at least one");
    for (const auto& model : models) {
        require(model.cores > 0, "server " + model.name + ": expected at least one core");
        for (const float x : model.capacity) require(not_negative(x), "server " + model.name + ": negative capacity");
        require(model.capacity[0] > 0.0F && model.capacity[1] > 0.0F,
                "server " + model.name + ": expected cpu and memory above 0");
        for (const float x : model.power_w) require(not_negative(x), "server " + model.name + ": negative power");
    }
    for (const auto& profile : profiles) {
        for (const float x : profile.efficiency)
            require(x > 0.0F && x <= 1.0F, "hypervisor " + profile.name + ": efficiency outside (0, 1]");
        require(profile.migration_mbit_s > 0.0F,
                "hypervisor " + profile.name + ": migration bandwidth must be positive");
        require(profile.max_concurrent > 0, "hypervisor " + profile.name + ": max_concurrent must be at least 1");
    }
    for (const auto& rack : racks)
        require(racks.size() == 1 || rack.uplink_mbit_s > 0.0F,
                "racks: expected an uplink above 0 Mbit/s where there are several");
    for (const auto& host : hosts) {
        require(in_range(host.model, models.size()), "host: server model out of range");
        require(in_range(host.profile, profiles.size()), "host: hypervisor profile out of range");
        require(in_range(host.rack, racks.size()), "host: rack out of range");
        require(not_negative(host.price_usd_h) && not_negative(host.reclaims_per_h) && not_negative(host.notice_s),
                "host: expected a price, a rate of reclaims and a notice of 0 or more");
    }
    for (const auto& window : maintenance) {
        require(in_range(window.host, hosts.size()), "maintenance: host out of range");
        require(window.end_s > window.start_s, "maintenance: expected an end after the start");
    }
    require(!affinity || affinity->n_hosts() == hosts.size(), "affinity: expected rules about these hosts");
    require(prices.electricity_usd_kwh.size() >= n_ticks, "prices: electricity needs one value per tick");
    require(prices.carbon_g_kwh.empty() || prices.carbon_g_kwh.size() >= n_ticks,
            "prices: carbon needs one value per tick");
    require(prices.pue >= 1.0F, "prices: PUE must be at least 1");
    require(knee > 0.0F && knee < 1.0F, "response: the knee must lie between 0 and 1");
    require(slo_stretch > 1.0F, "response: the stretch must be above 1");
    require(guest_cpu == 0.0F || guest_cpu >= 1.0F, "guest_cpu: expected at least 1, or 0 for any");
    require(failures.mtbf_h >= 0.0 && failures.recall >= 0.0 && failures.recall <= 1.0 && failures.lead_h > 0.0 &&
                failures.false_alarms_per_host_day >= 0.0,
            "failures: a number is out of range");
}

void WorkloadView::prepare(double tick_s) {
    require(gpu_column.size() == n_series, "workload: gpu_column needs one entry per series");
    require(app_members.size() == n_apps() && app_memory_floor.size() == n_apps() && app_offloadable.size() == n_apps(),
            "workload: the columns of the applications differ in length");
    require(vm_flavour.size() == n_vms() * kResources && vm_arrival.size() == n_vms() &&
                vm_departure.size() == n_vms() && vm_credit.size() == n_vms(),
            "workload: the columns of the VMs differ in length");
    for (const auto members : app_members)
        require(members > 0, "workload: expected at least one member of an application");
    for (const auto series : app_series) require(in_range(series, n_series), "workload: series out of range");
    for (const auto app : vm_app) require(in_range(app, n_apps()), "workload: application out of range");
    cumulative_cpu.assign((n_ticks + 1) * n_series, 0.0);
    for (std::size_t k = 0; k < n_ticks; ++k)
        for (std::size_t s = 0; s < n_series; ++s)
            cumulative_cpu[(k + 1) * n_series + s] =
                cumulative_cpu[k * n_series + s] + static_cast<double>(demand[(k * n_series + s) * kDense]) * tick_s;
}

} // namespace foreshade
