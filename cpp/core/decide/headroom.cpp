#include "core/decide/headroom.hpp"

#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <string>

namespace foreshade {

namespace {

constexpr double kRememberedS = 4.0 * 3600.0; // arrivals are remembered for so long: a morning's rush while it lasts
constexpr std::size_t kLookEvery = 12;        // ticks between two looks at what came
constexpr double kLarge = 0.9; // share of the arrivals that the sample is at least as large as, each resource by itself

} // namespace

Headroom::Headroom(float tick_s)
    : remembered_ticks_(
          static_cast<std::size_t>(std::max(1.0, std::nearbyint(kRememberedS / static_cast<double>(tick_s))))) {
    counts_.resize(remembered_ticks_);
}

void Headroom::reset() {
    came_.clear();
    std::fill(counts_.begin(), counts_.end(), std::size_t{0});
    known_.clear();
    observed_ = most_ = 0;
    sample_ = {};
}

// Notes whether a VM is there, and its allocation if it was not there before.
bool Headroom::comes(const ClusterState& state, std::size_t v) {
    const bool knew = known_[v] != 0;
    known_[v] = state.vms.state[v] != VmState::absent ? 1 : 0;
    if (knew || known_[v] == 0) return false;
    Amounts& row = came_.emplace_back();
    std::copy_n(state.vms.allocation.begin() + static_cast<std::ptrdiff_t>(v * kResources), kResources, row.begin());
    return true;
}

void Headroom::observe(const ClusterState& state, const Changed& changed) {
    const std::size_t n_vms = state.n_vms();
    if (observed_ > 0) {
        if (known_.size() != n_vms)
            throw std::invalid_argument("headroom: expected " + std::to_string(known_.size()) + " VMs, got " +
                                        std::to_string(n_vms));
        std::size_t& count = counts_[(observed_ - 1) % remembered_ticks_];
        came_.erase(came_.begin(), came_.begin() + static_cast<std::ptrdiff_t>(count));
        count = 0;
        if (changed) {
            for (const std::int32_t v : *changed) count += comes(state, static_cast<std::size_t>(v)) ? 1 : 0;
        } else {
            for (std::size_t v = 0; v < n_vms; ++v) count += comes(state, v) ? 1 : 0;
        }
    } else {
        known_.resize(n_vms);
        for (std::size_t v = 0; v < n_vms; ++v) known_[v] = state.vms.state[v] != VmState::absent ? 1 : 0;
    }
    if (observed_ % kLookEvery == 0) look();
    ++observed_;
}

void Headroom::look() {
    most_ = *std::max_element(counts_.begin(), counts_.end());
    if (most_ == 0) return;
    const auto large = static_cast<std::size_t>(kLarge * static_cast<double>(came_.size()));
    for (std::size_t r = 0; r < kDense; ++r) { // GPUs are too few to be kept free
        column_.clear();
        for (const Amounts& row : came_) column_.push_back(row[r]);
        const auto chosen = column_.begin() + static_cast<std::ptrdiff_t>(large);
        std::nth_element(column_.begin(), chosen, column_.end());
        sample_[r] = *chosen;
    }
}

FreeRoom Headroom::needed(const ClusterState& state, double arrivals, double failover,
                          std::span<const double> outage_usd, std::span<const float> on_usd_h) const {
    FreeRoom room{sample_, static_cast<std::size_t>(std::ceil(arrivals * static_cast<double>(most_))), 0.0};
    if (failover <= 0.0) return room;
    double expected_usd_h = 0.0;
    double kept_usd_h = 0.0;
    float fullest = 0.0F;
    std::size_t standing = 0;
    const HostColumns& hosts = state.hosts;
    for (std::size_t h = 0; h < state.n_hosts(); ++h) {
        if (hosts.state[h] != HostState::on || hosts.n_vms[h] == 0) continue;
        ++standing;
        expected_usd_h += static_cast<double>(hosts.hazard_per_h[h]) * outage_usd[h];
        kept_usd_h += static_cast<double>(on_usd_h[h]);
        fullest = std::max(fullest, hosts.allocated[h * kResources + 1]);
    }
    if (standing > 0 && expected_usd_h >= kept_usd_h / static_cast<double>(standing))
        room.failover_mib = failover * static_cast<double>(fullest);
    return room;
}

} // namespace foreshade
