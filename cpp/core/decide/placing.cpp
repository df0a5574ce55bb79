// VMs that wait get hosts, and empty hosts that are on are opened for them.
#include <algorithm>

#include "core/decide/packer.hpp"
#include "core/decide/scaled.hpp"

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

// Gives waiting VMs hosts, the largest first; leaves in waiting_ those that found none.
void Packer::place(const ClusterState& state) {
    const VmColumns& vms = state.vms;
    waiting_.clear();
    const std::span<const VmState> states(vms.state);
    if (count_of(states, VmState::pending) + count_of(states, VmState::failed) == 0) return;
    for (std::size_t v = 0; v < vms.state.size(); ++v)
        if (is_waiting(vms.state[v])) waiting_.push_back(static_cast<std::int32_t>(v));
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
    const std::vector<std::int32_t> all = waiting_;
    place_in_order();
    if (waiting_.empty()) return;
    leaves_until_.clear(); // what is being emptied may be needed
    const bool gpus = std::any_of(waiting_.begin(), waiting_.end(), [&vms](std::int32_t v) {
        return vms.allocation[at(v) * kResources + kDense] > 0.0F;
    });
    if (!knobs_.orders_those_who_wait(gpus)) return;
    const std::vector<std::int32_t> left = waiting_;
    waiting_ = all;
    price_waiting(state);
    waiting_ = left;
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
