#include "core/demand_window.hpp"

#include <algorithm>
#include <array>
#include <stdexcept>

namespace foreshade {

namespace {

constexpr double kShareWeight =
    0.1; // of the newest tick in the cluster's share of use: half gone in half an hour; the first ticks count alike

} // namespace

DemandWindow::DemandWindow(const WindowKnobs& knobs, std::size_t n_vms, float tick_s)
    : knobs_(knobs), n_(n_vms), tick_s_(tick_s), share_(knobs.prior_mean) {
    if (knobs.ticks == 0) throw std::invalid_argument("demand window: expected at least one tick, got 0");
    samples_.resize(n_ * knobs.ticks * kResources);
    there_.resize(n_ * knobs.ticks);
    sum_.resize(n_ * kResources);
    square_.resize(n_ * kResources);
    last_.resize(n_ * kResources);
    count_.resize(n_);
    app_.assign(n_, -1);
    mean_.resize(n_ * kResources);
    variance_.resize(n_ * kResources);
}

void DemandWindow::reset() {
    std::fill(there_.begin(), there_.end(), std::uint8_t{0});
    std::fill(sum_.begin(), sum_.end(), 0.0);
    std::fill(square_.begin(), square_.end(), 0.0);
    std::fill(count_.begin(), count_.end(), 0);
    std::fill(app_.begin(), app_.end(), -1);
    share_ = knobs_.prior_mean;
    slot_ = ticks_seen_ = 0;
}

void DemandWindow::forget(std::size_t v) {
    if (count_[v] == 0) return;
    std::fill_n(there_.begin() + static_cast<std::ptrdiff_t>(v * knobs_.ticks), knobs_.ticks, std::uint8_t{0});
    std::fill_n(sum_.begin() + static_cast<std::ptrdiff_t>(v * kResources), kResources, 0.0);
    std::fill_n(square_.begin() + static_cast<std::ptrdiff_t>(v * kResources), kResources, 0.0);
    count_[v] = 0;
}

void DemandWindow::update(const ClusterState& state) {
    const VmColumns& vms = state.vms;
    if (state.n_vms() != n_)
        throw std::invalid_argument("demand window: expected " + std::to_string(n_) + " VMs, got " +
                                    std::to_string(state.n_vms()));
    std::array<double, kResources> held{};
    std::array<double, kResources> wanted{};
    for (std::size_t v = 0; v < n_; ++v) {
        const VmState said = vms.state[v];
        if (said == VmState::absent || vms.app[v] != app_[v]) forget(v);
        app_[v] = vms.app[v];
        if (said == VmState::absent) continue;
        const bool fresh = (said == VmState::running || said == VmState::migrating) && vms.age_s[v] < tick_s_;
        std::uint8_t& there = there_[v * knobs_.ticks + slot_];
        float* sample = samples_.data() + (v * knobs_.ticks + slot_) * kResources;
        for (std::size_t r = 0; r < kResources; ++r) {
            const std::size_t i = v * kResources + r;
            const float x = std::min(vms.demand[i], vms.allocation[i]);
            if (there != 0) {
                const double old = static_cast<double>(sample[r]);
                sum_[i] -= old;
                square_[i] -= old * old;
            }
            if (!fresh) continue;
            const double now = static_cast<double>(x);
            sum_[i] += now;
            square_[i] += now * now;
            sample[r] = last_[i] = x;
            held[r] += static_cast<double>(vms.allocation[i]);
            wanted[r] += now;
        }
        count_[v] += static_cast<std::int32_t>(fresh) - static_cast<std::int32_t>(there != 0);
        there = fresh ? 1 : 0;
    }
    slot_ = (slot_ + 1) % knobs_.ticks;
    if (held[0] > 0.0) ++ticks_seen_;
    const double weight = std::max(kShareWeight, 1.0 / std::max(1.0, static_cast<double>(ticks_seen_)));
    for (std::size_t r = 0; r < kResources; ++r)
        if (held[r] > 0.0)
            share_[r] += static_cast<float>(weight * (wanted[r] / held[r] - static_cast<double>(share_[r])));
    for (std::size_t v = 0; v < n_; ++v) {
        if (vms.state[v] == VmState::absent) {
            std::fill_n(mean_.begin() + static_cast<std::ptrdiff_t>(v * kResources), kResources, 0.0F);
            std::fill_n(variance_.begin() + static_cast<std::ptrdiff_t>(v * kResources), kResources, 0.0F);
            continue;
        }
        const auto n = static_cast<double>(count_[v]);
        const double trust = n / (n + static_cast<double>(knobs_.prior_ticks));
        const double widen = static_cast<double>(vms.widen[v]) * static_cast<double>(vms.widen[v]);
        for (std::size_t r = 0; r < kResources; ++r) {
            const std::size_t i = v * kResources + r;
            const auto allocation = static_cast<double>(vms.allocation[i]);
            double mean = 0.0;
            double spread = 0.0;
            if (count_[v] > 0) {
                mean = sum_[i] / n;
                spread = std::max(0.0, square_[i] / n - mean * mean) * n / std::max(1.0, n - 1.0);
                mean += static_cast<double>(knobs_.last) * (static_cast<double>(last_[i]) - mean);
            }
            const double sigma = allocation * static_cast<double>(knobs_.prior_sigma[r]);
            const double floor = allocation * static_cast<double>(knobs_.floor_sigma[r]);
            mean_[i] = static_cast<float>(trust * mean + (1.0 - trust) * allocation * static_cast<double>(share_[r]));
            const double calm = std::max(trust * spread + (1.0 - trust) * sigma * sigma, floor * floor);
            variance_[i] = static_cast<float>(widen * calm);
        }
    }
}

} // namespace foreshade
