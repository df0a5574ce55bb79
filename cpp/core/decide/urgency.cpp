// Who is placed first where not all that wait find a host.
//
// An application of which nobody serves is dark: each hour costs its credit and all that it wants. One more member of
// an application that serves is worth what the others are short of without it.
#include <algorithm>
#include <limits>

#include "core/decide/packer.hpp"

namespace foreshade {

namespace {

constexpr float kNotDark = 0.01F; // of the credit, where others of the application serve

std::size_t at(std::int32_t i) {
    return static_cast<std::size_t>(i);
}

} // namespace

// USD/h that each waiting VM costs while it waits; of a dark application it is the first that brings all.
void Packer::price_waiting(const ClusterState& state) {
    const VmColumns& vms = state.vms;
    const Economy& economy = site_->economy;
    const std::span<const Load> loads = memory_->window().loads();
    urgency_.assign(vms.state.size(), 0.0F);
    std::int32_t last = -1;
    for (const std::int32_t app : vms.app) last = std::max(last, app);
    std::vector<std::int32_t> lights(at(last + 1), -1); // VM that serves, or the smallest of those that wait; -1 = none
    const auto serves = [&](std::size_t v) {
        return vms.kind[v] == VmKind::production &&
               (vms.state[v] == VmState::running || vms.state[v] == VmState::migrating ||
                vms.state[v] == VmState::booting);
    };
    for (std::size_t v = 0; v < vms.state.size(); ++v)
        if (serves(v) && vms.app[v] >= 0) lights[at(vms.app[v])] = static_cast<std::int32_t>(v);
    for (const std::int32_t v : waiting_) {
        const std::int32_t app = vms.app[at(v)];
        const float wanted = economy.unmet_usd_h[0] * loads[at(v)].mean[0];
        const bool dark = app < 0 || lights[at(app)] < 0;
        if (dark && app >= 0) lights[at(app)] = v;
        urgency_[at(v)] = vms.credit[at(v)] * ((dark ? 1.0F : kNotDark) * economy.downtime_usd_h + wanted);
    }
}

// Of each host the VMs that leave their application dark when it fails. VMs with GPUs are left out: memory is not what
// they would wait for.
void Packer::weigh_failures(const ClusterState& state, double dark_h) {
    const VmColumns& vms = state.vms;
    const std::span<const Load> loads = memory_->window().loads();
    constexpr std::int32_t kNone = -1, kSeveral = -2;
    std::int32_t last = -1;
    for (const std::int32_t app : vms.app) last = std::max(last, app);
    std::vector<std::int32_t> only(at(last + 1), kNone); // host of all that serve an application
    for (std::size_t v = 0; v < vms.state.size(); ++v) {
        if (vms.host[v] < 0 || vms.app[v] < 0 || vms.kind[v] != VmKind::production) continue;
        std::int32_t& host = only[at(vms.app[v])];
        host = host == kNone || host == vms.host[v] ? vms.host[v] : kSeveral;
    }
    std::vector<FailureRisk::Host> critical(n_hosts_, {0.0F, 0.0F});
    std::vector<std::uint8_t> counted(only.size(), 0);
    for (std::size_t v = 0; v < vms.state.size(); ++v) {
        const std::int32_t h = vms.host[v];
        if (h < 0 || vms.app[v] < 0 || only[at(vms.app[v])] != h) continue;
        if (counted[at(vms.app[v])] != 0 || vms.allocation[v * kResources + kDense] > 0.0F) continue;
        counted[at(vms.app[v])] = 1; // one of them is enough
        critical[at(h)].mib += vms.allocation[v * kResources + 1] + site_->vm_overhead[1];
        critical[at(h)].usd_h +=
            vms.credit[v] * (site_->economy.downtime_usd_h + site_->economy.unmet_usd_h[0] * loads[v].mean[0]);
    }
    risk_.hosts.clear();
    for (std::size_t h = 0; h < n_hosts_; ++h) {
        const float usd_h = critical[h].usd_h * state.hosts.hazard_per_h[h] * static_cast<float>(dark_h);
        if (critical[h].mib > 0.0F && usd_h > 0.0F) risk_.hosts.push_back({critical[h].mib, usd_h});
    }
}

// The waiting VMs by what each hour of waiting costs for what they take of a host.
void Packer::most_urgent_first() {
    std::stable_sort(waiting_.begin(), waiting_.end(), [this](std::int32_t a, std::int32_t b) {
        return urgency_[at(a)] * size_[at(b)] > urgency_[at(b)] * size_[at(a)];
    });
}

float Packer::usd_h_waiting() const {
    float sum = 0.0F;
    for (const std::int32_t v : waiting_) sum += urgency_[at(v)];
    return sum;
}

} // namespace foreshade
