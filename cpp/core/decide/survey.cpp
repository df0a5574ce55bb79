// The look at all hosts that begins a tick: context, and which hosts are crowded or idle.
#include "core/decide/proposer.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numbers>

#include "core/decide/assumed.hpp"
#include "core/decide/scaled.hpp"
#include "core/wide.hpp"

namespace foreshade {

float Proposer::mean_price(std::size_t ticks) const {
    const std::size_t n = ahead_.size() - 1;
    const std::size_t from = std::min(static_cast<std::size_t>(std::max<std::int64_t>(tick_, 0)), n - 1);
    const std::size_t to = std::min(n, from + std::max<std::size_t>(ticks, 1));
    return (ahead_[to] - ahead_[from]) / static_cast<float>(to - from);
}

FORESHADE_CLONES void Proposer::survey() {
    const ClusterState& state = planned_->state();
    const HostColumns& hosts = state.hosts;
    const HostSet& loads = planned_->loads();
    context_.fill(0.0F);
    std::array<float, kDense> wanted{}, there{};
    float ours = 0.0F, on = 0.0F, coming = 0.0F, asleep = 0.0F, hot = 0.0F, hazard = 0.0F, unmet = 0.0F;
    std::array<float, kDense> promised{}, promisable{};
    float n_on = 0.0F, idle_w = 0.0F;
    crowded_.clear();
    idle_.clear();
    alarmed_ = false;
    for (std::size_t h = 0; h < planned_->n_hosts(); ++h) {
        const float cpu = hosts.capacity[h * kResources];
        alarmed_ = alarmed_ || hosts.hazard_per_h[h] > kThreatPerH;
        if (site_->rented[h] == 0) {
            ours += cpu;
            const HostState s = hosts.state[h];
            if (s == HostState::booting || s == HostState::waking) coming += cpu;
            if (s == HostState::asleep) asleep += cpu;
        }
        if (hosts.state[h] != HostState::on) continue;
        if (site_->rented[h] == 0) on += cpu;
        n_on += 1.0F;
        hazard += hosts.hazard_per_h[h];
        idle_w += hosts.idle_w[h];
        for (std::size_t r = 0; r < kDense; ++r) {
            wanted[r] += loads.bears[h].mean[r];
            there[r] += hosts.capacity[h * kResources + r];
        }
        for (std::size_t r = 0; r < kDense; ++r) {
            promised[r] += hosts.allocated[h * kResources + r];
            promisable[r] += planned_->limit(h, r);
        }
        if (planned_->here(h) == 0) continue;
        const float sigma = std::sqrt(std::max(0.0F, loads.bears[h].variance[0]));
        const float excess = expected_excess(loads.bears[h].mean[0] - loads.has(h).capacity[0], sigma);
        unmet += excess;
        const float memory_sigma = std::sqrt(std::max(0.0F, loads.bears[h].variance[1]));
        const float crowd = std::max((loads.bears[h].mean[0] + 2.0F * sigma) * loads.has(h).inverse_cpu,
                                     (loads.bears[h].mean[1] + 2.0F * memory_sigma) / loads.has(h).capacity[1]);
        if (crowd > 1.0F) hot += 1.0F;
        crowded_.push_back({crowd + excess * loads.has(h).inverse_cpu, static_cast<std::int32_t>(h)});
        // What it draws for what it carries: a candidate to be emptied.
        idle_.push_back({loads.bears[h].mean[0] * loads.has(h).inverse_cpu +
                             hosts.allocated[h * kResources + 1] / planned_->limit(h, 1),
                         static_cast<std::int32_t>(h)});
    }
    const float cpu_share = wanted[0] / std::max(there[0], 1.0F);
    // Room is worth what idle hosts cost where promises, and not the CPU that is used, keep them on.
    const auto promised_share = [&](std::size_t r) { return promised[r] / std::max(promisable[r], 1.0F); };
    for (std::size_t r = 0; r < kDense; ++r)
        room_usd_h_[r] = idle_w * 1e-3F * usd_kwh_ / std::max(promisable[r], 1.0F) *
                         std::clamp((promised_share(r) - cpu_share) * 2.0F, 0.0F, 1.0F);
    const std::span<const VmState> states(state.vms.state);
    const std::size_t n_absent = count_of(states, VmState::absent);
    const std::size_t n_migrating = count_of(states, VmState::migrating);
    const auto n_vms = static_cast<float>(state.n_vms() - n_absent);
    const auto waiting = static_cast<float>(planned_->waiting().size()), migrating = static_cast<float>(n_migrating);
    const float day = static_cast<float>(std::fmod(state.time_s, static_cast<double>(kDaySeconds))) / kDaySeconds;
    const float week =
        static_cast<float>(std::fmod(state.time_s, 7.0 * static_cast<double>(kDaySeconds))) / (7.0F * kDaySeconds);
    constexpr float kTurn = 2.0F * std::numbers::pi_v<float>;
    auto& c = context_;
    c[context::day_sin] = std::sin(kTurn * day);
    c[context::day_cos] = std::cos(kTurn * day);
    c[context::week_sin] = std::sin(kTurn * week);
    c[context::week_cos] = std::cos(kTurn * week);
    const float mean = std::max(mean_usd_kwh_, 1e-12F);
    const auto hour = static_cast<std::size_t>(std::max(1.0F, 3600.0F / site_->tick_s));
    c[context::price_now] = clip(mean_price(1) / mean);
    c[context::price_1h] = clip(mean_price(hour) / mean);
    c[context::price_6h] = clip(mean_price(6 * hour) / mean);
    c[context::hosts_on] = on / std::max(ours, 1.0F);
    c[context::hosts_coming] = coming / std::max(ours, 1.0F);
    c[context::hosts_asleep] = asleep / std::max(ours, 1.0F);
    for (std::size_t r = 0; r < kDense; ++r)
        c[context::cpu_used + r] = clip_share(wanted[r] / std::max(there[r], 1.0F));
    c[context::memory_reserved] = clip_share(promised_share(1));
    c[context::waiting] = waiting / std::max(n_vms, 1.0F);
    c[context::migrating] = migrating / std::max(n_vms, 1.0F);
    c[context::unmet] = clip_share(100.0F * unmet / std::max(wanted[0], 1.0F));
    c[context::hot] = hot / std::max(n_on, 1.0F);
    c[context::hazard] = clip(100.0F * hazard / std::max(n_on, 1.0F));
    c[context::growth] = clip(10.0F * (expected_mhz_ - newest_mhz_) / std::max(there[0], 1.0F));
    c[context::drift] = -c[context::growth];
    c[context::cpu_of_flavour] = clip_share(newest_mhz_ / std::max(flavour_mhz_, 1.0F));
    c[context::memory_of_flavour] = clip_share(newest_mib_ / std::max(flavour_mib_, 1.0F));
    c[context::new_peaks] = new_peaks_;
    c[context::jitter] = clip_share(jitter_);
    c[context::energy_price] = std::log(factors_.energy);
    c[context::unmet_price] = std::log(factors_.unmet);
    c[context::migration_price] = std::log(factors_.migration);
    c[context::boot_price] = std::log(factors_.boot);
}

} // namespace foreshade
