#include "core/demand_window.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdlib>
#include <stdexcept>

namespace foreshade {

namespace {

constexpr double kShareWeight =
    0.1; // of the newest tick in the cluster's share of use: half gone in half an hour; the first ticks count alike

Vec4 splat(float x) {
    return Vec4{x, x, x, x};
}

void store4(float* p, Vec4 v) {
    __builtin_memcpy(p, &v, sizeof(v));
}

} // namespace

DemandWindow::DemandWindow(const WindowKnobs& knobs, std::size_t n_vms, float tick_s)
    : knobs_(knobs), n_(n_vms), tick_s_(tick_s), share_(knobs.prior_mean) {
    if (knobs.ticks == 0) throw std::invalid_argument("demand window: expected at least one tick, got 0");
    samples_.resize(n_ * knobs.ticks * kDense);
    there_.resize(n_ * knobs.ticks);
    sums_.resize(n_);
    gpus_.resize(n_);
    count_.resize(n_);
    app_.assign(n_, -1);
    mean_.resize(n_ * kResources);
    variance_.resize(n_ * kResources);
    const float sigma_ticks = knobs.sigma_ticks > 0.0F ? knobs.sigma_ticks : knobs.prior_ticks;
    for (std::size_t k = 0; k <= knobs.ticks; ++k) {
        const auto n = static_cast<float>(k);
        by_count_.push_back({1.0F / std::max(1.0F, n), n / std::max(1.0F, n - 1.0F),
                             k == 0 ? 0.0F : n / (n + knobs.prior_ticks), k == 0 ? 0.0F : n / (n + sigma_ticks),
                             k == 0 ? 0.0F : knobs.last});
    }
}

void DemandWindow::reset() {
    std::fill(there_.begin(), there_.end(), std::uint8_t{0});
    std::fill(sums_.begin(), sums_.end(), Sums{});
    std::fill(gpus_.begin(), gpus_.end(), Gpu{});
    std::fill(count_.begin(), count_.end(), 0);
    std::fill(app_.begin(), app_.end(), -1);
    share_ = knobs_.prior_mean;
    slot_ = ticks_learned_ = ticks_seen_ = 0;
}

void DemandWindow::forget(std::size_t v) {
    if (count_[v] == 0) return;
    for (std::size_t slot = 0; slot < knobs_.ticks; ++slot) there_[slot * n_ + v] = 0;
    sums_[v] = {};
    gpus_[v] = {};
    count_[v] = 0;
}

// Adds the VM's samples up again, so that roundings of what came and went do not pile up.
void DemandWindow::refresh(std::size_t v) {
    if (count_[v] == 0) return;
    Sums& sums = sums_[v];
    sums.reference += sums.sum / splat(static_cast<float>(count_[v]));
    sums.sum = sums.square = Vec4{};
    for (std::size_t slot = 0; slot < knobs_.ticks; ++slot) {
        if (there_[slot * n_ + v] == 0) continue;
        const Vec4 x = load4(samples_.data() + (slot * n_ + v) * kDense) - sums.reference;
        sums.sum += x;
        sums.square += x * x;
    }
}

void DemandWindow::update(const ClusterState& state) {
    const VmColumns& vms = state.vms;
    if (state.n_vms() != n_)
        throw std::invalid_argument("demand window: expected " + std::to_string(n_) + " VMs, got " +
                                    std::to_string(state.n_vms()));
    learn(vms);
    tell(vms);
    if (knobs_.forecast > 0.0F) blend(state);
}

// Takes the samples of the tick in: sums over the window of what each VM is seen to want.
void DemandWindow::learn(const VmColumns& vms) {
    constexpr std::size_t kFlush = 64; // single precision holds the sum of so many VMs
    constexpr std::size_t kRefreshWindows = 8;
    const std::size_t period = knobs_.ticks * kRefreshWindows;
    std::array<double, kResources> held{};
    std::array<double, kResources> wanted{};
    std::uint8_t* const there = there_.data() + slot_ * n_;
    float* const samples = samples_.data() + slot_ * n_ * kDense;
    // Columns by their first element: what is written to `there` could be any of the vectors' own pointers.
    const VmState* const states = vms.state.data();
    const std::int32_t* const apps = vms.app.data();
    const float *const ages = vms.age_s.data(), *const allocations = vms.allocation.data();
    const float* const demands = vms.demand.data();
    std::int32_t *const owners = app_.data(), *const counts = count_.data();
    Sums* const all_sums = sums_.data();
    const float tick_s = tick_s_;
    Vec4 held_now{}, wanted_now{};
    std::size_t refreshed = (period - ticks_learned_ % period) % period; // of each period the next that is due
    const auto flush = [&] {
        for (std::size_t r = 0; r < kDense; ++r) {
            held[r] += static_cast<double>(held_now[r]);
            wanted[r] += static_cast<double>(wanted_now[r]);
        }
        held_now = wanted_now = Vec4{};
    };
    for (std::size_t v = 0; v < n_; ++v) {
        if (v % kFlush == 0) flush();
        const VmState said = states[v];
        if (said == VmState::absent || apps[v] != owners[v]) forget(v);
        owners[v] = apps[v];
        if (said == VmState::absent) {
            if (v == refreshed) refreshed += period;
            continue;
        }
        const bool fresh = (said == VmState::running || said == VmState::migrating) && ages[v] < tick_s;
        const bool was_there = there[v] != 0;
        const float* const allocation = allocations + v * kResources;
        const float* const demand = demands + v * kResources;
        Sums& sums = all_sums[v];
        Vec4 sum = sums.sum, square = sums.square;
        if (was_there) {
            const Vec4 old = load4(samples + v * kDense) - sums.reference;
            sum -= old;
            square -= old * old;
        }
        counts[v] += static_cast<std::int32_t>(fresh) - static_cast<std::int32_t>(was_there);
        if (fresh) {
            const Vec4 granted = load4(allocation);
            const Vec4 x = min4(granted, load4(demand));
            if (counts[v] == 1) {
                sums.reference = x;
                sum = square = Vec4{};
            }
            const Vec4 now = x - sums.reference;
            sum += now;
            square += now * now;
            sums.last = x;
            store4(samples + v * kDense, x);
            held_now += granted;
            wanted_now += x;
        }
        if (counts[v] == 0) sum = square = Vec4{};
        sums.sum = sum;
        sums.square = square;
        there[v] = fresh ? 1 : 0;
        if (allocation[kDense] != 0.0F || (has_gpus_ && gpus_[v].holds()))
            learn_gpus(v, fresh, was_there, allocation[kDense], demand[kDense], held[kDense], wanted[kDense]);
        if (v == refreshed) {
            refresh(v);
            refreshed += period;
        }
    }
    flush();
    slot_ = (slot_ + 1) % knobs_.ticks;
    ++ticks_learned_;
    if (held[0] > 0.0) ++ticks_seen_;
    const double weight = std::max(kShareWeight, 1.0 / std::max(1.0, static_cast<double>(ticks_seen_)));
    for (std::size_t r = 0; r < kResources; ++r)
        if (held[r] > 0.0)
            share_[r] += static_cast<float>(weight * (wanted[r] / held[r] - static_cast<double>(share_[r])));
}

// Few VMs have one, so their numbers lie apart.
void DemandWindow::learn_gpus(std::size_t v, bool fresh, bool was_there, float granted, float demand, double& held,
                              double& wanted) {
    if (!has_gpus_) {
        has_gpus_ = true;
        gpu_samples_.assign(n_ * knobs_.ticks, 0.0F);
    }
    Gpu& gpu = gpus_[v];
    float& sample = gpu_samples_[slot_ * n_ + v];
    if (was_there) {
        const auto old = static_cast<double>(sample);
        gpu.sum -= old;
        gpu.square -= old * old;
    }
    sample = 0.0F;
    if (!fresh) return;
    sample = gpu.last = std::min(demand, granted);
    const auto now = static_cast<double>(sample);
    gpu.sum += now;
    gpu.square += now * now;
    held += static_cast<double>(granted);
    wanted += now;
}

// Mean and variance of what is to come, from the sums and the prior.
void DemandWindow::tell(const VmColumns& vms) {
    const Vec4 share = load4(share_.data()), prior = load4(knobs_.prior_sigma.data());
    const Vec4 least = load4(knobs_.floor_sigma.data()), slope = splat(knobs_.slope), zero{};
    const bool sloped = knobs_.slope > 0.0F;
    float *const means = mean_.data(), *const variances = variance_.data();
    const float *const allocations = vms.allocation.data(), *const widens = vms.widen.data();
    const std::int32_t* const counts = count_.data();
    const ByCount* const by_count = by_count_.data();
    const Sums* const all_sums = sums_.data();
    for (std::size_t v = 0; v < n_; ++v) {
        float* const mean_out = means + v * kResources;
        float* const variance_out = variances + v * kResources;
        if (vms.state[v] == VmState::absent) {
            std::fill_n(mean_out, kResources, 0.0F);
            std::fill_n(variance_out, kResources, 0.0F);
            continue;
        }
        const ByCount& of = by_count[static_cast<std::size_t>(counts[v])];
        const Sums& sums = all_sums[v];
        const Vec4 allocation = load4(allocations + v * kResources);
        const float widen = widens[v] * widens[v];
        const Vec4 trust = splat(of.trust), doubt = splat(1.0F - of.trust);
        const Vec4 trust_sigma = splat(of.trust_sigma), doubt_sigma = splat(1.0F - of.trust_sigma);
        const Vec4 shift = sums.sum * splat(of.inverse);
        const Vec4 spread = max4(zero, sums.square * splat(of.inverse) - shift * shift) * splat(of.bessel);
        Vec4 mean = sums.reference + shift;
        mean += splat(of.newest) * (sums.last - mean);
        Vec4 sigma = allocation * prior;
        const Vec4 floor = allocation * least;
        mean = trust * mean + doubt * allocation * share;
        if (sloped) sigma = min4(sigma, floor + slope * mean);
        const Vec4 calm = max4(trust_sigma * spread + doubt_sigma * sigma * sigma, floor * floor);
        store4(mean_out, mean);
        store4(variance_out, splat(widen) * calm);
        mean_out[kDense] = variance_out[kDense] = 0.0F;
        const float granted = allocations[v * kResources + kDense];
        if (granted != 0.0F || (has_gpus_ && gpus_[v].holds()))
            tell_gpus(gpus_[v], of, granted, widen, mean_out[kDense], variance_out[kDense]);
    }
}

void DemandWindow::tell_gpus(const Gpu& gpu, const ByCount& of, float granted, float widen, float& mean_out,
                             float& variance_out) const {
    const auto inverse = static_cast<double>(of.inverse), trust = static_cast<double>(of.trust);
    const auto trust_sigma = static_cast<double>(of.trust_sigma), allocation = static_cast<double>(granted);
    double mean = gpu.sum * inverse;
    const double spread = std::max(0.0, gpu.square * inverse - mean * mean) * static_cast<double>(of.bessel);
    mean += static_cast<double>(of.newest) * (static_cast<double>(gpu.last) - mean);
    const double sigma = allocation * static_cast<double>(knobs_.prior_sigma[kDense]);
    const double floor = allocation * static_cast<double>(knobs_.floor_sigma[kDense]);
    mean_out = static_cast<float>(trust * mean + (1.0 - trust) * allocation * static_cast<double>(share_[kDense]));
    const double calm = std::max(trust_sigma * spread + (1.0 - trust_sigma) * sigma * sigma, floor * floor);
    variance_out = static_cast<float>(static_cast<double>(widen) * calm);
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
