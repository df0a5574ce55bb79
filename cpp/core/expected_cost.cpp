#include "core/expected_cost.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <stdexcept>
#include <string>

#include "core/curves.hpp"
#include "core/wide.hpp"

namespace foreshade {

namespace {

constexpr float kLeastSigma = 1e-6F; // keeps a = excess / sigma finite where nothing varies
constexpr float kFarBelow = -5.5F;   // beyond it E(D - C)^+ is less than 2e-9 sigma
constexpr float kSurelyFar = 31.0F;  // its square, and more than the rounding of any such comparison

Vec4 splat(float x) {
    return Vec4{x, x, x, x};
}

void store4(float* p, Vec4 v) {
    std::memcpy(p, &v, sizeof(v));
}

Vec4 sqrt4(Vec4 v) {
#if defined(__SSE__) && !defined(__clang__) // clang has no such builtin, and finds the instruction by itself
    return __builtin_ia32_sqrtps(v);
#else
    return Vec4{std::sqrt(v[0]), std::sqrt(v[1]), std::sqrt(v[2]), std::sqrt(v[3])};
#endif
}

// e^(-t²/2), t in [0, 9]: 2^k · 2^f with |f| <= 1/2, a minimax polynomial of degree 5 (relative error 8e-8 before
// rounding).
Vec4 gauss4(Vec4 t) {
    constexpr float kRound = 12582912.0F; // 1.5 · 2^23: adding it leaves no bits for a fraction
    const Vec4 y = t * t * splat(-0.72134752F);
    const Vec4 k = (y + splat(kRound)) - splat(kRound);
    const Vec4 f = y - k;
    Vec4 p = splat(0.001327637815847993F);
    p = p * f + splat(0.009675545617938042F);
    p = p * f + splat(0.05550713464617729F);
    p = p * f + splat(0.24022120237350464F);
    p = p * f + splat(0.6931469440460205F);
    p = p * f + splat(1.0F);
    const Int4 bits = (__builtin_convertvector(k, Int4) + 127) << 23;
    return p * reinterpret_cast<Vec4>(bits);
}

// E(D - C)^+ = σ G(a), and G(a) = max(a, 0) + e^(-a²/2) Q(|a|). 1/Q is fitted by a polynomial of degree 6 (least
// maximum of the relative error, 6e-5, on [0, 9]); Q falls as 1/t², so its inverse is the smooth one.
FORESHADE_CLONES Vec4 excess4(Vec4 excess, Vec4 sigma) {
    const Vec4 zero{};
    const Vec4 a = excess / sigma;
    if (!any4(a > splat(kFarBelow))) return zero;
    const Vec4 t = min4(max4(a, -a), splat(9.0F));
    Vec4 p = splat(-6.744117854395881e-05F);
    p = p * t + splat(0.002219266025349498F);
    p = p * t + splat(-0.030507713556289673F);
    p = p * t + splat(0.23139365017414093F);
    p = p * t + splat(1.4305884838104248F);
    p = p * t + splat(3.139918327331543F);
    p = p * t + splat(2.5067758560180664F);
    return max4(excess, zero) + sigma * gauss4(t) / p;
}

} // namespace

float expected_excess(float excess, float sigma) {
    return excess4(splat(excess), splat(std::max(sigma, kLeastSigma)))[0];
}

void HostSet::clear_loads() {
    std::fill(bears.begin(), bears.end(), Load{});
}

void HostSet::add(std::size_t i, const Load& load, float sign) {
    Load& here = bears[i];
    store4(here.mean.data(), load4(here.mean.data()) + splat(sign) * load4(load.mean.data()));
    store4(here.variance.data(), load4(here.variance.data()) + splat(sign) * load4(load.variance.data()));
    here.credit += sign * load.credit;
}

FORESHADE_CLONES void HostSet::set_sum(std::size_t i, std::span<const std::int32_t> vms, std::span<const Load> loads) {
    Vec4 means{};
    Vec4 variances{};
    float credits = 0.0F;
    const Vec4 more = load4(has_[i].overhead.data());
    for (const std::int32_t vm : vms) { // in the order in which add() would take them, so to the same bits
        const Load& load = loads[static_cast<std::size_t>(vm)];
        means += load4(load.mean.data()) + more;
        variances += load4(load.variance.data());
        credits += load.credit + more[0];
    }
    store4(bears[i].mean.data(), means);
    store4(bears[i].variance.data(), variances);
    bears[i].credit = credits;
}

ExpectedCost::ExpectedCost(const CostPrices& prices, const CostHosts& hosts)
    : prices_(prices), n_hosts_(hosts.cores.size()) {
    const std::size_t n = n_hosts_;
    const auto of_all = std::make_shared<std::vector<HostHas>>(padded(n));
    if (hosts.capacity.size() != n * kResources || hosts.vm_overhead.size() != n * kResources ||
        hosts.power_w.size() != n * 11)
        throw std::invalid_argument("expected cost: expected capacity and overhead (n, 5), power (n, 11) for n = " +
                                    std::to_string(n) + " hosts");
    std::vector<std::pair<float, std::int32_t>> kinds; // CPU capacity and cores of each curve
    for (std::size_t h = 0; h < n; ++h) {
        HostHas& has = (*of_all)[h];
        for (std::size_t r = 0; r < kDense; ++r) {
            has.capacity[r] = hosts.capacity[h * kResources + r];
            has.overhead[r] = hosts.vm_overhead[h * kResources + r];
            if (r < 2 && !(has.capacity[r] > 0.0F)) // an unmeasured link is no obstacle
                throw std::invalid_argument("expected cost: host " + std::to_string(h) +
                                            ": expected a positive capacity of resource " + std::to_string(r));
        }
        std::array<float, 11> watts{};
        std::copy_n(hosts.power_w.data() + h * 11, 11, watts.begin());
        const std::pair kind{has.capacity[0], hosts.cores[h]};
        std::size_t c = 0;
        while (c < kinds.size() && !(kinds[c] == kind && watts_[c] == watts)) ++c;
        if (c == kinds.size()) {
            kinds.push_back(kind);
            watts_.push_back(watts);
            cpu_mhz_.push_back(kind.first);
            const LateCurve late(kind.second, prices.slo_stretch);
            const PowerCurve power(watts);
            for (std::size_t i = 0; i < kStride; ++i) {
                sampled_w_.push_back(power(static_cast<float>(i) / static_cast<float>(kSteps)));
                const float share = std::min(1.0F, static_cast<float>(i) / static_cast<float>(kSteps));
                late_usd_h_.push_back(prices.late_usd_mhz_h * late(share) * share * kind.first);
            }
        }
        has.inverse_cpu = 1.0F / has.capacity[0];
        has.curve = static_cast<std::int32_t>(c * kStride);
    }
    has_ = of_all;
    running_.resize(late_usd_h_.size());
    set_energy_price(0.0F);
}

void ExpectedCost::set_energy_price(float usd_kwh) {
    if (usd_kwh == usd_kwh_) return;
    usd_kwh_ = usd_kwh;
    const float usd_w = usd_kwh * 1e-3F;
    for (std::size_t i = 0; i < running_.size(); ++i) running_[i] = usd_w * sampled_w_[i] + late_usd_h_[i];
    least_usd_mhz_h_ = std::numeric_limits<float>::infinity();
    for (std::size_t c = 0; c < watts_.size(); ++c) {
        static_assert(kSteps % kDense == 0);
        const float* const running = running_.data() + c * kStride;
        Vec4 rises = load4(running + 1) - load4(running);
        for (std::size_t i = kDense; i < kSteps; i += kDense)
            rises = min4(rises, load4(running + i + 1) - load4(running + i));
        const float rise = std::min(std::min(rises[0], rises[1]), std::min(rises[2], rises[3]));
        least_usd_mhz_h_ = std::min(least_usd_mhz_h_, rise * static_cast<float>(kSteps) / cpu_mhz_[c]);
    }
    least_usd_mhz_h_ = std::max(0.0F, least_usd_mhz_h_);
}

float ExpectedCost::power_w(std::size_t host, float share) const {
    return PowerCurve(watts_[static_cast<std::size_t>((*has_)[host].curve) / kStride])(share);
}

void ExpectedCost::select(std::span<const std::int32_t> hosts, HostSet& out) const {
    out.n_ = hosts.size();
    out.bears.assign(padded(hosts.size()), Load{});
    bool all = hosts.size() == n_hosts_;
    for (std::size_t i = 0; i < hosts.size() && all; ++i) all = hosts[i] == static_cast<std::int32_t>(i);
    if (all) {
        out.kept_ = has_;
    } else {
        std::vector<HostHas> some(padded(hosts.size()));
        for (std::size_t i = 0; i < hosts.size(); ++i) some[i] = (*has_)[static_cast<std::size_t>(hosts[i])];
        out.kept_ = std::make_shared<const std::vector<HostHas>>(std::move(some));
    }
    out.has_ = out.kept_->data();
}

Load ExpectedCost::standing(const HostSet& hosts, std::size_t i, const Load& vm) {
    Load load = vm;
    const HostHas& has = hosts.has(i);
    for (std::size_t r = 0; r < kDense; ++r) load.mean[r] += has.overhead[r];
    load.credit += has.overhead[0]; // so that the mean credit of a host is a quotient of sums
    return load;
}

// A row of each host, and of what is one number a host a column.
struct ExpectedCost::Four {
    std::array<Vec4, 4> mean, variance, capacity;
    Vec4 credit, inverse_cpu;
    std::array<std::int32_t, 4> curve;
};

namespace {

// A resource of four hosts.
template <int kResource> [[gnu::always_inline]] inline Vec4 column_of(const std::array<Vec4, 4>& rows) {
    constexpr int kR = kResource;
    const Vec4 low = __builtin_shufflevector(rows[0], rows[1], kR, kR + 4, kR, kR + 4);
    const Vec4 high = __builtin_shufflevector(rows[2], rows[3], kR, kR + 4, kR, kR + 4);
    return __builtin_shufflevector(low, high, 0, 1, 4, 5);
}

} // namespace

[[gnu::always_inline]] inline ExpectedCost::Four ExpectedCost::load_four(const HostSet& hosts, std::size_t i) {
    Four x;
    const Load* const bears = hosts.bears.data() + i;
    const HostHas* const has = hosts.has_ + i;
    for (std::size_t lane = 0; lane < 4; ++lane) {
        x.mean[lane] = load4(bears[lane].mean.data());
        x.variance[lane] = load4(bears[lane].variance.data());
        x.capacity[lane] = load4(has[lane].capacity.data());
        x.curve[lane] = has[lane].curve;
    }
    x.credit = Vec4{bears[0].credit, bears[1].credit, bears[2].credit, bears[3].credit};
    x.inverse_cpu = Vec4{has[0].inverse_cpu, has[1].inverse_cpu, has[2].inverse_cpu, has[3].inverse_cpu};
    return x;
}

[[gnu::always_inline]] inline Vec4 ExpectedCost::evaluate(const Four& x) const {
    const Vec4 zero{};
    const Vec4 s2 = splat(prices_.sigma_scale * prices_.sigma_scale), least = splat(kLeastSigma * kLeastSigma);
    const Vec4 sd = sqrt4(max4(column_of<0>(x.variance) * s2, least));
    const Vec4 to_steps = x.inverse_cpu * splat(static_cast<float>(kSteps));
    const auto running = [&](Vec4 cpu) {
        const Vec4 at = min4(max4(cpu * to_steps, zero), splat(static_cast<float>(kSteps)));
        const Int4 step = __builtin_convertvector(at, Int4);
        const Vec4 part = at - __builtin_convertvector(step, Vec4);
        Vec4 below{};
        Vec4 above{};
        for (int lane = 0; lane < 4; ++lane) {
            const float* cost = running_.data() + x.curve[static_cast<std::size_t>(lane)] + step[lane];
            below[lane] = cost[0];
            above[lane] = cost[1];
        }
        return below + (above - below) * part;
    };
    const Vec4 mean = column_of<0>(x.mean);
    const Vec4 usd = splat(0.5F) * (running(mean - sd) + running(mean + sd));
    // Of which resources any of the hosts may be short: excess4() is 0 below kFarBelow.
    Int4 near{};
    for (std::size_t lane = 0; lane < 4; ++lane) {
        const Vec4 excess = x.mean[lane] - x.capacity[lane];
        const Vec4 variance = max4(x.variance[lane] * s2, least);
        near |= (excess > zero) | (excess * excess < splat(kSurelyFar) * variance);
    }
    if (!any4(near)) return usd; // most
    const auto short_of = [&]<int kResource>() {
        if (near[kResource] == 0) return zero;
        const Vec4 excess = column_of<kResource>(x.mean) - column_of<kResource>(x.capacity);
        return excess4(excess, sqrt4(max4(column_of<kResource>(x.variance) * s2, least)));
    };
    Vec4 unmet = splat(prices_.unmet_usd_h[0]) * short_of.template operator()<0>();
    const Vec4 short_memory = short_of.template operator()<1>();
    unmet += splat(prices_.unmet_usd_h[1]) * short_memory;
    if (any4(short_memory > zero)) {
        // Not bounded by all of the CPU: a host that swaps must be worth less with each VM more, or nobody would
        // begin to relieve it.
        const Vec4 lost = splat(prices_.swap_factor) * short_memory / column_of<1>(x.capacity);
        unmet += splat(prices_.unmet_usd_h[0]) * max4(mean, zero) * lost;
    }
    unmet += splat(prices_.unmet_usd_h[2]) * short_of.template operator()<2>();
    unmet += splat(prices_.unmet_usd_h[3]) * short_of.template operator()<3>();
    if (!any4(unmet > zero)) return usd;
    return usd + unmet * max4(x.credit, zero) / max4(mean, splat(kLeastSigma));
}

FORESHADE_CLONES void ExpectedCost::of_set(const HostSet& hosts, std::span<float> out) const {
    for (std::size_t i = 0; i < hosts.size(); i += 4) {
        const Vec4 usd = evaluate(load_four(hosts, i));
        std::memcpy(out.data() + i, &usd, sizeof(usd));
    }
}

[[gnu::always_inline]] inline Vec4 ExpectedCost::four_with_vm(const HostSet& hosts, const Load& vm,
                                                              std::size_t i) const {
    Four x = load_four(hosts, i);
    const HostHas* const has = hosts.has_ + i;
    for (std::size_t lane = 0; lane < 4; ++lane) {
        x.mean[lane] += load4(vm.mean.data()) + load4(has[lane].overhead.data());
        x.variance[lane] += load4(vm.variance.data());
    }
    x.credit += splat(vm.credit) + Vec4{has[0].overhead[0], has[1].overhead[0], has[2].overhead[0], has[3].overhead[0]};
    return evaluate(x);
}

void ExpectedCost::with_vm(const HostSet& hosts, const Load& vm, std::span<const std::uint32_t> fours,
                           std::span<float> out) const {
    for (const std::uint32_t i : fours) {
        const Vec4 usd = four_with_vm(hosts, vm, i);
        std::memcpy(out.data() + i, &usd, sizeof(usd));
    }
}

void ExpectedCost::with_vm(const HostSet& hosts, const Load& vm, std::span<float> out) const {
    for (std::size_t i = 0; i < hosts.size(); i += 4) {
        const Vec4 usd = four_with_vm(hosts, vm, i);
        std::memcpy(out.data() + i, &usd, sizeof(usd));
    }
}

FORESHADE_CLONES void ExpectedCost::with_vm_at(const HostSet& hosts, const Load& vm,
                                               std::span<const std::uint32_t> places, std::span<float> out) const {
    const Vec4 mean = load4(vm.mean.data()), variance = load4(vm.variance.data());
    for (std::size_t k = 0; k < places.size(); k += 4) {
        const std::uint32_t* const at = places.data() + k;
        Four x;
        Vec4 credit{}, overhead{}, inverse_cpu{};
        for (std::size_t lane = 0; lane < 4; ++lane) {
            const Load& load = hosts.bears[at[lane]];
            const HostHas& has = hosts.has_[at[lane]];
            x.mean[lane] = load4(load.mean.data()) + mean + load4(has.overhead.data());
            x.variance[lane] = load4(load.variance.data()) + variance;
            x.capacity[lane] = load4(has.capacity.data());
            x.curve[lane] = has.curve;
            const auto l = static_cast<int>(lane);
            credit[l] = load.credit;
            overhead[l] = has.overhead[0];
            inverse_cpu[l] = has.inverse_cpu;
        }
        x.inverse_cpu = inverse_cpu;
        x.credit = credit + splat(vm.credit) + overhead;
        const Vec4 usd = evaluate(x);
        for (int lane = 0; lane < 4; ++lane) out[at[lane]] = usd[lane];
    }
}

FORESHADE_CLONES void ExpectedCost::of_host_each(const HostSet& hosts, std::size_t i, std::span<const std::int32_t> vms,
                                                 std::span<const Load> loads, float sign, std::span<float> out) const {
    Four x;
    const Load& bears = hosts.bears[i];
    const HostHas& has = hosts.has(i);
    const Vec4 mean = load4(bears.mean.data()) + splat(sign) * load4(has.overhead.data());
    const Vec4 variance = load4(bears.variance.data());
    const float credit = bears.credit + sign * has.overhead[0];
    x.capacity.fill(load4(has.capacity.data()));
    x.inverse_cpu = splat(has.inverse_cpu);
    x.curve.fill(has.curve);
    for (std::size_t k = 0; k < vms.size(); k += 4) {
        std::array<const Load*, 4> four{};
        for (std::size_t lane = 0; lane < 4; ++lane) { // what there are too few of is looked at twice
            four[lane] = &loads[static_cast<std::size_t>(vms[std::min(k + lane, vms.size() - 1)])];
            x.mean[lane] = mean + splat(sign) * load4(four[lane]->mean.data());
            x.variance[lane] = variance + splat(sign) * load4(four[lane]->variance.data());
        }
        x.credit =
            splat(credit) + splat(sign) * Vec4{four[0]->credit, four[1]->credit, four[2]->credit, four[3]->credit};
        const Vec4 usd = evaluate(x);
        for (std::size_t lane = 0; lane < std::min<std::size_t>(4, vms.size() - k); ++lane)
            out[k + lane] = usd[static_cast<int>(lane)];
    }
}

FORESHADE_CLONES float ExpectedCost::of_host(const HostSet& hosts, std::size_t i, const Load& vm, float sign) const {
    const std::size_t first = i / 4 * 4;
    const Load load = standing(hosts, i, vm);
    const Vec4 mean = splat(sign) * load4(load.mean.data()), variance = splat(sign) * load4(load.variance.data());
    Four x = load_four(hosts, first);
    for (std::size_t lane = 0; lane < 4; ++lane) {
        x.mean[lane] += mean;
        x.variance[lane] += variance;
    }
    x.credit += splat(sign * load.credit);
    return evaluate(x)[static_cast<int>(i - first)];
}

ExpectedCost::Split ExpectedCost::split(const HostSet& hosts, std::size_t i, const Load& vm, float sign,
                                        float usd) const {
    const Load load = standing(hosts, i, vm);
    const float mean = hosts.bears[i].mean[0] + sign * load.mean[0];
    const float variance = hosts.bears[i].variance[0] + sign * load.variance[0];
    const float sd = std::sqrt(std::max(variance, kLeastSigma * kLeastSigma)) * prices_.sigma_scale;
    const auto curve = static_cast<std::size_t>(hosts.has(i).curve);
    Split split{0.0F, 0.0F, 0.0F};
    for (const float cpu : {mean - sd, mean + sd}) {
        const float steps = static_cast<float>(kSteps);
        const float where = std::clamp(cpu * hosts.has(i).inverse_cpu * steps, 0.0F, steps);
        const auto step = static_cast<std::size_t>(where);
        const float part = where - static_cast<float>(step);
        const auto value = [&](const std::vector<float>& table) {
            const float below = table[curve + step];
            return 0.5F * (below + (table[curve + step + 1] - below) * part);
        };
        const float late = value(late_usd_h_);
        split.late += late;
        split.energy += value(running_) - late;
    }
    split.unmet = std::max(0.0F, usd - split.energy - split.late);
    return split;
}

float ExpectedCost::energy_usd_h(const HostSet& hosts, std::size_t i) const {
    const float sd = std::sqrt(std::max(hosts.bears[i].variance[0], kLeastSigma * kLeastSigma)) * prices_.sigma_scale;
    const auto curve = static_cast<std::size_t>(hosts.has(i).curve);
    const auto steps = static_cast<float>(kSteps);
    float usd = 0.0F;
    for (const float cpu : {hosts.bears[i].mean[0] - sd, hosts.bears[i].mean[0] + sd}) {
        const float where = std::clamp(cpu * hosts.has(i).inverse_cpu * steps, 0.0F, steps);
        const std::size_t k = curve + static_cast<std::size_t>(where);
        const float part = where - std::floor(where);
        const float below = running_[k] - late_usd_h_[k], above = running_[k + 1] - late_usd_h_[k + 1];
        usd += 0.5F * (below + (above - below) * part);
    }
    return usd;
}

void ExpectedCost::moves(const HostSet& hosts, std::span<const Load> vms, std::span<const std::int32_t> source,
                         std::span<float> out, std::vector<float>& scratch) const {
    const std::size_t n = hosts.size();
    const std::size_t room = padded(n);
    scratch.resize(2 * room);
    const std::span<float> before(scratch.data(), room);
    const std::span<float> after(scratch.data() + room, room);
    of_set(hosts, before);
    for (std::size_t k = 0; k < vms.size(); ++k) {
        with_vm(hosts, vms[k], after);
        float saved = 0.0F;
        if (source[k] >= 0) {
            const auto from = static_cast<std::size_t>(source[k]);
            saved = before[from] - of_host(hosts, from, vms[k], -1.0F);
        }
        float* row = out.data() + k * n;
        for (std::size_t h = 0; h < n; ++h) row[h] = after[h] - before[h] - saved;
        if (source[k] >= 0) row[source[k]] = 0.0F;
    }
}

} // namespace foreshade
