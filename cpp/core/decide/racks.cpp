// Racks as a whole: which should stand, and the emptying of one that need not.
//
// A rack draws power of its own, often more than its hosts. No single host's drain earns it, and room for the VMs of a
// whole rack often has to be woken elsewhere first. So the set of hosts that should stand is sought as a whole, and a
// rack is emptied at once where new places of its VMs, tried one by one, pay for it.
#include <algorithm>

#include "core/decide/packer.hpp"
#include "core/decide/standing.hpp"

namespace foreshade {

namespace {

constexpr std::int64_t kChooseEvery = 12; // ticks between two looks at what should stand
constexpr std::int64_t kLeavesFor = 6;    // ticks in which nothing new comes to a rack that is being emptied
constexpr std::int64_t kTryAgain = 6;     // ticks until a rack that could not be emptied is tried again
constexpr std::size_t kMostTrials = 3;    // racks that are tried in a tick

std::size_t at(std::int32_t i) {
    return static_cast<std::size_t>(i);
}

} // namespace

bool Packer::sees_racks() const {
    return knobs_.whole_racks && knobs_.racks && powered_ && !site_->rack_w.empty();
}

float Packer::rack_usd_h(std::size_t rack) const {
    if (rack >= site_->rack_w.size()) return 0.0F;
    return static_cast<float>(static_cast<double>(site_->rack_w[rack]) * now_usd_kwh_ * 1e-3);
}

// All that VMs want and are promised, and the room that is kept for arrivals.
StandingNeed Packer::standing_need(const ClusterState& state) const {
    StandingNeed need;
    const std::span<const Load> loads = memory_->window().loads();
    const std::span<const float> overhead(site_->vm_overhead); // hypervisors differ little in it
    for (std::size_t v = 0; v < state.n_vms(); ++v) {
        if (state.vms.state[v] == VmState::absent) continue;
        for (std::size_t r = 0; r < kResources; ++r) need.promised[r] += state.vms.allocation[v * kResources + r];
        need.promised[1] += overhead[1];
        for (std::size_t r = 0; r < kDense; ++r) {
            need.demand.mean[r] += loads[v].mean[r] + overhead[r];
            need.demand.variance[r] += loads[v].variance[r];
        }
        need.demand.credit += loads[v].mean[0] * state.vms.credit[v];
    }
    for (std::size_t r = 0; r < kDense; ++r) need.promised[r] += free_.sample[r] * static_cast<float>(free_.count);
    return need;
}

// Puts what should stand first into the order in which hosts are opened.
void Packer::choose_standing(const ClusterState& state) {
    if (!sees_racks() || (chosen_tick_ >= 0 && state.tick - chosen_tick_ < kChooseEvery)) return;
    chosen_tick_ = state.tick;
    const HostColumns& hosts = state.hosts;
    std::vector<std::uint8_t> usable(n_hosts_, 0);
    std::vector<float> limit(n_hosts_ * kResources), racks(n_racks_);
    for (std::size_t h = 0; h < n_hosts_; ++h) {
        const HostState said = hosts.state[h];
        const bool barred = !restraint_.hosts.empty() && restraint_.hosts[h] != HostBar::open;
        const bool shunned = hosts.hazard_per_h[h] > static_cast<float>(knobs_.hazard_per_h);
        if (site_->rented[h] == 0 && said != HostState::failed && said != HostState::maintenance && !barred && !shunned)
            usable[h] = 1;
        for (std::size_t r = 0; r < kResources; ++r)
            limit[h * kResources + r] = hosts.capacity[h * kResources + r] * hosts.overcommit[h * kResources + r];
    }
    for (std::size_t k = 0; k < n_racks_; ++k) racks[k] = rack_usd_h(k);
    Standing choice(*cost_, {usable, hosts.rack, limit, off_usd_h_, racks});
    const StandingNeed need = standing_need(state);
    stands_ = choice.choose(need);
    if (!risk_.hosts.empty()) {
        // With the room that a failure would want, where that costs less than what a failure would cost without it.
        StandingNeed roomy = need;
        roomy.promised[1] += risk_.worth_keeping_mib(0.0F);
        const std::vector<std::uint8_t> other = choice.choose(roomy);
        const auto worth = [&](std::span<const std::uint8_t> stands) {
            return choice.usd_h(stands, need) + risk_.usd_h(choice.free_mib(stands, need));
        };
        if (worth(other) < worth(stands_)) stands_ = other;
    }
    std::stable_sort(order_.begin(), order_.end(), [&](std::int32_t a, std::int32_t b) {
        if (stands_[at(a)] != stands_[at(b)]) return stands_[at(a)] > stands_[at(b)];
        return rank_[at(a)] != rank_[at(b)] ? rank_[at(a)] < rank_[at(b)] : hosts.rack[at(a)] < hosts.rack[at(b)];
    });
}

// Racks that could be emptied: those first that need not stand, and of them what saves most.
std::vector<std::size_t> Packer::racks_to_try(const ClusterState& state) const {
    const HostColumns& hosts = state.hosts;
    struct Rack {
        bool stays = false, can = true, bears = false;
        float hope = 0.0F; // USD over the horizon
    };
    std::vector<Rack> racks(n_racks_);
    for (std::size_t h = 0; h < n_hosts_; ++h) {
        if (site_->rented[h] != 0) continue;
        Rack& rack = racks[at(hosts.rack[h])];
        const HostState said = hosts.state[h];
        const bool between = said == HostState::booting || said == HostState::waking || said == HostState::maintenance;
        if (between || hosts.arriving[h] > 0 || !packing_->settled(static_cast<std::int32_t>(h))) rack.can = false;
        if (!stands_.empty() && stands_[h] != 0) rack.stays = true;
        if (said != HostState::on) continue;
        rack.bears = rack.bears || hosts.n_vms[h] > 0;
        rack.hope += on_usd_h_[h] * static_cast<float>(drain_h_) -
                     static_cast<float>(hosts.n_vms[h]) * site_->economy.migration_usd;
    }
    std::vector<std::size_t> chosen;
    for (std::size_t k = 0; k < n_racks_; ++k) {
        const bool lately = !tried_.empty() && state.tick - tried_[k] < kTryAgain;
        if (ours_[k] == 0 || dark_[k] != 0 || !racks[k].can || !racks[k].bears || lately) continue;
        racks[k].hope += rack_usd_h(k) * static_cast<float>(drain_h_);
        chosen.push_back(k);
    }
    std::sort(chosen.begin(), chosen.end(), [&](std::size_t a, std::size_t b) {
        if (racks[a].stays != racks[b].stays) return racks[b].stays;
        return racks[a].hope != racks[b].hope ? racks[a].hope > racks[b].hope : a < b;
    });
    if (chosen.size() > kMostTrials) chosen.resize(kMostTrials);
    return chosen;
}

// Empties a rack where that pays. Where hosts must be woken for it they are woken first, and it is weighed again once
// they are there.
void Packer::vacate_racks(const ClusterState& state) {
    if (!sees_racks() || !waiting_.empty()) return;
    const HostColumns& hosts = state.hosts;
    tried_.resize(n_racks_, -kTryAgain);
    leaves_until_.resize(n_racks_, -1);
    std::vector<float> cycle(n_hosts_);
    for (std::size_t h = 0; h < n_hosts_; ++h) cycle[h] = cycle_usd_[h] * static_cast<float>(knobs_.boot_weight);
    std::vector<std::uint8_t> bears(n_racks_, 0);
    for (std::size_t h = 0; h < n_hosts_; ++h)
        if (hosts.n_vms[h] > 0 || hosts.arriving[h] > 0) bears[at(hosts.rack[h])] = 1;
    const auto is_spare = [this](std::int32_t h) { return spare_[at(h)] != 0; };
    for (const std::size_t rack : racks_to_try(state)) {
        std::vector<std::int32_t> leaving;
        for (std::size_t h = 0; h < n_hosts_; ++h)
            if (at(hosts.rack[h]) == rack && site_->rented[h] == 0 && hosts.state[h] == HostState::on &&
                hosts.n_vms[h] > 0)
                leaving.push_back(static_cast<std::int32_t>(h));
        std::vector<Opening> openings;          // what is on and empty, then what can be woken
        std::vector<std::uint8_t> paid = bears; // an idle rack is about to go off: its first host brings its power back
        for (const std::int32_t h : order_) {
            const std::size_t its = at(hosts.rack[at(h)]);
            const bool off = std::find(off_hosts_.begin(), off_hosts_.end(), h) != off_hosts_.end();
            if (its == rack || dark_[its] != 0 || (!is_spare(h) && !off)) continue;
            const float more = paid[its] != 0 ? 0.0F : rack_usd_h(its);
            paid[its] = 1;
            openings.push_back({h, on_usd_h_[at(h)] + more, is_spare(h) ? 0.0F : cycle[at(h)]});
        }
        std::stable_partition(openings.begin(), openings.end(), [&](const Opening& o) { return is_spare(o.host); });
        const Vacating plan = packing_->vacate(
            leaving, openings, {off_usd_h_, cycle, rack_usd_h(rack), free_.sample, free_.count, &risk_});
        if (!plan.pays) {
            tried_[rack] = state.tick;
            continue;
        }
        const std::size_t woken = actions_.size();
        for (const std::int32_t h : plan.opened)
            if (!is_spare(h)) power_on(state, h, PackerReason::rack_pays);
        if (actions_.size() > woken) return;
        packing_->carry_out(plan, leaving);
        note_opened();
        leaves_until_[rack] = state.tick + kLeavesFor;
        return;
    }
}

} // namespace foreshade
