#include "core/demand_window.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdlib>
#include <stdexcept>

namespace foreshade {

namespace {

using Float2 = float __attribute__((vector_size(8)));
using Double2 = double __attribute__((vector_size(16)));

// Two numbers side by side, for the resources that every VM has.
Double2 wide(const float* p) {
    Float2 v;
    __builtin_memcpy(&v, p, sizeof(v));
    return __builtin_convertvector(v, Double2);
}

Double2 load2(const double* p) {
    Double2 v;
    __builtin_memcpy(&v, p, sizeof(v));
    return v;
}

void store2(double* p, Double2 v) {
    __builtin_memcpy(p, &v, sizeof(v));
}

void narrow(float* p, Double2 v) {
    const Float2 n = __builtin_convertvector(v, Float2);
    __builtin_memcpy(p, &n, sizeof(n));
}

Double2 both(double x) {
    return Double2{x, x};
}

Double2 larger(Double2 a, Double2 b) {
    return a < b ? b : a;
}

Double2 smaller(Double2 a, Double2 b) {
    return a < b ? a : b;
}

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
    const auto sigma_ticks = static_cast<double>(knobs.sigma_ticks > 0.0F ? knobs.sigma_ticks : knobs.prior_ticks);
    for (std::size_t k = 0; k <= knobs.ticks; ++k) {
        const auto n = static_cast<double>(k);
        trust_.push_back(n / (n + static_cast<double>(knobs.prior_ticks)));
        trust_sigma_.push_back(n / (n + sigma_ticks));
    }
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
    for (std::size_t slot = 0; slot < knobs_.ticks; ++slot) there_[slot * n_ + v] = 0;
    std::fill_n(sum_.begin() + static_cast<std::ptrdiff_t>(v * kResources), kResources, 0.0);
    std::fill_n(square_.begin() + static_cast<std::ptrdiff_t>(v * kResources), kResources, 0.0);
    count_[v] = 0;
}

// How many resources a VM's sums are kept for: few have a GPU, and without one its numbers are 0.
std::size_t DemandWindow::resources_of(std::size_t v, float gpus) const {
    const std::size_t gpu = v * kResources + kDense;
    return gpus != 0.0F || sum_[gpu] != 0.0 || square_[gpu] != 0.0 ? kResources : kDense;
}

void DemandWindow::update(const ClusterState& state) {
    const VmColumns& vms = state.vms;
    if (state.n_vms() != n_)
        throw std::invalid_argument("demand window: expected " + std::to_string(n_) + " VMs, got " +
                                    std::to_string(state.n_vms()));
    std::array<double, kResources> held{};
    std::array<double, kResources> wanted{};
    std::array<Double2, 2> held2{}, wanted2{};
    float* const last = last_.data();
    std::uint8_t* const there = there_.data() + slot_ * n_;
    float* const samples = samples_.data() + slot_ * n_ * kResources;
    for (std::size_t v = 0; v < n_; ++v) {
        const VmState said = vms.state[v];
        if (said == VmState::absent || vms.app[v] != app_[v]) forget(v);
        app_[v] = vms.app[v];
        if (said == VmState::absent) continue;
        const bool fresh = (said == VmState::running || said == VmState::migrating) && vms.age_s[v] < tick_s_;
        const std::size_t first = v * kResources;
        const float* const allocation = vms.allocation.data() + first;
        const float* const demand = vms.demand.data() + first;
        float* const sample = samples + first;
        double* const sum = sum_.data() + first;
        double* const square = square_.data() + first;
        const std::size_t n = resources_of(v, allocation[kDense]);
        if (there[v] != 0) {
            for (std::size_t r = 0; r < kDense; r += 2) {
                const Double2 old = wide(sample + r);
                store2(sum + r, load2(sum + r) - old);
                store2(square + r, load2(square + r) - old * old);
            }
            if (n > kDense) {
                const auto old = static_cast<double>(sample[kDense]);
                sum[kDense] -= old;
                square[kDense] -= old * old;
            }
        }
        if (fresh) {
            const Vec4 x = min4(load4(allocation), load4(demand));
            __builtin_memcpy(sample, &x, sizeof(x));
            __builtin_memcpy(last + first, &x, sizeof(x));
            for (std::size_t r = 0; r < kDense; r += 2) {
                const Double2 now = wide(sample + r);
                store2(sum + r, load2(sum + r) + now);
                store2(square + r, load2(square + r) + now * now);
                held2[r / 2] += wide(allocation + r);
                wanted2[r / 2] += now;
            }
            sample[kDense] = last[first + kDense] = 0.0F;
            if (n > kDense) {
                const float gpus = std::min(demand[kDense], allocation[kDense]);
                const auto now = static_cast<double>(gpus);
                sum[kDense] += now;
                square[kDense] += now * now;
                sample[kDense] = last[first + kDense] = gpus;
                held[kDense] += static_cast<double>(allocation[kDense]);
                wanted[kDense] += now;
            }
        }
        count_[v] += static_cast<std::int32_t>(fresh) - static_cast<std::int32_t>(there[v] != 0);
        there[v] = fresh ? 1 : 0;
    }
    for (std::size_t r = 0; r < kDense; ++r) {
        held[r] = held2[r / 2][r % 2];
        wanted[r] = wanted2[r / 2][r % 2];
    }
    slot_ = (slot_ + 1) % knobs_.ticks;
    if (held[0] > 0.0) ++ticks_seen_;
    const double weight = std::max(kShareWeight, 1.0 / std::max(1.0, static_cast<double>(ticks_seen_)));
    for (std::size_t r = 0; r < kResources; ++r)
        if (held[r] > 0.0)
            share_[r] += static_cast<float>(weight * (wanted[r] / held[r] - static_cast<double>(share_[r])));
    const auto weigh_newest = static_cast<double>(knobs_.last);
    const auto slope = static_cast<double>(knobs_.slope);
    std::array<double, kResources> share{}, prior{}, least{};
    for (std::size_t r = 0; r < kResources; ++r) {
        share[r] = static_cast<double>(share_[r]);
        prior[r] = static_cast<double>(knobs_.prior_sigma[r]);
        least[r] = static_cast<double>(knobs_.floor_sigma[r]);
    }
    for (std::size_t v = 0; v < n_; ++v) {
        const std::size_t first = v * kResources;
        float* const mean_out = mean_.data() + first;
        float* const variance_out = variance_.data() + first;
        if (vms.state[v] == VmState::absent) {
            std::fill_n(mean_out, kResources, 0.0F);
            std::fill_n(variance_out, kResources, 0.0F);
            continue;
        }
        const auto n = static_cast<double>(count_[v]);
        const double divisor = std::max(1.0, n); // of sums that are 0 where there is no sample
        const double freedom = std::max(1.0, n - 1.0);
        const double trust = trust_[static_cast<std::size_t>(count_[v])];
        const double trust_sigma = trust_sigma_[static_cast<std::size_t>(count_[v])];
        const double newest = count_[v] > 0 ? weigh_newest : 0.0;
        const double widen = static_cast<double>(vms.widen[v]) * static_cast<double>(vms.widen[v]);
        for (std::size_t r = 0; r < kDense; r += 2) {
            const std::size_t i = first + r;
            const Double2 allocation = wide(vms.allocation.data() + i);
            Double2 mean = load2(sum_.data() + i) / both(divisor);
            const Double2 spread =
                larger(both(0.0), load2(square_.data() + i) / both(divisor) - mean * mean) * both(n) / both(freedom);
            mean += both(newest) * (wide(last + i) - mean);
            Double2 sigma = allocation * load2(prior.data() + r);
            const Double2 floor = allocation * load2(least.data() + r);
            const Double2 doubt = both(1.0 - trust);
            mean = both(trust) * mean + doubt * allocation * load2(share.data() + r);
            narrow(mean_out + r, mean);
            if (slope > 0.0) sigma = smaller(sigma, floor + both(slope) * mean);
            const Double2 calm =
                larger(both(trust_sigma) * spread + both(1.0 - trust_sigma) * sigma * sigma, floor * floor);
            narrow(variance_out + r, both(widen) * calm);
        }
        mean_out[kDense] = variance_out[kDense] = 0.0F;
        if (resources_of(v, vms.allocation[first + kDense]) == kDense) continue;
        constexpr std::size_t r = kDense;
        const auto allocation = static_cast<double>(vms.allocation[first + r]);
        double mean = sum_[first + r] / divisor;
        const double spread = std::max(0.0, square_[first + r] / divisor - mean * mean) * n / freedom;
        mean += newest * (static_cast<double>(last[first + r]) - mean);
        const double sigma = allocation * prior[r];
        const double floor = allocation * least[r];
        mean_out[r] = static_cast<float>(trust * mean + (1.0 - trust) * allocation * share[r]);
        const double calm = std::max(trust_sigma * spread + (1.0 - trust_sigma) * sigma * sigma, floor * floor);
        variance_out[r] = static_cast<float>(widen * calm);
    }
    if (knobs_.forecast > 0.0F) blend(state);
}

// Draws the window's mean and variance towards the forecast of the horizon that is the nearest to the wanted one.
void DemandWindow::blend(const ClusterState& state) {
    const ForecastColumns& said = state.forecasts;
    if (said.moments.empty()) return;
    std::size_t horizon = 0;
    for (std::size_t k = 1; k < said.horizons.size(); ++k)
        if (std::abs(said.horizons[k] - knobs_.forecast_ticks) <
            std::abs(said.horizons[horizon] - knobs_.forecast_ticks))
            horizon = k;
    const float* rows = said.moments.data() + horizon * said.n_rows() * kDense * 2;
    const float w = knobs_.forecast;
    for (std::size_t v = 0; v < n_; ++v) {
        if (state.vms.state[v] == VmState::absent || said.series[v] < 0) continue;
        const float* row = rows + static_cast<std::size_t>(said.series[v]) * kDense * 2;
        const float widen = state.vms.widen[v] * state.vms.widen[v];
        for (std::size_t r = 0; r < kDense; ++r) {
            const std::size_t i = v * kResources + r;
            const float share = r == 1 ? said.memory_share[v] : said.share[v];
            const float allocation = state.vms.allocation[i];
            const float floor = allocation * knobs_.floor_sigma[r];
            const float sigma = std::max(share * row[r * 2 + 1], floor);
            mean_[i] += w * (std::min(share * row[r * 2], allocation) - mean_[i]);
            variance_[i] += w * (widen * sigma * sigma - variance_[i]);
        }
    }
}

} // namespace foreshade
