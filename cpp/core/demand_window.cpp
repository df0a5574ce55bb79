#include "core/demand_window.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdlib>
#include <limits>
#include <stdexcept>

#include "core/wide.hpp"

namespace foreshade {

namespace {

constexpr double kShareWeight =
    0.1; // of the newest tick in the cluster's share of use: half gone in half an hour; the first ticks count alike
constexpr std::size_t kRefreshWindows = 32; // after which a VM's samples are added up again

bool serves(VmState state) {
    return state == VmState::running || state == VmState::migrating;
}

} // namespace

DemandWindow::DemandWindow(const WindowKnobs& knobs, std::size_t n_vms, float tick_s)
    : knobs_(knobs), n_(n_vms), tick_s_(tick_s), share_(knobs.prior_mean) {
    if (knobs.ticks == 0) throw std::invalid_argument("demand window: expected at least one tick, got 0");
    samples_.resize(n_ * knobs.ticks * kDense);
    there_.resize(n_ * knobs.ticks);
    records_.resize((n_ + 1) / 2);
    served_.resize(n_);
    course_.resize(n_);
    count_.resize(n_);
    app_.assign(n_, kNobody);
    missed_.resize(n_);
    loads_.resize(n_);
    const float sigma_ticks = knobs.sigma_ticks > 0.0F ? knobs.sigma_ticks : knobs.prior_ticks;
    for (std::size_t k = 0; k <= knobs.ticks; ++k) {
        const auto n = static_cast<float>(k);
        by_count_.push_back({1.0F / std::max(1.0F, n), n / std::max(1.0F, n - 1.0F),
                             k == 0 ? 0.0F : n / (n + knobs.prior_ticks), k == 0 ? 0.0F : n / (n + sigma_ticks),
                             k == 0 ? 0.0F : knobs.last});
    }
}

void DemandWindow::look_for(const SizeWatch& watch) {
    watch_ = watch;
    watching_ = true;
    forget_ = 1.0F / static_cast<float>(std::max<std::size_t>(watch.peak_ticks, 1));
}

void DemandWindow::reset() {
    std::fill(there_.begin(), there_.end(), std::uint8_t{0});
    std::fill(records_.begin(), records_.end(), Record{});
    std::fill(served_.begin(), served_.end(), Flavour{});
    served_sum_ = {};
    std::fill(course_.begin(), course_.end(), Course::odd);
    std::fill(gpus_.begin(), gpus_.end(), Gpu{});
    std::fill(count_.begin(), count_.end(), 0);
    std::fill(app_.begin(), app_.end(), kNobody);
    std::fill(missed_.begin(), missed_.end(), 0);
    std::fill(loads_.begin(), loads_.end(), Load{});
    tight_.clear();
    settled_.clear();
    share_ = knobs_.prior_mean;
    slot_ = ticks_learned_ = ticks_seen_ = silent_ = 0;
}

void DemandWindow::mean(std::span<float> out) const {
    for (std::size_t v = 0; v < n_; ++v) {
        std::copy_n(loads_[v].mean.begin(), kDense, out.begin() + static_cast<std::ptrdiff_t>(v * kResources));
        out[v * kResources + kDense] = has_gpus_ ? gpus_[v].mean : 0.0F;
    }
}

void DemandWindow::variance(std::span<float> out) const {
    for (std::size_t v = 0; v < n_; ++v) {
        std::copy_n(loads_[v].variance.begin(), kDense, out.begin() + static_cast<std::ptrdiff_t>(v * kResources));
        out[v * kResources + kDense] = has_gpus_ ? gpus_[v].variance : 0.0F;
    }
}

// As if the VM had never been seen.
void DemandWindow::forget(std::size_t v) {
    Record& record = records_[v / 2];
    for (auto* of : {&record.reference, &record.sum, &record.square, &record.peak})
        store_of<Vec4>(of->data() + lane(v), Vec4{});
    missed_[v] = static_cast<std::int32_t>(ticks_learned_);
    if (has_gpus_) gpus_[v] = {};
    if (count_[v] == 0) return;
    for (std::size_t slot = 0; slot < knobs_.ticks; ++slot) there_[slot * n_ + v] = 0;
    count_[v] = 0;
}

// Adds the VM's samples up again, so that roundings of what came and went do not pile up.
void DemandWindow::refresh(std::size_t v) {
    if (count_[v] == 0) return;
    Record& record = records_[v / 2];
    float *const sums = record.sum.data() + lane(v), *const squares = record.square.data() + lane(v);
    float* const references = record.reference.data() + lane(v);
    const Vec4 reference = load4(references) + load4(sums) / splat<Vec4>(static_cast<float>(count_[v]));
    Vec4 sum{}, square{};
    for (std::size_t slot = 0; slot < knobs_.ticks; ++slot) {
        if (there_[slot * n_ + v] == 0) continue;
        const Vec4 x = load4(samples_.data() + (slot * n_ + v) * kDense) - reference;
        sum += x;
        square += x * x;
    }
    store_of<Vec4>(references, reference);
    store_of<Vec4>(sums, sum);
    store_of<Vec4>(squares, square);
}

// The newest sample that the window holds.
Vec4 DemandWindow::newest_of(std::size_t v) const {
    for (std::size_t back = 0; back < knobs_.ticks; ++back) {
        const std::size_t slot = (slot_ + knobs_.ticks - back) % knobs_.ticks;
        if (there_[slot * n_ + v] != 0) return load4(samples_.data() + (slot * n_ + v) * kDense);
    }
    return Vec4{};
}

void DemandWindow::update(const ClusterState& state, const Changed& changed) {
    const VmColumns& vms = state.vms;
    if (state.n_vms() != n_)
        throw std::invalid_argument("demand window: expected " + std::to_string(n_) + " VMs, got " +
                                    std::to_string(state.n_vms()));
    if (changed)
        for (const std::int32_t v : *changed) course_[static_cast<std::size_t>(v)] = Course::odd;
    const std::size_t period = knobs_.ticks * kRefreshWindows;
    for (std::size_t v = (period - ticks_learned_ % period) % period; v < n_; v += period) refresh(v);
    if (ticks_learned_ < knobs_.ticks) learn_early_share(vms);
    const std::size_t seen = samples_since_reset();
    if (seen == watch_.settle_ticks[0] || seen == watch_.settle_ticks[1]) // who settles is told by a close look
        std::fill(course_.begin(), course_.end(), Course::odd);
    tight_.clear();
    settled_.clear();
    pass(vms, !changed);
    slot_ = (slot_ + 1) % knobs_.ticks;
    ++ticks_learned_;
    if (ticks_seen_ == 0) ++silent_;
    if (knobs_.forecast > 0.0F) blend(state);
}

// Before the window is full the cluster's share of use counts for much and changes fast: it is learnt before the pass.
void DemandWindow::learn_early_share(const VmColumns& vms) {
    std::array<double, kResources> held{}, wanted{};
    constexpr std::size_t kBlock = 64; // VMs of which single precision holds the sum
    for (std::size_t first = 0; first < n_; first += kBlock) {
        Vec4 held_now{}, wanted_now{};
        for (std::size_t v = first; v < std::min(n_, first + kBlock); ++v) {
            if (!serves(vms.state[v]) || !(vms.age_s[v] < tick_s_)) continue;
            const float *const granted = vms.allocation.data() + v * kResources, *const asked =
                                                                                     vms.demand.data() + v * kResources;
            held_now += load4(granted);
            wanted_now += min4(load4(granted), load4(asked));
            if (granted[kDense] == 0.0F) continue;
            held[kDense] += static_cast<double>(granted[kDense]);
            wanted[kDense] += static_cast<double>(std::min(granted[kDense], asked[kDense]));
        }
        for (std::size_t r = 0; r < kDense; ++r) {
            held[r] += static_cast<double>(held_now[static_cast<int>(r)]);
            wanted[r] += static_cast<double>(wanted_now[static_cast<int>(r)]);
        }
    }
    learn_share(held, wanted);
}

void DemandWindow::learn_share(const std::array<double, kResources>& held,
                               const std::array<double, kResources>& wanted) {
    if (held[0] > 0.0) ++ticks_seen_;
    const double weight = std::max(kShareWeight, 1.0 / std::max(1.0, static_cast<double>(ticks_seen_)));
    for (std::size_t r = 0; r < kResources; ++r)
        if (held[r] > 0.0)
            share_[r] += static_cast<float>(weight * (wanted[r] / held[r] - static_cast<double>(share_[r])));
}

// Few VMs have one, so their numbers lie apart.
void DemandWindow::learn_gpus(std::size_t v, bool fresh, bool was_there, float granted, float demand) {
    if (!has_gpus_) {
        has_gpus_ = true;
        gpus_.assign(n_, Gpu{});
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
}

void DemandWindow::tell_gpus(Gpu& gpu, const ByCount& of, float granted, float widen) const {
    gpu.mean = gpu.variance = 0.0F;
    if (granted == 0.0F && !gpu.holds()) return;
    const auto inverse = static_cast<double>(of.inverse), trust = static_cast<double>(of.trust);
    const auto trust_sigma = static_cast<double>(of.trust_sigma), allocation = static_cast<double>(granted);
    double mean = gpu.sum * inverse;
    const double spread = std::max(0.0, gpu.square * inverse - mean * mean) * static_cast<double>(of.bessel);
    mean += static_cast<double>(of.newest) * (static_cast<double>(gpu.last) - mean);
    const double sigma = allocation * static_cast<double>(knobs_.prior_sigma[kDense]);
    const double floor = allocation * static_cast<double>(knobs_.floor_sigma[kDense]);
    gpu.mean = static_cast<float>(trust * mean + (1.0 - trust) * allocation * static_cast<double>(share_[kDense]));
    const double calm = std::max(trust_sigma * spread + (1.0 - trust_sigma) * sigma * sigma, floor * floor);
    gpu.variance = static_cast<float>(static_cast<double>(widen) * calm);
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
        Load& load = loads_[v];
        for (std::size_t r = 0; r < kDense; ++r) {
            const float share = r == 1 ? said.memory_share[v] : said.share[v];
            const float allocation = state.vms.allocation[v * kResources + r];
            const float floor = allocation * knobs_.floor_sigma[r];
            const float sigma = std::max(share * row[r * 2 + 1], floor);
            load.mean[r] += w * (std::min(share * row[r * 2], allocation) - load.mean[r]);
            load.variance[r] += w * (widen * sigma * sigma - load.variance[r]);
        }
        load.credit = load.mean[0] * state.vms.credit[v];
    }
}

} // namespace foreshade
