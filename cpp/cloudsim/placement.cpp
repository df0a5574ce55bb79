#include "cloudsim/placement.hpp"

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

} // namespace

void place_all(Cluster& cluster, Placement rule) {
    std::vector<Reserved> reserved(cluster.n_hosts());
    for (std::size_t vm = 0; vm < cluster.n_vms(); ++vm) {
        const VmType& type = cluster.type(vm);
        std::size_t best = cluster.n_hosts();
        double least = 0;
        for (std::size_t h = 0; h < cluster.n_hosts(); ++h) {
            const HostModel& model = cluster.model(h);
            if (!fits(model, reserved[h], type)) continue;
            // P(0), also where VMs have been placed: no utilisation has been computed yet.
            const double rise =
                rule == Placement::first_fit
                    ? 0.0
                    : model.power.at((reserved[h].mips + type.mips) / model.capacity) - model.power.idle();
            if (best == cluster.n_hosts() || rise < least) {
                best = h;
                least = rise;
            }
            if (rule == Placement::first_fit) break;
        }
        if (best == cluster.n_hosts())
            throw InputError("placement: VM " + std::to_string(vm) + " (" +
                             std::to_string(static_cast<int>(type.mips)) + " MIPS) fits on none of the " +
                             std::to_string(cluster.n_hosts()) + " hosts");
        reserved[best].mips += type.mips;
        reserved[best].ram_mb += type.ram_mb;
        ++reserved[best].n_vms;
        cluster.host[vm] = static_cast<std::int32_t>(best);
        cluster.lists[best].push_back(static_cast<std::int32_t>(vm));
    }
}

} // namespace foreshade::cloudsim
