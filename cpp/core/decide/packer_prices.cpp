// What a packer reckons with in a tick: which hosts are good, what they cost, what a move costs.
#include <algorithm>
#include <cmath>

#include "core/decide/assumed.hpp"
#include "core/decide/packer.hpp"
#include "core/wide.hpp"

namespace foreshade {

namespace {

constexpr float kAlarmH = 2.0F;       // a foreseen failure is announced about this long ahead
constexpr float kOpeningShare = 0.6F; // CPU load at which hosts are ranked for opening
constexpr double kAlike = 1.05;       // hosts whose watts per VM differ by less are about as good
constexpr float kLeastCapacity = 1e-6F;

std::size_t at(std::int32_t i) {
    return static_cast<std::size_t>(i);
}

} // namespace

// Hosts by what they draw at 60 % for the share of the cluster they can hold, the best first.
void Packer::rank_hosts(const ClusterState& state) {
    const HostColumns& hosts = state.hosts;
    float wanted_cpu = 0.0F;
    float wanted_memory = 0.0F;
    for (std::size_t v = 0; v < state.n_vms(); ++v)
        if (state.vms.state[v] != VmState::absent) {
            wanted_cpu += state.vms.allocation[v * kResources];
            wanted_memory += state.vms.allocation[v * kResources + 1];
        }
    wanted_cpu = std::max(wanted_cpu, kLeastCapacity);
    wanted_memory = std::max(wanted_memory, kLeastCapacity);
    const double used = static_cast<double>(wanted_cpu) * static_cast<double>(knobs_.window.prior_mean[0]);
    std::vector<float>& step = rank_;
    step.resize(n_hosts_);
    for (std::size_t h = 0; h < n_hosts_; ++h) {
        const float* capacity = hosts.capacity.data() + h * kResources;
        const double cpu = static_cast<double>(kOpeningShare * capacity[0]) / used;
        const float memory = capacity[1] * hosts.overcommit[h * kResources + 1] / wanted_memory;
        const double held = std::min(cpu, static_cast<double>(memory));
        const double watts = static_cast<double>(cost_->power_w(h, kOpeningShare));
        step[h] = static_cast<float>(std::nearbyint(std::log(std::max(watts / held, 1e-6)) / std::log(kAlike)));
    }
    order_.resize(n_hosts_);
    for (std::size_t h = 0; h < n_hosts_; ++h) order_[h] = static_cast<std::int32_t>(h);
    // Of hosts that are about as good, those of one rack first: an empty rack can go off.
    std::stable_sort(order_.begin(), order_.end(), [&](std::int32_t a, std::int32_t b) {
        return step[at(a)] != step[at(b)] ? step[at(a)] < step[at(b)] : hosts.rack[at(a)] < hosts.rack[at(b)];
    });
    ranked_ = true;
}

// What hosts cost while they are on, while they are off, for a cycle of both, and when they fail.
void Packer::price(const ClusterState& state) {
    const HostColumns& hosts = state.hosts;
    const Economy& economy = site_->economy;
    const auto last = static_cast<std::int64_t>(usd_kwh_.size()) - 1;
    now_usd_kwh_ = usd_kwh_[static_cast<std::size_t>(std::clamp(state.tick, std::int64_t{0}, last))];
    const auto usd_kwh = static_cast<float>(now_usd_kwh_);
    const auto usd_wh = static_cast<float>(now_usd_kwh_ * 1e-3);
    cost_->set_energy_price(usd_kwh);
    float boot_s = 0.0F;
    for (const float x : hosts.boot_s) boot_s = std::max(boot_s, x);
    // The VMs of a host that fails are dark until a host has booted for them.
    const double dark_h = (static_cast<double>(boot_s) + 0.5 * static_cast<double>(site_->tick_s)) / 3600.0;
    const auto outage_usd_vm =
        static_cast<double>(static_cast<float>(static_cast<double>(economy.downtime_usd_h) * dark_h));
    for (std::size_t h = 0; h < n_hosts_; ++h) {
        on_usd_h_[h] = (hosts.idle_w[h] - site_->off_w[h]) * usd_wh;
        off_usd_h_[h] = site_->off_w[h] * usd_wh;
        const float boot_kwh = (hosts.peak_w[h] * hosts.boot_s[h] + hosts.idle_w[h] * kShutdownS) / 3.6e6F;
        cycle_usd_[h] = powered_ ? economy.boot_usd + boot_kwh * usd_kwh : 0.0F;
        outage_usd_[h] = static_cast<double>(hosts.n_vms[h]) * outage_usd_vm;
    }
    free_ = memory_->headroom().needed(state, knobs_.reserve, knobs_.failover, outage_usd_, on_usd_h_);
    risk_.hosts.clear();
    if (!knobs_.urgent || knobs_.failover <= 0.0) return;
    weigh_failures(state, dark_h * knobs_.failover);
    float kept_usd_h = 0.0F, kept_mib = 1.0F;
    for (std::size_t h = 0; h < n_hosts_; ++h) {
        if (hosts.state[h] != HostState::on || hosts.n_vms[h] == 0) continue;
        kept_usd_h += on_usd_h_[h];
        kept_mib += hosts.capacity[h * kResources + 1] * hosts.overcommit[h * kResources + 1];
    }
    free_.failover_mib = static_cast<double>(risk_.worth_keeping_mib(kept_usd_h / kept_mib));
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

// USD of migrating each VM: the declared price, its slow-down and its downtime.
FORESHADE_CLONES void Packer::price_moves(const ClusterState& state) {
    const Economy& economy = site_->economy;
    const std::span<const Load> loads = memory_->window().loads();
    const float dark =
        static_cast<float>(static_cast<double>(economy.downtime_usd_h) * static_cast<double>(kMigrationDowntimeS));
    const auto weight = static_cast<float>(knobs_.move_weight);
    move_usd_.resize(state.n_vms());
    for (std::size_t v = 0; v < move_usd_.size(); ++v) {
        const float seconds = kMigrationSetupS + loads[v].mean[1] * kMbitPerMib / site_->migration_mbit_s;
        const float slowed = kMigrationSlowdown * loads[v].mean[0] * economy.unmet_usd_h[0] * seconds;
        move_usd_[v] = (economy.migration_usd + (slowed + dark) / 3600.0F * state.vms.credit[v]) * weight;
    }
}

// A cycle of off and on, less the outage that emptying a host about to fail avoids, less its part in switching its
// rack off: a share of the rack's power, since the other hosts may stay; the last host of a rack earns the whole.
float Packer::drain_price_usd(const ClusterState& state, std::size_t host) const {
    const float hazard = state.hosts.hazard_per_h[host];
    float outage = 0.0F;
    if (hazard > static_cast<float>(knobs_.hazard_per_h))
        outage = static_cast<float>(static_cast<double>(1.0F - std::exp(-hazard * kAlarmH)) * outage_usd_[host]);
    float rack = 0.0F;
    if (!site_->rack_w.empty() && knobs_.rack_credit > 0.0 && powered_ && knobs_.racks) {
        const std::size_t number = at(state.hosts.rack[host]);
        const double on = static_cast<double>(standing_[number]);
        const double certain = on <= 1.0 ? 1.0 : knobs_.rack_credit / on;
        rack =
            static_cast<float>(static_cast<double>(site_->rack_w[number]) * certain * (now_usd_kwh_ * 1e-3 * drain_h_));
    }
    return cycle_usd_[host] * static_cast<float>(knobs_.boot_weight) - outage - rack;
}

} // namespace foreshade
