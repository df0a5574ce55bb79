#include "cloudsim/placement.hpp"

#include <algorithm>
#include <limits>
#include <string>
#include <vector>

#include "cloudsim/errors.hpp"

namespace foreshade::cloudsim {

namespace {

constexpr auto kMaxVms = static_cast<std::size_t>(kHostBandwidthKbps / kVmBandwidthKbps);

// What the VMs placed so far have reserved of one host.
struct Reserved {
    double mips = 0;
    double ram_mb = 0;
    std::size_t n_vms = 0;
};

bool fits(const HostModel& model, const Reserved& reserved, const VmType& type) {
    return model.pe_mips >= type.mips && model.capacity - reserved.mips >= type.mips &&
           reserved.ram_mb + type.ram_mb <= kHostRamMb && reserved.n_vms < kMaxVms;
}

// W that a VM adds to a host, infinite where it does not fit. Less P(0) also where VMs have been placed: no utilisation
// has been computed yet.
double rise(const HostModel& model, const Reserved& reserved, const VmType& type) {
    if (!fits(model, reserved, type)) return std::numeric_limits<double>::infinity();
    return model.power.at((reserved.mips + type.mips) / model.capacity) - model.power.idle();
}

} // namespace

void place_all(Cluster& cluster, Placement rule) {
    const std::size_t n_hosts = cluster.n_hosts();
    std::vector<Reserved> reserved(n_hosts);
    std::vector<double> rises(n_hosts); // for VMs of the type at hand
    for (std::size_t vm = 0; vm < cluster.n_vms(); ++vm) {
        const VmType& type = cluster.type(vm);
        if (vm == 0 || cluster.kind[vm] != cluster.kind[vm - 1])
            for (std::size_t h = 0; h < n_hosts; ++h) rises[h] = rise(cluster.model(h), reserved[h], type);
        const auto fitting = [](double r) { return r < std::numeric_limits<double>::infinity(); };
        const auto chosen = rule == Placement::first_fit ? std::find_if(rises.begin(), rises.end(), fitting)
                                                         : std::min_element(rises.begin(), rises.end());
        if (chosen == rises.end() || !fitting(*chosen))
            throw InputError("placement: VM " + std::to_string(vm) + " (" +
                             std::to_string(static_cast<int>(type.mips)) + " MIPS) fits on none of the " +
                             std::to_string(n_hosts) + " hosts");
        const auto best = static_cast<std::size_t>(chosen - rises.begin());
        reserved[best].mips += type.mips;
        reserved[best].ram_mb += type.ram_mb;
        ++reserved[best].n_vms;
        rises[best] = rise(cluster.model(best), reserved[best], type);
        cluster.host[vm] = static_cast<std::int32_t>(best);
        cluster.append(best, static_cast<std::int32_t>(vm));
    }
}

} // namespace foreshade::cloudsim
