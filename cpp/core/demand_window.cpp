#include "core/demand_window.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdlib>
#include <limits>
#include <stdexcept>

namespace foreshade {

namespace {

constexpr double kShareWeight =
    0.1; // of the newest tick in the cluster's share of use: half gone in half an hour; the first ticks count alike
constexpr std::int32_t kNobody = -2;        // whose slot it is
constexpr std::size_t kRefreshWindows = 32; // after which a VM's samples are added up again

Vec4 splat(float x) {
    return Vec4{x, x, x, x};
}

void store4(float* p, Vec4 v) {
    __builtin_memcpy(p, &v, sizeof(v));
}

bool serves(VmState state) {
    return state == VmState::running || state == VmState::migrating;
}

} // namespace

// mean = trust x window's mean + doubt x allocation; variance likewise of the squares.
struct DemandWindow::Blend {
    Vec4 inverse, newest, trust, doubt;
    Vec4 spread;       // of the variance of the samples
    Vec4 prior, floor; // of the allocation's square
};

// What a pass over the VMs reads and writes by their first elements, and what is the same for all of them: in a value
// of its own, since what is written to a column could be any member.
struct DemandWindow::Columns {
    const float *allocation, *demand, *flavour, *credit;
    Record* records;
    Load* loads;
    float* samples; // of the tick
    Vec4 forget;
    bool watching;
    Vec4 tight;
};

struct DemandWindow::Account {
    static constexpr std::size_t kFlush = 64; // single precision holds the sum of so many VMs
    Vec4 held_now{}, wanted_now{}, expected_now{}, flavour_now{}, away_now{};
    Int4 no_new_peaks{}; // minus their number
    std::int64_t n_known = 0;
    std::array<double, kResources> held{}, wanted{}, flavour{};
    double expected_mhz = 0.0, away_mhz = 0.0;

