// Hosts and racks that are switched on and off.
#include <algorithm>

#include "core/decide/packer.hpp"

namespace foreshade {

namespace {

constexpr std::size_t kMostRooms = 4;   // waiting VMs that others make room for in a tick
constexpr std::size_t kMostLeavers = 6; // VMs that do so for one

std::size_t at(std::int32_t i) {
    return static_cast<std::size_t>(i);
}

} // namespace

void Packer::power_on(const ClusterState& state, std::int32_t host, PackerReason why) {
    const std::int32_t rack = state.hosts.rack[at(host)];
    Action action;
    action.kind = ActionKind::power;
    action.value = static_cast<float>(PowerTarget::on);
    if (dark_[at(rack)] != 0) {
        dark_[at(rack)] = 0;
        action.rack = rack;
        act(action, why);
        action.rack = -1;
    }
    action.host = host;
    act(action, why);
    off_hosts_.erase(std::find(off_hosts_.begin(), off_hosts_.end(), host));
}

// Powers hosts on for the VMs that wait, for those that crowd, and for those that will come.
void Packer::wake(const ClusterState& state) {
    const HostColumns& hosts = state.hosts;
    const auto limit = [&](std::size_t h) {
        Amounts most;
        for (std::size_t r = 0; r < kResources; ++r)
            most[r] = hosts.capacity[h * kResources + r] * hosts.overcommit[h * kResources + r];
        return most;
    };
    off_hosts_.clear();
    room_hosts_.clear();
    room_.clear();
    for (const std::int32_t h : order_)
        if ((hosts.state[at(h)] == HostState::off || hosts.state[at(h)] == HostState::asleep) &&
            site_->rented[at(h)] == 0)
            off_hosts_.push_back(h);
    if (!restraint_.hosts.empty()) // what is meant to go, or stay, off is woken last
        std::stable_partition(off_hosts_.begin(), off_hosts_.end(),
                              [this](std::int32_t h) { return restraint_.hosts[at(h)] != HostBar::leaving; });
    for (std::size_t h = 0; h < n_hosts_; ++h)
        if ((hosts.state[h] == HostState::booting || hosts.state[h] == HostState::waking) && site_->rented[h] == 0) {
            room_hosts_.push_back(static_cast<std::int32_t>(h));
            room_.push_back(limit(h));
        }
    std::size_t made_room = 0;
    for (const std::int32_t vm : waiting_) {
        const float* need = state.vms.allocation.data() + at(vm) * kResources;
        const auto holds = [need](const Amounts& free) {
            for (std::size_t r = 0; r < kResources; ++r)
                if (free[r] < need[r]) return false;
            return true;
        };
        auto chosen = room_.begin();
        while (
            chosen != room_.end() &&
            !(holds(*chosen) && packing_->permits(vm, room_hosts_[static_cast<std::size_t>(chosen - room_.begin())])))
            ++chosen;
        if (chosen == room_.end()) {
            const auto host = std::find_if(off_hosts_.begin(), off_hosts_.end(), [&](std::int32_t h) {
                return holds(limit(at(h))) && packing_->permits(vm, h);
            });
            if (host == off_hosts_.end()) {
                if (moving_ && made_room++ < kMostRooms) packing_->make_room(vm, kMostLeavers);
                continue;
            }
            room_hosts_.push_back(*host);
            room_.push_back(limit(at(*host)));
            power_on(state, *host, PackerReason::vm_waits);
            chosen = room_.end() - 1;
        }
        for (std::size_t r = 0; r < kResources; ++r) (*chosen)[r] -= need[r];
    }
    if (!restraint_.hosts.empty()) // relief and spare room are no reason to undo what somebody else switches off
        std::erase_if(off_hosts_, [this](std::int32_t h) { return restraint_.hosts[at(h)] == HostBar::leaving; });
    if (!room_.empty() || off_hosts_.empty()) return;
    if (!any_spare() && ((free_.count > 0 && packing_->room_for(free_.sample) * 2 < free_.count) ||
                         static_cast<double>(packing_->free_mib()) < 0.5 * free_.failover_mib)) {
        power_on(state, off_hosts_.front(), PackerReason::room_short);
        return;
    }
    if (!moving_) return;
    if (knobs_.peaks) {
        if (above_ > 0) power_on(state, off_hosts_.front(), PackerReason::crowded);
        return;
    }
    for (std::size_t k = 0; k < std::min(knobs_.wake_trials, off_hosts_.size()); ++k) {
        const std::int32_t host = off_hosts_[k];
        const double price_usd =
            static_cast<double>(on_usd_h_[at(host)]) * horizon_h_ + static_cast<double>(cycle_usd_[at(host)]);
        const float gain = packing_->try_open(host, static_cast<float>(price_usd), kMostMoves, false);
        if (gain <= 0.0F) continue;
        power_on(state, host, PackerReason::relief_pays);
        gain_usd_ += gain;
        break;
    }
}

// Hosts that are empty and stay so, unless the next arrivals would need them.
void Packer::switch_off(const ClusterState& state) {
    if (std::find(empty_.begin(), empty_.end(), std::uint8_t{1}) == empty_.end()) return;
    bool scarce = (free_.count > 0 && packing_->room_for(free_.sample) < free_.count) ||
                  static_cast<double>(packing_->free_mib()) < free_.failover_mib;
    for (auto h = order_.rbegin(); h != order_.rend(); ++h) {
        if (empty_[at(*h)] == 0) continue;
        if (spare_[at(*h)] != 0 && state.tick > 0) {
            if (state.hosts.since_s[at(*h)] < static_cast<float>(knobs_.grace_s)) continue;
            if (scarce) {
                scarce = false; // one host is kept for what comes; the next tick looks again
                continue;
            }
        }
        Action action;
        action.kind = ActionKind::power;
        action.host = *h;
        action.value = static_cast<float>(PowerTarget::off);
        act(action, PackerReason::empty);
    }
}

// Racks none of whose hosts draws power or is about to.
void Packer::switch_racks_off(const ClusterState& state) {
    const HostColumns& hosts = state.hosts;
    std::fill(up_.begin(), up_.end(), std::uint8_t{0});
    for (std::size_t h = 0; h < n_hosts_; ++h)
        if (hosts.state[h] != HostState::off && hosts.state[h] != HostState::asleep && site_->rented[h] == 0)
            up_[at(hosts.rack[h])] = 1;
    for (const Action& action : actions_)
        if (action.kind == ActionKind::power && action.host >= 0 && action.value == static_cast<float>(PowerTarget::on))
            up_[at(hosts.rack[at(action.host)])] = 1;
    for (std::size_t rack = 0; rack < n_racks_; ++rack) {
        if (ours_[rack] == 0 || up_[rack] != 0) {
            dark_[rack] = 0; // the world's scheduler may have woken it
            continue;
        }
        if (dark_[rack] != 0) continue;
        dark_[rack] = 1;
        Action action;
        action.kind = ActionKind::power;
        action.rack = static_cast<std::int32_t>(rack);
        action.value = static_cast<float>(PowerTarget::off);
        act(action, PackerReason::dark_rack);
    }
}

} // namespace foreshade
