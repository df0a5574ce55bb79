// VMs that wait get hosts, and empty hosts that are on are opened for them.
#include <algorithm>

#include "core/decide/packer.hpp"
#include "core/decide/scaled.hpp"
#include "core/decide/urgency.hpp"

namespace foreshade {

namespace {

constexpr float kLeastCapacity = 1e-6F;

} // namespace

void Packer::list_spares() {
    spares_.clear();
    for (const std::int32_t h : order_)
        if (spare_[at(h)] != 0) spares_.push_back(h);
}

bool Packer::any_spare() const {
    return std::find(spare_.begin(), spare_.end(), std::uint8_t{1}) != spare_.end();
}

void Packer::note_opened() {
    for (const std::int32_t h : packing_->opened()) spare_[at(h)] = empty_[at(h)] = 0;
}

// By the share that each takes of the largest host.
void Packer::largest_first(const ClusterState& state) {
    const VmColumns& vms = state.vms;
    Amounts largest;
    largest.fill(kLeastCapacity);
    for (std::size_t h = 0; h < n_hosts_; ++h)
        for (std::size_t r = 0; r < kResources; ++r)
            largest[r] = std::max(largest[r], state.hosts.capacity[h * kResources + r]);
    size_.resize(vms.state.size());
    for (const std::int32_t v : waiting_) {
        size_[at(v)] = 0.0F;
        for (std::size_t r = 0; r < kResources; ++r)
            size_[at(v)] = std::max(size_[at(v)], vms.allocation[at(v) * kResources + r] / largest[r]);
        // GPUs are few and come in pieces: who needs one chooses first.
        const float gpus = vms.allocation[at(v) * kResources + kDense];
        if (gpus > 0.0F) size_[at(v)] += 1.0F + gpus;
    }
    std::sort(waiting_.begin(), waiting_.end(), [this](std::int32_t a, std::int32_t b) {
        return size_[at(a)] != size_[at(b)] ? size_[at(a)] > size_[at(b)] : a < b;
    });
}

// By what each hour of waiting costs for what they take of a host.
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

// Gives waiting VMs hosts, the largest first, and the most urgent where not all find one; leaves in waiting_ those that
// found none.
void Packer::place(const ClusterState& state) {
    const VmColumns& vms = state.vms;
    waiting_.clear();
    const std::span<const VmState> states(vms.state);
    if (count_of(states, VmState::pending) + count_of(states, VmState::failed) == 0) return;
    for (std::size_t v = 0; v < vms.state.size(); ++v)
        if (is_waiting(vms.state[v])) waiting_.push_back(static_cast<std::int32_t>(v));
    largest_first(state);
    const std::vector<std::int32_t> all = waiting_;
    place_in_order();
    if (waiting_.empty()) return;
    leaves_until_.clear(); // what is being emptied may be needed
    const bool gpus = std::any_of(waiting_.begin(), waiting_.end(), [&vms](std::int32_t v) {
        return vms.allocation[at(v) * kResources + kDense] > 0.0F;
    });
    if (!knobs_.orders_those_who_wait(gpus)) return;
    urgency_ = price_waiting(vms, memory_->window().loads(), site_->economy, all);
    const float lost = usd_h_waiting();
    waiting_ = all;
    most_urgent_first();
    const auto again = [&] {
        sort_out_hosts(state);
        begin_packing(state);
        place_in_order();
    };
    again();
    if (usd_h_waiting() > lost) {
        waiting_ = all;
        again();
    }
    most_urgent_first();
}

void Packer::place_in_order() {
    list_spares();
    std::size_t left = 0;
    for (const std::int32_t v : waiting_) {
        const std::size_t n_opened = packing_->opened().size();
        if (packing_->place(v, spares_, on_usd_h_) < 0)
            waiting_[left++] = v;
        else if (packing_->opened().size() > n_opened) {
            note_opened();
            list_spares();
        }
    }
    waiting_.resize(left);
}

} // namespace foreshade
