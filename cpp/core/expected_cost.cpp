#include "core/expected_cost.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <stdexcept>
#include <string>

#include "core/curves.hpp"

namespace foreshade {

namespace {

constexpr float kLeastSigma = 1e-6F; // keeps a = excess / sigma finite where nothing varies
constexpr float kFarBelow = -5.5F;   // beyond it E(D - C)^+ is less than 2e-9 sigma
constexpr float kSurelyFar = 31.0F;  // its square, and more than the rounding of any such comparison

Vec4 splat(float x) {
    return Vec4{x, x, x, x};
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
Vec4 excess4(Vec4 excess, Vec4 sigma) {
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

void HostSet::resize(std::size_t n) {
    n_ = n;
    const std::size_t room = padded(n);
    for (std::size_t r = 0; r < kDense; ++r) {
        mean[r].assign(room, 0.0F);
        variance[r].assign(room, 0.0F);
        capacity[r].assign(room, 1.0F);
        overhead[r].assign(room, 0.0F);
    }
    credit.assign(room, 0.0F);
    inverse_cpu.assign(room, 1.0F);
    curve.assign(room, 0);
}

void HostSet::clear_loads() {
    for (std::size_t r = 0; r < kDense; ++r) {
        std::fill(mean[r].begin(), mean[r].end(), 0.0F);
        std::fill(variance[r].begin(), variance[r].end(), 0.0F);
    }
    std::fill(credit.begin(), credit.end(), 0.0F);
}

void HostSet::add(std::size_t i, const Load& load, float sign) {
    for (std::size_t r = 0; r < kDense; ++r) {
        mean[r][i] += sign * load.mean[r];
        variance[r][i] += sign * load.variance[r];
    }
    credit[i] += sign * load.credit;
}

void HostSet::set_sum(std::size_t i, std::span<const std::int32_t> vms, std::span<const Load> loads) {
    Vec4 means{};
    Vec4 variances{};
    float credits = 0.0F;
    const Vec4 more{overhead[0][i], overhead[1][i], overhead[2][i], overhead[3][i]};
    for (const std::int32_t vm : vms) { // in the order in which add() would take them, so to the same bits
        const Load& load = loads[static_cast<std::size_t>(vm)];
        means += load4(load.mean.data()) + more;
        variances += load4(load.variance.data());
        credits += load.credit + more[0];
    }
    for (std::size_t r = 0; r < kDense; ++r) {
        mean[r][i] = means[r];
        variance[r][i] = variances[r];
    }
    credit[i] = credits;
}

void HostSet::copy_loads(const HostSet& other) {
    for (std::size_t r = 0; r < kDense; ++r) {
        mean[r] = other.mean[r];
        variance[r] = other.variance[r];
    }
    credit = other.credit;
}

ExpectedCost::ExpectedCost(const CostPrices& prices, const CostHosts& hosts)
    : prices_(prices), n_hosts_(hosts.cores.size()), curve_(n_hosts_) {
    const std::size_t n = n_hosts_;
    if (hosts.capacity.size() != n * kResources || hosts.vm_overhead.size() != n * kResources ||
        hosts.power_w.size() != n * 11)
        throw std::invalid_argument("expected cost: expected capacity and overhead (n, 5), power (n, 11) for n = " +
                                    std::to_string(n) + " hosts");
    std::vector<std::pair<float, std::int32_t>> kinds; // CPU capacity and cores of each curve
    for (std::size_t r = 0; r < kDense; ++r) {
        capacity_[r].resize(n);
        overhead_[r].resize(n);
    }
    for (std::size_t h = 0; h < n; ++h) {
        for (std::size_t r = 0; r < kDense; ++r) {
            capacity_[r][h] = hosts.capacity[h * kResources + r];
            overhead_[r][h] = hosts.vm_overhead[h * kResources + r];
            if (r < 2 && !(capacity_[r][h] > 0.0F)) // an unmeasured link is no obstacle
                throw std::invalid_argument("expected cost: host " + std::to_string(h) +
                                            ": expected a positive capacity of resource " + std::to_string(r));
        }
        std::array<float, 11> watts{};
        std::copy_n(hosts.power_w.data() + h * 11, 11, watts.begin());
        const std::pair kind{capacity_[0][h], hosts.cores[h]};
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
        curve_[h] = static_cast<std::int32_t>(c * kStride);
    }
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
    return PowerCurve(watts_[static_cast<std::size_t>(curve_[host]) / kStride])(share);
}

void ExpectedCost::select(std::span<const std::int32_t> hosts, HostSet& out) const {
    out.resize(hosts.size());
    for (std::size_t i = 0; i < hosts.size(); ++i) {
        const auto h = static_cast<std::size_t>(hosts[i]);
        for (std::size_t r = 0; r < kDense; ++r) {
            out.capacity[r][i] = capacity_[r][h];
            out.overhead[r][i] = overhead_[r][h];
        }
        out.inverse_cpu[i] = 1.0F / capacity_[0][h];
        out.curve[i] = curve_[h];
    }
}

Load ExpectedCost::standing(const HostSet& hosts, std::size_t i, const Load& vm) {
    Load load = vm;
    for (std::size_t r = 0; r < kDense; ++r) load.mean[r] += hosts.overhead[r][i];
    load.credit += hosts.overhead[0][i]; // so that the mean credit of a host is a quotient of sums
    return load;
}

struct ExpectedCost::Four {
    std::array<Vec4, kDense> mean, variance, capacity;
    Vec4 credit, inverse_cpu;
    const std::int32_t* curve;
};

[[gnu::always_inline]] inline ExpectedCost::Four ExpectedCost::load_four(const HostSet& hosts, std::size_t i) const {
    Four x;
    for (std::size_t r = 0; r < kDense; ++r) {
        x.mean[r] = load4(hosts.mean[r].data() + i);
        x.variance[r] = load4(hosts.variance[r].data() + i);
        x.capacity[r] = load4(hosts.capacity[r].data() + i);
    }
    x.credit = load4(hosts.credit.data() + i);
    x.inverse_cpu = load4(hosts.inverse_cpu.data() + i);
    x.curve = hosts.curve.data() + i;
    return x;
}

[[gnu::always_inline]] inline Vec4 ExpectedCost::evaluate(const Four& x) const {
    const Vec4 zero{};
    const Vec4 s2 = splat(prices_.sigma_scale * prices_.sigma_scale);
    const Vec4 sd = sqrt4(max4(x.variance[0] * s2, splat(kLeastSigma * kLeastSigma)));
    const Vec4 to_steps = x.inverse_cpu * splat(static_cast<float>(kSteps));
    const auto running = [&](Vec4 cpu) {
        const Vec4 at = min4(max4(cpu * to_steps, zero), splat(static_cast<float>(kSteps)));
        const Int4 step = __builtin_convertvector(at, Int4);
        const Vec4 part = at - __builtin_convertvector(step, Vec4);
        Vec4 below{};
        Vec4 above{};
        for (int lane = 0; lane < 4; ++lane) {
            const float* cost = running_.data() + x.curve[lane] + step[lane];
            below[lane] = cost[0];
            above[lane] = cost[1];
        }
        return below + (above - below) * part;
    };
    // Unmet demand, without a root and a quotient where it is nothing: excess4() is 0 below kFarBelow.
    const auto short_of = [&](std::size_t r) {
        const Vec4 excess = x.mean[r] - x.capacity[r];
        const Vec4 variance = max4(x.variance[r] * s2, splat(kLeastSigma * kLeastSigma));
        const Vec4 near = splat(kSurelyFar) * variance;
        if (!any4((excess > zero) | (excess * excess < near))) return zero;
        return excess4(excess, sqrt4(variance));
    };
    Vec4 usd = splat(0.5F) * (running(x.mean[0] - sd) + running(x.mean[0] + sd));
    Vec4 unmet = splat(prices_.unmet_usd_h[0]) * short_of(0);
    const Vec4 short_memory = short_of(1);
    unmet += splat(prices_.unmet_usd_h[1]) * short_memory;
    if (any4(short_memory > zero)) {
        // Not bounded by all of the CPU: a host that swaps must be worth less with each VM more, or nobody would
        // begin to relieve it.
        const Vec4 lost = splat(prices_.swap_factor) * short_memory / x.capacity[1];
        unmet += splat(prices_.unmet_usd_h[0]) * max4(x.mean[0], zero) * lost;
    }
    unmet += splat(prices_.unmet_usd_h[2]) * short_of(2);
    unmet += splat(prices_.unmet_usd_h[3]) * short_of(3);
    if (any4(unmet > zero)) usd += unmet * max4(x.credit, zero) / max4(x.mean[0], splat(kLeastSigma));
    return usd;
}

void ExpectedCost::of_set(const HostSet& hosts, std::span<float> out) const {
    for (std::size_t i = 0; i < hosts.size(); i += 4) {
        const Vec4 usd = evaluate(load_four(hosts, i));
        std::memcpy(out.data() + i, &usd, sizeof(usd));
    }
}

[[gnu::always_inline]] inline Vec4 ExpectedCost::four_with_vm(const HostSet& hosts, const Load& vm,
                                                              std::size_t i) const {
    Four x = load_four(hosts, i);
    for (std::size_t r = 0; r < kDense; ++r) {
        x.mean[r] += splat(vm.mean[r]) + load4(hosts.overhead[r].data() + i);
        x.variance[r] += splat(vm.variance[r]);
    }
    x.credit += splat(vm.credit) + load4(hosts.overhead[0].data() + i);
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

void ExpectedCost::with_vm_at(const HostSet& hosts, const Load& vm, std::span<const std::uint32_t> places,
                              std::span<float> out) const {
    for (std::size_t k = 0; k < places.size(); k += 4) {
        const std::uint32_t* const at = places.data() + k;
        const auto gather = [at](const std::vector<float>& column) {
            return Vec4{column[at[0]], column[at[1]], column[at[2]], column[at[3]]};
        };
        Four x;
        for (std::size_t r = 0; r < kDense; ++r) {
            x.mean[r] = gather(hosts.mean[r]) + splat(vm.mean[r]) + gather(hosts.overhead[r]);
            x.variance[r] = gather(hosts.variance[r]) + splat(vm.variance[r]);
            x.capacity[r] = gather(hosts.capacity[r]);
        }
        x.credit = gather(hosts.credit) + splat(vm.credit) + gather(hosts.overhead[0]);
        x.inverse_cpu = gather(hosts.inverse_cpu);
        const std::array<std::int32_t, 4> curve{hosts.curve[at[0]], hosts.curve[at[1]], hosts.curve[at[2]],
                                                hosts.curve[at[3]]};
        x.curve = curve.data();
        const Vec4 usd = evaluate(x);
        for (int lane = 0; lane < 4; ++lane) out[at[lane]] = usd[lane];
    }
}

void ExpectedCost::of_host_each(const HostSet& hosts, std::size_t i, std::span<const std::int32_t> vms,
                                std::span<const Load> loads, float sign, std::span<float> out) const {
    Four host;
    for (std::size_t r = 0; r < kDense; ++r) {
        host.mean[r] = splat(hosts.mean[r][i]) + splat(sign * hosts.overhead[r][i]);
        host.variance[r] = splat(hosts.variance[r][i]);
        host.capacity[r] = splat(hosts.capacity[r][i]);
    }
    host.credit = splat(hosts.credit[i]) + splat(sign * hosts.overhead[0][i]);
    host.inverse_cpu = splat(hosts.inverse_cpu[i]);
    const std::array<std::int32_t, 4> curve{hosts.curve[i], hosts.curve[i], hosts.curve[i], hosts.curve[i]};
    host.curve = curve.data();
    for (std::size_t k = 0; k < vms.size(); k += 4) {
        std::array<const Load*, 4> four{};
        for (std::size_t lane = 0; lane < 4; ++lane) // what there are too few of is looked at twice
            four[lane] = &loads[static_cast<std::size_t>(vms[std::min(k + lane, vms.size() - 1)])];
        const auto gather = [&](auto&& of) { return Vec4{of(*four[0]), of(*four[1]), of(*four[2]), of(*four[3])}; };
        Four x = host;
        for (std::size_t r = 0; r < kDense; ++r) {
            x.mean[r] += splat(sign) * gather([r](const Load& load) { return load.mean[r]; });
            x.variance[r] += splat(sign) * gather([r](const Load& load) { return load.variance[r]; });
        }
        x.credit += splat(sign) * gather([](const Load& load) { return load.credit; });
        const Vec4 usd = evaluate(x);
        for (std::size_t lane = 0; lane < std::min<std::size_t>(4, vms.size() - k); ++lane)
            out[k + lane] = usd[static_cast<int>(lane)];
    }
}

float ExpectedCost::of_host(const HostSet& hosts, std::size_t i, const Load& vm, float sign) const {
    const std::size_t first = i / 4 * 4;
    const auto lane = static_cast<int>(i - first);
    const Load load = standing(hosts, i, vm);
    Four x = load_four(hosts, first);
    for (std::size_t r = 0; r < kDense; ++r) {
        x.mean[r] += splat(sign * load.mean[r]);
        x.variance[r] += splat(sign * load.variance[r]);
    }
    x.credit += splat(sign * load.credit);
    return evaluate(x)[lane];
}

ExpectedCost::Split ExpectedCost::split(const HostSet& hosts, std::size_t i, const Load& vm, float sign,
                                        float usd) const {
    const Load load = standing(hosts, i, vm);
    const float mean = hosts.mean[0][i] + sign * load.mean[0];
    const float variance = hosts.variance[0][i] + sign * load.variance[0];
    const float sd = std::sqrt(std::max(variance, kLeastSigma * kLeastSigma)) * prices_.sigma_scale;
    const auto curve = static_cast<std::size_t>(hosts.curve[i]);
    Split split{0.0F, 0.0F, 0.0F};
    for (const float cpu : {mean - sd, mean + sd}) {
        const float steps = static_cast<float>(kSteps);
        const float where = std::clamp(cpu * hosts.inverse_cpu[i] * steps, 0.0F, steps);
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
    const float sd = std::sqrt(std::max(hosts.variance[0][i], kLeastSigma * kLeastSigma)) * prices_.sigma_scale;
    const auto curve = static_cast<std::size_t>(hosts.curve[i]);
    const auto steps = static_cast<float>(kSteps);
    float usd = 0.0F;
    for (const float cpu : {hosts.mean[0][i] - sd, hosts.mean[0][i] + sd}) {
        const float where = std::clamp(cpu * hosts.inverse_cpu[i] * steps, 0.0F, steps);
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
