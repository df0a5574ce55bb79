// Hosts that are asked for more than they have at this moment.
//
// What a VM wants now is known, what it will want is not: so a VM that leaves at once saves the rest of the tick's
// unmet demand for certain, however rare such a tick is. Windows and horizons cannot tell this, as they average it
// away.
#include <algorithm>
#include <limits>
#include <stdexcept>

#include "core/packing.hpp"

namespace foreshade {

namespace {

constexpr float kLeastMean = 0.01F; // of its allocation, that a VM is taken to want in the mean

} // namespace

std::size_t Packing::relieve_now(const Moment& now) {
    if (now.cpu_mhz.size() != load_.size() || now.copy_h.size() != load_.size())
        throw std::invalid_argument("relieve_now: expected a demand and a time to copy for every VM");
    const auto at = [](std::int32_t i) { return static_cast<std::size_t>(i); };
    std::vector<float> wanted(n_hosts_, 0.0F), burst(n_hosts_, 0.0F); // MHz now; sum of square of it over mean
    const auto burst_of = [&](std::size_t v) {
        const float mean = std::max(load_[v].mean[0], kLeastMean * allocation_[v * kResources]);
        return mean > 0.0F ? now.cpu_mhz[v] * now.cpu_mhz[v] / mean : 0.0F;
    };
    const auto ask = [&](std::size_t v, std::size_t h, float sign) {
        wanted[h] += sign * (now.cpu_mhz[v] + hosts_.has(h).overhead[0]);
        burst[h] += sign * burst_of(v);
    };
    // What is short counts in MHz, and a VM's share of it the more the larger it is beside its mean.
    const auto lack = [&](std::size_t h, float asked, float bursts) {
        const float excess = asked - hosts_.has(h).capacity[0];
        if (excess <= 0.0F) return 0.0F;
        const float share = excess / asked;
        return excess + now.uneven * share * share * std::max(0.0F, bursts);
    };
    for (std::size_t v = 0; v < load_.size(); ++v)
        if (at_[v] >= 0) ask(v, at(at_[v]), 1.0F);
    std::vector<std::uint32_t> short_hosts;
    for (std::size_t h = 0; h < n_hosts_; ++h)
        if (n_here_[h] > 0 && wanted[h] > hosts_.has(h).capacity[0])
            short_hosts.push_back(static_cast<std::uint32_t>(h));
    std::stable_sort(short_hosts.begin(), short_hosts.end(), [&](std::uint32_t a, std::uint32_t b) {
        return wanted[a] - hosts_.has(a).capacity[0] > wanted[b] - hosts_.has(b).capacity[0];
    });
    std::size_t moved = 0;
    for (const std::size_t h : short_hosts) {
        while (wanted[h] > hosts_.has(h).capacity[0]) {
            const float lacking = lack(h, wanted[h], burst[h]);
            float most = knobs_.margin_usd;
            std::int32_t chosen = -1, to = -1;
            for (const std::int32_t vm : largest_first(h)) {
                const std::size_t v = at(vm);
                if (fixed_[v] != 0 || at_[v] != static_cast<std::int32_t>(h)) continue;
                const float rest_h = std::max(0.0F, now.tick_h - now.copy_h[v]);
                const float mhz = now.cpu_mhz[v], bursts = burst_of(v);
                const float relieved =
                    lacking - lack(h, wanted[h] - mhz - hosts_.has(h).overhead[0], burst[h] - bursts);
                const float certain = now.unmet_usd_h * relieved * rest_h - move_usd_[v] * now.price;
                if (certain <= most && certain <= 0.0F) continue;
                const float saved = certain + leaving_saves(v) * knobs_.horizon_h;
                if (saved <= most) continue;
                for (std::size_t k = 0; k < n_targets_; k += 4) {
                    bool priced = false;
                    for (std::size_t j = k; j < std::min(k + 4, n_targets_); ++j) {
                        const std::size_t t = targets_[j];
                        if (t == h || static_cast<std::int32_t>(t) == away_from_[v] || !fits(v, t, reserved_)) continue;
                        if (!priced) cost_->with_vm_at(hosts_, load_[v], std::span(targets_).subspan(k, 4), after_);
                        priced = true;
                        if (kin_ && kin_.beside(v, t)) after_[t] = cost_->of_host(hosts_, t, kin_.coming(v, t), 1.0F);
                        const float over = lack(t, wanted[t] + mhz + hosts_.has(t).overhead[0], burst[t] + bursts) -
                                           lack(t, wanted[t], burst[t]);
                        const float added = affinity_ ? affinity_.usd_h(v, t) : 0.0F;
                        const float gain =
                            saved - (after_[t] + added - now_[t]) * knobs_.horizon_h - now.unmet_usd_h * over * rest_h;
                        if (gain <= most) continue;
                        most = gain;
                        chosen = vm;
                        to = static_cast<std::int32_t>(t);
                    }
                }
            }
            if (chosen < 0) break;
            ask(at(chosen), h, -1.0F);
            ask(at(chosen), at(to), 1.0F);
            book(at(chosen), at(to));
            gain_usd_ += most;
            ++moved;
        }
    }
    return moved;
}

} // namespace foreshade
