// The pass over all VMs in which a window takes a tick's samples in.
//
// Most VMs are steady: of these it is one loop, over two VMs at once where the machine can. What is summed over VMs
// goes to the lanes of even and of odd ones in either case, and whether a VM is looked at closely changes no sum.
#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstring>

#include "core/demand_window.hpp"
#include "core/wide.hpp"

#pragma GCC diagnostic ignored "-Wpsabi" // as in wide.hpp

namespace foreshade {

namespace {

bool serves(VmState state) {
    return state == VmState::running || state == VmState::migrating;
}

} // namespace

// mean = trust x window's mean + doubt x allocation; variance likewise of the squares.
template <class V> struct DemandWindow::Law {
    V inverse, newest, trust, doubt;
    V spread;       // of the variance of the samples
    V prior, floor; // of the allocation's square
    V forget;
    V tight;
};

// What a pass over the VMs reads and writes by their first elements: in a value of its own, since what is written to a
// column could be any member.
struct DemandWindow::Columns {
    const float *allocation, *demand, *credit;
    Record* records;
    Load* loads;
    float* samples; // of the tick
    bool watching;
};

struct DemandWindow::Account {
    static constexpr std::size_t kFlush = 64;    // single precision holds the sum of so many VMs
    using Lanes = std::array<float, 2 * kDense>; // even VMs, odd VMs
    alignas(32) Lanes held_now{}, wanted_now{}, expected_now{}, away_now{};
    alignas(32) std::array<std::int32_t, 2 * kDense> no_new_peaks{}; // minus their number
    std::int64_t n_known = 0;
    std::array<double, kResources> held{}, wanted{};
    double expected_mhz = 0.0, away_mhz = 0.0;