    void flush() {
        for (std::size_t r = 0; r < kDense; ++r) {
            held[r] += static_cast<double>(held_now[r]);
            wanted[r] += static_cast<double>(wanted_now[r]);
            flavour[r] += static_cast<double>(flavour_now[r]);
        }
        expected_mhz += static_cast<double>(expected_now[0]);
        away_mhz += static_cast<double>(away_now[0]);
        held_now = wanted_now = expected_now = flavour_now = away_now = Vec4{};
    }
};

DemandWindow::DemandWindow(const WindowKnobs& knobs, std::size_t n_vms, float tick_s)
    : knobs_(knobs), n_(n_vms), tick_s_(tick_s), share_(knobs.prior_mean) {
    if (knobs.ticks == 0) throw std::invalid_argument("demand window: expected at least one tick, got 0");
    samples_.resize(n_ * knobs.ticks * kDense);
    there_.resize(n_ * knobs.ticks);
    records_.resize(n_);
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
    std::fill(course_.begin(), course_.end(), Course::odd);
    std::fill(gpus_.begin(), gpus_.end(), Gpu{});
    std::fill(count_.begin(), count_.end(), 0);
    std::fill(app_.begin(), app_.end(), kNobody);
    std::fill(missed_.begin(), missed_.end(), 0);
    std::fill(loads_.begin(), loads_.end(), Load{});
    tight_.clear();
    settled_.clear();
    share_ = knobs_.prior_mean;
    slot_ = ticks_learned_ = ticks_seen_ = 0;
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
    records_[v] = {};
    missed_[v] = static_cast<std::int32_t>(ticks_learned_);
    if (has_gpus_) gpus_[v] = {};
    if (count_[v] == 0) return;
    for (std::size_t slot = 0; slot < knobs_.ticks; ++slot) there_[slot * n_ + v] = 0;
    count_[v] = 0;
}

// Adds the VM's samples up again, so that roundings of what came and went do not pile up.
void DemandWindow::refresh(std::size_t v) {
    if (count_[v] == 0) return;
    Record& record = records_[v];
    record.reference += record.sum / splat(static_cast<float>(count_[v]));
    record.sum = record.square = Vec4{};
    for (std::size_t slot = 0; slot < knobs_.ticks; ++slot) {
        if (there_[slot * n_ + v] == 0) continue;
        const Vec4 x = load4(samples_.data() + (slot * n_ + v) * kDense) - record.reference;
        record.sum += x;
        record.square += x * x;
    }
}

// The newest sample that the window holds.
Vec4 DemandWindow::newest_of(std::size_t v) const {
    for (std::size_t back = 0; back < knobs_.ticks; ++back) {
        const std::size_t slot = (slot_ + knobs_.ticks - back) % knobs_.ticks;
        if (there_[slot * n_ + v] != 0) return load4(samples_.data() + (slot * n_ + v) * kDense);
    }
    return Vec4{};
}

DemandWindow::Blend DemandWindow::blend_of(std::size_t count) const {
    const ByCount& of = by_count_[count];
    const Vec4 prior = load4(knobs_.prior_sigma.data()), floor = load4(knobs_.floor_sigma.data());
    return {splat(of.inverse),
            splat(of.newest),
            splat(of.trust),
            splat(1.0F - of.trust) * load4(share_.data()),
            splat(of.trust_sigma * of.bessel),
            splat(1.0F - of.trust_sigma) * prior * prior,
            floor * floor};
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
    if (ticks_learned_ < knobs_.ticks) { // the cluster's share of use counts for much, and changes fast
        Account account;
        for (std::size_t v = 0; v < n_; ++v) {
            if (!serves(vms.state[v]) || !(vms.age_s[v] < tick_s_)) continue;
            for (std::size_t r = 0; r < kResources; ++r) {
                const float granted = vms.allocation[v * kResources + r];
                account.held[r] += static_cast<double>(granted);
                account.wanted[r] += static_cast<double>(std::min(granted, vms.demand[v * kResources + r]));
            }
        }
        learn_share(account);
    }
    tight_.clear();
    settled_.clear();
    pass(vms, !changed);
    slot_ = (slot_ + 1) % knobs_.ticks;
    ++ticks_learned_;
    if (knobs_.forecast > 0.0F) blend(state);
}

void DemandWindow::pass(const VmColumns& vms, bool all) {
    Account account;
    const Columns of{vms.allocation.data(),
                     vms.demand.data(),
                     vms.flavour.data(),
                     vms.credit.data(),
                     records_.data(),
                     loads_.data(),
                     samples_.data() + slot_ * n_ * kDense,
                     splat(forget_),
                     watching_,
                     load4(watch_.tight.data())};
    const Blend full = blend_of(knobs_.ticks);
    const Course* const course = course_.data();
    for (std::size_t first = 0; first < n_; first += Account::kFlush) {
        const std::size_t end = std::min(n_, first + Account::kFlush);
        for (std::size_t v = first; v < end; ++v) {
            if (course[v] == Course::steady && (!all || still_steady(vms, v))) {
                take(of, v, true, true, -1, full, account);
                ++account.n_known;
            } else {
                look_closely(of, vms, v, account);
            }
        }
        account.flush();
    }
    habits_ = {account.wanted[0],  account.expected_mhz, account.flavour[0], account.wanted[1],
               account.flavour[1], account.away_mhz,     account.n_known,    -std::int64_t{account.no_new_peaks[0]}};
    if (ticks_learned_ >= knobs_.ticks) learn_share(account);
}

// Whether what course_ says of a VM holds.
inline bool DemandWindow::still_steady(const VmColumns& vms, std::size_t v) const {
    return serves(vms.state[v]) && vms.app[v] == app_[v] && vms.age_s[v] < tick_s_ && vms.widen[v] == 1.0F &&
           vms.allocation[v * kResources + kDense] == 0.0F;
}

// Takes a sample in (fresh) for the one that falls out (was_there), and tells what the VM is expected to want.
[[gnu::always_inline]] inline void DemandWindow::take(const Columns& of, std::size_t v, bool fresh, bool was_there,
                                                      std::int32_t known, const Blend& blend, Account& account) {
    const Vec4 zero{};
    const Vec4 allocation = load4(of.allocation + v * kResources);
    const Vec4 demand = load4(of.demand + v * kResources);
    Record& record = of.records[v];
    float* const sample = of.samples + v * kDense;
    const Vec4 reference = record.reference;
    Vec4 sum = record.sum, square = record.square, peak = record.peak, newest = zero;
    if (was_there) {
        const Vec4 old = load4(sample) - reference;
        sum -= old;
        square -= old * old;
    }
    if (fresh) {
        newest = min4(allocation, demand);
        const Vec4 now = newest - reference;
        sum += now;
        square += now * now;
        store4(sample, newest);
        account.no_new_peaks += (demand >= peak) & Int4{known, known, known, known};
        peak = max4(demand, peak + (demand - peak) * of.forget);
        record.peak = peak;
    } else {
        newest = newest_of(v);
    }
    record.sum = sum;
    record.square = square;
    const Vec4 shift = sum * blend.inverse;
    Vec4 mean = reference + shift;
    mean += blend.newest * (newest - mean);
    mean = blend.trust * mean + blend.doubt * allocation;
    const Vec4 granted2 = allocation * allocation;
    const Vec4 prior = granted2 * blend.prior;
    const Vec4 spread = max4(zero, square * blend.inverse - shift * shift) * blend.spread;
    Load& load = of.loads[v];
    store4(load.mean.data(), mean);
    store4(load.variance.data(), max4(spread + prior, granted2 * blend.floor));
    load.credit = mean[0] * of.credit[v];
    if (!fresh) return;
    account.held_now += allocation;
    account.wanted_now += newest;
    account.expected_now += mean;
    account.flavour_now += load4(of.flavour + v * kResources);
    const Vec4 away = newest - mean;
    account.away_now += max4(away, -away);
    if (!of.watching) return;
    if (any4(demand >= of.tight * allocation)) tight_.push_back(static_cast<std::int32_t>(v));
}

// The same of any VM, and whether it is steady from now on.
void DemandWindow::look_closely(const Columns& of, const VmColumns& vms, std::size_t v, Account& account) {
    course_[v] = Course::odd;
    if (vms.state[v] == VmState::absent) {
        if (app_[v] == kNobody) return;
        forget(v);
        app_[v] = kNobody;
        loads_[v] = {};
        return;
    }
    if (vms.app[v] != app_[v]) forget(v);
    app_[v] = vms.app[v];
    const bool fresh = serves(vms.state[v]) && vms.age_s[v] < tick_s_;
    std::uint8_t& there = there_[slot_ * n_ + v];
    bool was_there = there != 0;
    const std::int32_t count = count_[v] += (fresh ? 1 : 0) - (was_there ? 1 : 0);
    if (!fresh) ++missed_[v];
    const std::int32_t seen = static_cast<std::int32_t>(ticks_learned_) + 1 - missed_[v];
    if (fresh && (static_cast<std::size_t>(seen) == watch_.settle_ticks[0] ||
                  static_cast<std::size_t>(seen) == watch_.settle_ticks[1]))
        settled_.push_back(static_cast<std::int32_t>(v));
    const float* const allocation = of.allocation + v * kResources;
    const bool gpus = allocation[kDense] != 0.0F || (has_gpus_ && gpus_[v].holds());
    if (gpus) learn_gpus(v, fresh, was_there, allocation[kDense], of.demand[v * kResources + kDense], account);
    if (count == (fresh ? 1 : 0)) { // all the others have fallen out
        records_[v].sum = records_[v].square = Vec4{};
        if (fresh) records_[v].reference = min4(load4(allocation), load4(of.demand + v * kResources));
        was_there = false;
    }
    there = fresh ? 1 : 0;
    const bool known = fresh && seen > watch_.few_samples;
    if (known) ++account.n_known;
    take(of, v, fresh, was_there, known ? -1 : 0, blend_of(static_cast<std::size_t>(count)), account);
    const float widen = vms.widen[v] * vms.widen[v];
    if (widen != 1.0F)
        for (float& variance : loads_[v].variance) variance *= widen;
    if (has_gpus_) tell_gpus(gpus_[v], by_count_[static_cast<std::size_t>(count)], allocation[kDense], widen);
    if (fresh && !gpus && widen == 1.0F && known && static_cast<std::size_t>(count) == knobs_.ticks)
        course_[v] = Course::steady;
}

void DemandWindow::learn_share(const Account& account) {
    if (account.held[0] > 0.0) ++ticks_seen_;
    const double weight = std::max(kShareWeight, 1.0 / std::max(1.0, static_cast<double>(ticks_seen_)));
    for (std::size_t r = 0; r < kResources; ++r)
        if (account.held[r] > 0.0)
            share_[r] +=
                static_cast<float>(weight * (account.wanted[r] / account.held[r] - static_cast<double>(share_[r])));
}

// Few VMs have one, so their numbers lie apart.
void DemandWindow::learn_gpus(std::size_t v, bool fresh, bool was_there, float granted, float demand,
                              Account& account) {
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
    account.held[kDense] += static_cast<double>(granted);
    account.wanted[kDense] += now;
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
