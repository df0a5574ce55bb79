// What is booked on the planned state: a choice changes places, promises and loads as the world will.
#include <algorithm>

#include "core/decide/planned.hpp"
#include "core/decide/scaled.hpp"
#include "core/spec.hpp"

namespace foreshade {

void Planned::exchange(float* allocated, std::size_t h, const float* before, const float* after) const {
    const float overhead = site_->vm_overhead[h * kResources + 1];
    for (std::size_t r = 0; r < kResources; ++r) allocated[r] -= before[r];
    allocated[1] -= overhead;
    for (std::size_t r = 0; r < kResources; ++r) allocated[r] += after[r];
    allocated[1] += overhead;
}

void Planned::stand(std::size_t v, std::size_t h, float sign) {
    hosts_.add(h, ExpectedCost::standing(hosts_, h, load_[v]), sign);
    n_here_[h] += sign > 0.0F ? 1 : -1;
    unpriced_.push_back(static_cast<std::uint32_t>(h));
}

void Planned::price_booked() {
    std::sort(unpriced_.begin(), unpriced_.end());
    unpriced_.erase(std::unique(unpriced_.begin(), unpriced_.end()), unpriced_.end());
    for (const std::uint32_t h : unpriced_) now_[h] = cost_->of_host(hosts_, h, {}, 0.0F);
    unpriced_.clear();
    note_waiting({});
}

void Planned::book(const Action& action) {
    HostColumns& hosts = state_->hosts;
    VmColumns& vms = state_->vms;
    const auto v = at(action.vm);
    const auto h = at(action.host);
    if (action.vm >= 0) booked_.push_back(action.vm);
    switch (action.kind) {
    case ActionKind::wait:
        break;
    case ActionKind::spawn:
        if (action.vm >= 0) {
            status_[v].host = vms.host[v] = action.host;
            status_[v].state = vms.state[v] = VmState::booting;
            put(v, action.host);
            reserve(h, vms.allocation.data() + v * kResources, 1.0F);
            stand(v, h, 1.0F);
            ++hosts.n_vms[h];
            if (affinity_) affinity_.set(v, vms.app[v], vms.kind[v], action.host, -1);
            break;
        }
        if (action.value == static_cast<float>(BootPath::spare)) break; // it holds its room already
        [[fallthrough]];
    case ActionKind::microvm: // a VM that has no slot yet holds room
        if (affinity_)
            affinity_.add(action.app, action.kind == ActionKind::spawn ? VmKind::production : VmKind::micro, h);
        reserve(h, action.allocation.data(), 1.0F);
        ++hosts.n_vms[h];
        break;
    case ActionKind::shadow: {
        Amounts part;
        for (std::size_t r = 0; r < kResources; ++r) part[r] = vms.allocation[v * kResources + r] * action.value;
        reserve(h, part.data(), 1.0F);
        ++hosts.n_vms[h];
        status_[v].new_shadow_at = action.host;
        break;
    }
    case ActionKind::despawn:
        if (vms.host[v] < 0) {
            status_[v].state = vms.state[v] = VmState::absent;
            break;
        }
        status_[v].state = vms.state[v] = VmState::stopping;
        if (place(v) >= 0) stand(v, at(place(v)), -1.0F);
        put(v, -1);
        break;
    case ActionKind::reshape: {
        float* allocation = vms.allocation.data() + v * kResources;
        const std::size_t host = at(status_[v].host);
        exchange(hosts.allocated.data() + host * kResources, host, allocation, action.allocation.data());
        std::copy_n(action.allocation.begin(), kResources, allocation);
        status_[v].reshaped = true;
        break;
    }
    case ActionKind::migrate:
        if (affinity_ && action.value == 1.0F) {
            Action one = action;
            one.value = 0.0F;
            for (const std::int32_t other : affinity_.companions(v)) {
                one.vm = other;
                book(one);
            }
            break;
        }
        if (place(v) >= 0) {
            const std::size_t source = at(place(v));
            stand(v, source, -1.0F);
            if (n_here_[source] == 0) takes_[source] = 0; // it is being emptied
        }
        if (affinity_) affinity_.move(v, vms.host[v], action.host);
        status_[v].destination = vms.destination[v] = action.host;
        status_[v].state = vms.state[v] = VmState::migrating;
        put(v, action.host);
        reserve(h, vms.allocation.data() + v * kResources, 1.0F);
        stand(v, h, 1.0F);
        ++hosts.arriving[h];
        break;
    case ActionKind::shift:
        vms.weight[v] = std::max(action.value, 0.0F); // below 0 a shadow is suspended
        break;
    case ActionKind::power:
        if (action.rack >= 0) break;
        if (action.value == 1.0F)
            hosts.state[h] = hosts.state[h] == HostState::asleep ? HostState::waking : HostState::booting;
        else
            hosts.state[h] = HostState::shutting_down;
        takes_[h] = 0;
        break;
    case ActionKind::rent:
        hosts.state[h] = action.value > 0.0F ? HostState::renting : HostState::unrented;
        takes_[h] = 0;
        break;
    }
}

} // namespace foreshade