    void flush() {
        const auto both = [](const Lanes& lanes, std::size_t r) {
            return static_cast<double>(lanes[r]) + static_cast<double>(lanes[kDense + r]);
        };
        for (std::size_t r = 0; r < kDense; ++r) {
            held[r] += both(held_now, r);
            wanted[r] += both(wanted_now, r);
        }
        expected_mhz += both(expected_now, 0);
        away_mhz += both(away_now, 0);
        held_now = wanted_now = expected_now = away_now = Lanes{};
    }
    template <class V> FORESHADE_INLINE static void add(Lanes& lanes, std::size_t v, V x) {
        float* const at = lanes.data() + (kVmsOf<V> == 1 ? lane(v) : 0);
        store_of<V>(at, load_of<V>(at) + x);
    }
};

template <class V> DemandWindow::Law<V> DemandWindow::law_of(std::size_t count) const {
    const ByCount& of = by_count_[count];
    const auto all = [](float x) { return each<V>(splat<Vec4>(x)); };
    const Vec4 prior = load4(knobs_.prior_sigma.data()), floor = load4(knobs_.floor_sigma.data());
    return {all(of.inverse),
            all(of.newest),
            all(of.trust),
            each<V>(splat<Vec4>(1.0F - of.trust) * load4(share_.data())),
            all(of.trust_sigma * of.bessel),
            each<V>(splat<Vec4>(1.0F - of.trust_sigma) * prior * prior),
            each<V>(floor * floor),
            all(forget_),
            each<V>(load4(watch_.tight.data()))};
}

// Takes a sample in (fresh) for the one that falls out (was_there), and tells what the VM is expected to want; of two
// VMs where V holds two. `known`: its peak says something.
template <class V>
FORESHADE_INLINE void DemandWindow::take(const Columns& of, const Law<V>& law, std::size_t v, bool fresh,
                                         bool was_there, bool known, Account& account) {
    const V zero{};
    const V allocation = load_of<V>(of.allocation + v * kResources, kResources);
    const V demand = load_of<V>(of.demand + v * kResources, kResources);
    Record& record = of.records[v / 2];
    const std::size_t l = kVmsOf<V> == 1 ? lane(v) : 0;
    float* const sample = of.samples + v * kDense;
    const V reference = load_of<V>(record.reference.data() + l);
    V sum = load_of<V>(record.sum.data() + l), square = load_of<V>(record.square.data() + l), newest = zero;
    if (was_there) {
        const V old = load_of<V>(sample) - reference;
        sum -= old;
        square -= old * old;
    }
    if (fresh) {
        newest = least(allocation, demand);
        const V now = newest - reference;
        sum += now;
        square += now * now;
        store_of<V>(sample, newest);
        const V peak = load_of<V>(record.peak.data() + l);
        if (known) {
            std::int32_t* const at = account.no_new_peaks.data() + l;
            auto reached = demand >= peak, so_far = reached;
            std::memcpy(&so_far, at, sizeof(so_far));
            reached += so_far;
            std::memcpy(at, &reached, sizeof(reached));
        }
        store_of<V>(record.peak.data() + l, most(demand, peak + (demand - peak) * law.forget));
    } else {
        newest = each<V>(newest_of(v));
    }
    store_of<V>(record.sum.data() + l, sum);
    store_of<V>(record.square.data() + l, square);
    const V shift = sum * law.inverse;
    V mean = reference + shift;
    mean += law.newest * (newest - mean);
    mean = law.trust * mean + law.doubt * allocation;
    const V granted2 = allocation * allocation;
    const V prior = granted2 * law.prior;
    const V spread = most(zero, square * law.inverse - shift * shift) * law.spread;
    Load* const load = of.loads + v;
    static_assert(sizeof(Load) % sizeof(float) == 0);
    constexpr std::size_t kStride = sizeof(Load) / sizeof(float);
    store_of<V>(load->mean.data(), mean, kStride);
    store_of<V>(load->variance.data(), most(spread + prior, granted2 * law.floor), kStride);
    for (std::size_t i = 0; i < kVmsOf<V>; ++i) load[i].credit = mean[static_cast<int>(i * kDense)] * of.credit[v + i];
    if (!fresh) return;
    Account::add<V>(account.held_now, v, allocation);
    Account::add<V>(account.wanted_now, v, newest);
    Account::add<V>(account.expected_now, v, mean);
    const V away = newest - mean;
    Account::add<V>(account.away_now, v, most(away, -away));
    if (!of.watching) return;
    const auto close = demand >= law.tight * allocation;
    if constexpr (kVmsOf<V> == 1) {
        if (any4(close)) tight_.push_back(static_cast<std::int32_t>(v));
    } else {
        const Vec8 flags = reinterpret_cast<Vec8>(close);
        const auto low = reinterpret_cast<Int4>(low_of(flags)), high = reinterpret_cast<Int4>(high_of(flags));
        if (!any4(low | high)) return;
        if (any4(low)) tight_.push_back(static_cast<std::int32_t>(v));
        if (any4(high)) tight_.push_back(static_cast<std::int32_t>(v + 1));
    }
}

template <class V> FORESHADE_INLINE void DemandWindow::pass_over(const VmColumns& vms, bool all) {
    Account account;
    const Columns of{vms.allocation.data(),
                     vms.demand.data(),
                     vms.credit.data(),
                     records_.data(),
                     loads_.data(),
                     samples_.data() + slot_ * n_ * kDense,
                     watching_};
    const std::size_t since = samples_since_reset(); // of a steady VM, this tick's included
    const bool full = since > knobs_.ticks;          // else no sample falls out yet
    const std::size_t count = std::min(since, knobs_.ticks);
    const bool known = static_cast<std::int32_t>(since) > watch_.few_samples;
    const auto one = law_of<Vec4>(count);
    const auto two = law_of<V>(count);
    const Course* const course = course_.data();
    const auto is_steady = [&](std::size_t v) { return course[v] == Course::steady && (!all || still_steady(vms, v)); };
    const auto both_steady = [&](std::size_t v) {
        std::uint16_t of_both = 0;
        std::memcpy(&of_both, course + v, sizeof(of_both));
        constexpr auto kBoth = std::bit_cast<std::uint16_t>(std::array{Course::steady, Course::steady});
        return of_both == kBoth && (!all || (still_steady(vms, v) && still_steady(vms, v + 1)));
    };
    const auto note = [&](std::size_t v) { // what says how full the window of a steady VM is
        ++count_[v];
        there_[slot_ * n_ + v] = 1;
    };
    std::int64_t n_steady = 0;
    for (std::size_t first = 0; first < n_; first += Account::kFlush) {
        const std::size_t end = std::min(n_, first + Account::kFlush);
        for (std::size_t v = first; v < end;) {
            if constexpr (kVmsOf<V> == 2) {
                const std::size_t begin = v;
                if (full && known && of.watching) // nothing to ask of each
                    for (; v + 1 < end && both_steady(v); v += 2) take<V>(of, two, v, true, true, true, account);
                else
                    for (; v + 1 < end && both_steady(v); v += 2) {
                        take<V>(of, two, v, true, full, known, account);
                        if (full) continue;
                        note(v);
                        note(v + 1);
                    }
                n_steady += static_cast<std::int64_t>(v - begin);
            }
            // Both of a pair, so that the next begins with an even one.
            for (const std::size_t last = std::min(end, v + kVmsOf<V>); v < last; ++v) {
                if (!is_steady(v)) {
                    look_closely(of, vms, v, account);
                    continue;
                }
                take<Vec4>(of, one, v, true, full, known, account);
                if (!full) note(v);
                ++n_steady;
            }
        }
        account.flush();
    }
    std::int64_t reached = 0;
    for (std::size_t r = 0; r < 2 * kDense; r += kDense) reached -= account.no_new_peaks[r];
    constexpr double kUnit = 1.0 / 1024.0;
    habits_ = {account.wanted[0],
               account.expected_mhz,
               static_cast<double>(served_sum_[0]) * kUnit,
               account.wanted[1],
               static_cast<double>(served_sum_[1]) * kUnit,
               account.away_mhz,
               account.n_known + (known ? n_steady : 0),
               reached};
    if (ticks_learned_ >= knobs_.ticks) learn_share(account.held, account.wanted);
}

void DemandWindow::pass_narrow(const VmColumns& vms, bool all) {
    pass_over<Vec4>(vms, all);
}

FORESHADE_AVX2 void DemandWindow::pass_wide(const VmColumns& vms, bool all) {
    pass_over<Vec8>(vms, all);
}

void DemandWindow::pass(const VmColumns& vms, bool all) {
    if (wide_lanes())
        pass_wide(vms, all);
    else
        pass_narrow(vms, all);
}

// Whether what course_ says of a VM holds.
bool DemandWindow::still_steady(const VmColumns& vms, std::size_t v) const {
    return serves(vms.state[v]) && vms.app[v] == app_[v] && vms.age_s[v] < tick_s_ && vms.widen[v] == 1.0F &&
           vms.allocation[v * kResources + kDense] == 0.0F && flavour_of(vms, v) == served_[v];
}

DemandWindow::Flavour DemandWindow::flavour_of(const VmColumns& vms, std::size_t v) {
    const auto units = [&](std::size_t r) {
        return std::llround(static_cast<double>(vms.flavour[v * kResources + r]) * 1024.0);
    };
    return {units(0), units(1)};
}

void DemandWindow::serve(std::size_t v, const Flavour& flavour) {
    for (std::size_t r = 0; r < flavour.size(); ++r) served_sum_[r] += flavour[r] - served_[v][r];
    served_[v] = flavour;
}

// A VM of which more may be new than a sample, and whether it is steady from now on.
void DemandWindow::look_closely(const Columns& of, const VmColumns& vms, std::size_t v, Account& account) {
    course_[v] = Course::odd;
    if (vms.state[v] == VmState::absent) {
        if (app_[v] == kNobody) return;
        forget(v);
        app_[v] = kNobody;
        loads_[v] = {};
        serve(v, {});
        return;
    }
    if (vms.app[v] != app_[v]) forget(v);
    app_[v] = vms.app[v];
    const bool fresh = serves(vms.state[v]) && vms.age_s[v] < tick_s_;
    serve(v, fresh ? flavour_of(vms, v) : Flavour{});
    std::uint8_t& there = there_[slot_ * n_ + v];
    bool was_there = there != 0;
    const std::int32_t count = count_[v] += (fresh ? 1 : 0) - (was_there ? 1 : 0);
    if (!fresh) ++missed_[v];
    const std::int32_t seen = static_cast<std::int32_t>(ticks_learned_) + 1 - missed_[v];
    if (fresh && (static_cast<std::size_t>(seen) == watch_.settle_ticks[0] ||
                  static_cast<std::size_t>(seen) == watch_.settle_ticks[1]))
        settled_.push_back(static_cast<std::int32_t>(v));
    const float* const allocation = of.allocation + v * kResources;
    const float* const demand = of.demand + v * kResources;
    const bool gpus = allocation[kDense] != 0.0F || (has_gpus_ && gpus_[v].holds());
    if (gpus) {
        learn_gpus(v, fresh, was_there, allocation[kDense], demand[kDense]);
        if (fresh) {
            account.held[kDense] += static_cast<double>(allocation[kDense]);
            account.wanted[kDense] += static_cast<double>(std::min(demand[kDense], allocation[kDense]));
        }
    }
    if (count == (fresh ? 1 : 0)) { // all the others have fallen out
        Record& record = records_[v / 2];
        const Vec4 zero{};
        store_of<Vec4>(record.sum.data() + lane(v), zero);
        store_of<Vec4>(record.square.data() + lane(v), zero);
        if (fresh) store_of<Vec4>(record.reference.data() + lane(v), min4(load4(allocation), load4(demand)));
        was_there = false;
    }
    there = fresh ? 1 : 0;
    const bool known = fresh && seen > watch_.few_samples;
    if (known) ++account.n_known;
    const auto held = static_cast<std::size_t>(count);
    const auto law = law_of<Vec4>(held);
    take<Vec4>(of, law, v, fresh, was_there, known, account);
    const float widen = vms.widen[v] * vms.widen[v];
    if (widen != 1.0F)
        for (float& variance : loads_[v].variance) variance *= widen;
    if (has_gpus_) tell_gpus(gpus_[v], by_count_[held], allocation[kDense], widen);
    const bool since_reset = held == samples_since_reset();
    if (fresh && !gpus && widen == 1.0F && (since_reset || (known && held == knobs_.ticks)))
        course_[v] = Course::steady;
}

} // namespace foreshade
