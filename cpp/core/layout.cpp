// The whole layout at once: which hosts are kept, and where the VMs of all others go.
//
// Emptying one host after another spreads its VMs over hosts that are emptied next, so most VMs move twice and it takes
// as many ticks. Here the number of kept hosts is chosen first, by the money of the horizon, with every VM that leaves
// placed where it adds least (longest processing time first: Graham, SIAM J. Appl. Math. 17, 1969).
#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <stdexcept>

#include "core/packing.hpp"

namespace foreshade {

namespace {

constexpr float kFullest = 0.95F;     // mean CPU load that no layout exceeds
constexpr float kWorthALook = 0.75F;  // share of the hosts that the load needs at least, above which none is sought
constexpr std::size_t kStepsDown = 3; // worse layouts in a row after which the search ends

} // namespace

bool Packing::lay_out(std::size_t budget, std::span<const float> rank, std::span<const float> price_usd,
                      std::span<const float> kept_usd_h) {
    if (rank.size() != n_hosts_ || price_usd.size() != n_hosts_ || kept_usd_h.size() != n_hosts_)
        throw std::invalid_argument("lay_out: expected a rank and prices for every host");
    if (affinity_) return false; // its trials do not see each other, as rules about places would want
    const auto at = [](std::int32_t i) { return static_cast<std::size_t>(i); };
    // Hosts that cannot be emptied are kept, then the best by rank, then those whose VMs would be most moves.
    std::vector<std::uint32_t> order;
    float wanted = 0.0F;
    for (std::size_t h = 0; h < n_hosts_; ++h) {
        if (use_[h] != HostUse::target || n_here_[h] == 0) continue;
        order.push_back(static_cast<std::uint32_t>(h));
        wanted += hosts_.bears[h].mean[0];
    }
    std::stable_sort(order.begin(), order.end(), [&](std::uint32_t a, std::uint32_t b) {
        const bool a_stays = n_fixed_[a] > 0, b_stays = n_fixed_[b] > 0;
        if (a_stays != b_stays) return a_stays;
        if (rank[a] != rank[b]) return rank[a] < rank[b];
        return n_here_[a] != n_here_[b] ? n_here_[a] > n_here_[b] : hosts_.bears[a].mean[0] > hosts_.bears[b].mean[0];
    });
    std::size_t least = 0, stays = 0;
    for (float room = 0.0F; least < order.size() && room < wanted; ++least) {
        const std::size_t h = order[least];
        room += kFullest * hosts_.has(h).capacity[0];
        stays += n_fixed_[h] > 0 ? 1 : 0;
    }
    least = std::max({least, stays, std::size_t{1}});
    if (static_cast<float>(least) > kWorthALook * static_cast<float>(order.size())) return false;

    std::vector<std::int32_t> leavers;
    std::vector<Move> best_moves;
    float best_gain = 0.0F;
    std::size_t best_kept = 0;
    // Gain over the horizon of keeping the first `kept` of the order; the moves are left in trial_moves_.
    const auto try_keeping = [&](std::size_t kept) -> float {
        constexpr float kImpossible = -std::numeric_limits<float>::infinity();
        leavers.clear();
        float saved_usd_h = 0.0F, paid_usd = 0.0F;
        for (std::size_t i = kept; i < order.size(); ++i) {
            const std::size_t h = order[i];
            use_[h] = HostUse::leaving;
            saved_usd_h += now_[h] - kept_usd_h[h];
            paid_usd += price_usd[h];
            for (const std::int32_t vm : largest_first(h))
                if (at_[at(vm)] == static_cast<std::int32_t>(h)) leavers.push_back(vm);
        }
        list_targets();
        trial_.copy_loads(hosts_);
        trial_now_ = now_;
        trial_reserved_ = reserved_;
        trial_moves_.clear();
        const auto size = [&](std::int32_t vm) {
            const Load& load = load_[at(vm)];
            return load.mean[0] + 0.5F * std::sqrt(std::max(0.0F, load.variance[0]));
        };
        std::stable_sort(leavers.begin(), leavers.end(),
                         [&](std::int32_t a, std::int32_t b) { return size(a) > size(b); });
        bool possible = leavers.size() <= budget;
        for (std::size_t k = 0; k < leavers.size() && possible; ++k) {
            const std::size_t v = at(leavers[k]);
            const std::int32_t to = cheapest(v, trial_, trial_now_, trial_reserved_, at_[v]);
            possible = to >= 0;
            if (!possible) break;
            const std::size_t t = at(to);
            saved_usd_h -= after_[t] - trial_now_[t];
            paid_usd += move_usd_[v] + knobs_.margin_usd;
            trial_.add(t, ExpectedCost::standing(trial_, t, load_[v]));
            trial_now_[t] = after_[t];
            for (std::size_t r = 0; r < kResources; ++r) trial_reserved_[t * kResources + r] += reservation(v, t, r);
            trial_moves_.push_back({leavers[k], at_[v], to});
        }
        for (std::size_t i = kept; i < order.size(); ++i) use_[order[i]] = HostUse::target;
        return possible ? saved_usd_h * knobs_.drain_horizon_h - paid_usd : kImpossible;
    };
    const auto look_at = [&](std::size_t kept) {
        const float gain = try_keeping(kept);
        if (gain <= best_gain) return false;
        best_gain = gain;
        best_kept = kept;
        best_moves = trial_moves_;
        return true;
    };
    for (std::size_t step = std::max<std::size_t>(1, least / 8);; step = std::max<std::size_t>(1, step / 4)) {
        const std::size_t middle = best_kept;
        const std::size_t from = middle == 0 ? least : std::max(least, middle - std::min(middle, 4 * step - 1));
        const std::size_t to = middle == 0 ? order.size() : std::min(order.size(), middle + 4 * step);
        std::size_t worse = 0;
        for (std::size_t kept = from; kept < to; kept += step) {
            if (look_at(kept))
                worse = 0;
            else if (best_kept > 0 && kept > best_kept && ++worse >= kStepsDown)
                break;
        }
        if (best_kept == 0 || step == 1) break;
    }
    list_targets();
    if (best_kept == 0) return false;
    for (const Move& move : best_moves) book(at(move.vm), at(move.destination));
    for (std::size_t i = best_kept; i < order.size(); ++i) use_[order[i]] = HostUse::leaving;
    list_targets();
    gain_usd_ += best_gain;
    return true;
}

} // namespace foreshade
