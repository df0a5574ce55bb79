// The cluster as an operator of this scenario can know it.
#include <algorithm>
#include <limits>

#include "cloudsim/cloudsim.hpp"

namespace foreshade::cloudsim {

namespace {

// The scenario binds neither memory nor bandwidth once the VMs are placed, and lets CPU be overcommitted.
constexpr float kNoLimit = 1e6F;
constexpr double kMbitPerKbit = 1e-3;

void set(std::vector<float>& column, std::size_t row, Resource resource, double value) {
    column[row * kResources + static_cast<std::size_t>(resource)] = static_cast<float>(value);
}

void add(std::vector<float>& column, std::size_t row, const VmType& type) {
    float* const amounts = column.data() + row * kResources;
    amounts[static_cast<std::size_t>(Resource::cpu)] += static_cast<float>(type.mips);
    amounts[static_cast<std::size_t>(Resource::memory)] += static_cast<float>(type.ram_mb);
    amounts[static_cast<std::size_t>(Resource::network)] += static_cast<float>(kVmBandwidthKbps * kMbitPerKbit);
}

} // namespace

void CloudSim::observe(ClusterState& state) const {
    state.time_s = time_s_;
    state.tick = static_cast<std::int64_t>(step_);
    HostColumns& hosts = state.hosts;
    hosts.resize(n_hosts());
    std::fill(hosts.allocated.begin(), hosts.allocated.end(), 0.0F);
    for (std::size_t h = 0; h < n_hosts(); ++h) {
        const HostModel& model = cluster_.model(h);
        const HostShare& share = cluster_.shares[h];
        set(hosts.capacity, h, Resource::cpu, model.capacity);
        set(hosts.capacity, h, Resource::memory, kHostRamMb);
        set(hosts.capacity, h, Resource::network, kHostBandwidthKbps * kMbitPerKbit);
        std::fill_n(hosts.overcommit.begin() + static_cast<std::ptrdiff_t>(h * kResources), kResources, kNoLimit);
        set(hosts.usage, h, Resource::cpu, share.load);
        const bool on = share.utilisation > 0;
        hosts.contention[h] = share.requested > 0 ? static_cast<float>(share.unmet / share.requested) : 0.0F;
        hosts.power_w[h] = static_cast<float>(options_.full_power ? model.power.peak() : on ? share.power_w : 0.0);
        hosts.idle_w[h] = static_cast<float>(model.power.idle());
        hosts.peak_w[h] = static_cast<float>(model.power.peak());
        hosts.since_s[h] = static_cast<float>(time_s_ - ledger_.changed_at(h));
        hosts.n_vms[h] = 0;
        hosts.arriving[h] = 0;
        hosts.model[h] = static_cast<std::int32_t>(model_of(h));
        hosts.state[h] = on ? HostState::on : HostState::off;
    }

    VmColumns& vms = state.vms;
    vms.resize(n_vms());
    state.forecasts.resize(n_vms()); // nobody's: this scenario has none
    for (std::size_t vm = 0; vm < n_vms(); ++vm) {
        const bool exists = cluster_.host[vm] >= 0;
        const VmType& type = cluster_.type(vm);
        std::fill_n(vms.flavour.begin() + static_cast<std::ptrdiff_t>(vm * kResources), kResources, 0.0F);
        add(vms.flavour, vm, type);
        for (std::size_t r = vm * kResources; r < (vm + 1) * kResources; ++r)
            vms.allocation[r] = exists ? vms.flavour[r] : 0.0F;
        const double request = cluster_.request[vm];
        const double got = cluster_.allocated_to(vm);
        set(vms.usage, vm, Resource::cpu, got);
        set(vms.demand, vm, Resource::cpu, request);
        vms.contention[vm] = request > 0 ? static_cast<float>((request - got) / request) : 0.0F;
        vms.since_move_s[vm] =
            arrived_s_[vm] < 0 ? std::numeric_limits<float>::infinity() : static_cast<float>(time_s_ - arrived_s_[vm]);
        vms.app[vm] = static_cast<std::int32_t>(vm);
        vms.host[vm] = cluster_.host[vm];
        vms.destination[vm] = cluster_.target[vm];
        vms.state[vm] = !exists ? VmState::absent : cluster_.moves[vm] > 0 ? VmState::migrating : VmState::running;
        if (!exists) continue;
        const auto h = static_cast<std::size_t>(cluster_.host[vm]);
        ++hosts.n_vms[h];
        add(hosts.allocated, h, type);
        if (cluster_.target[vm] >= 0) {
            const auto to = static_cast<std::size_t>(cluster_.target[vm]);
            ++hosts.arriving[to];
            add(hosts.allocated, to, type);
        }
    }
}

} // namespace foreshade::cloudsim
