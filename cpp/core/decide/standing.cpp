#include "core/decide/standing.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <stdexcept>

namespace foreshade {

namespace {

constexpr std::size_t kFewRacks = 5; // of which all combinations are looked at
constexpr float kFill = 0.96F;       // of what may be promised: pieces never fill hosts to the brim

std::size_t at(std::int32_t i) {
    return static_cast<std::size_t>(i);
}

} // namespace

Standing::Standing(const ExpectedCost& cost, const StandingSite& site) : cost_(cost), site_(site) {
    const std::size_t n = cost.n_hosts();
    if (site.usable.size() != n || site.rack.size() != n || site.limit.size() != n * kResources ||
        site.off_usd_h.size() != n)
        throw std::invalid_argument("standing: expected columns for every host");
    std::vector<std::int32_t> all(n);
    std::iota(all.begin(), all.end(), 0);
    cost.select(all, hosts_);
    now_.resize(padded(n));
    rack_up_.resize(site.rack_usd_h.size());
}

bool Standing::enough(std::span<const std::uint8_t> stands, const StandingNeed& need) const {
    for (std::size_t r = 0; r < kResources; ++r) {
        if (need.promised[r] <= 0.0F) continue;
        float room = 0.0F;
        for (std::size_t h = 0; h < stands.size(); ++h)
            if (stands[h] != 0) room += site_.limit[h * kResources + r];
        if (need.promised[r] > room * (r == kDense ? 1.0F : kFill)) return false;
    }
    return true;
}

float Standing::free_mib(std::span<const std::uint8_t> stands, const StandingNeed& need) const {
    float room = 0.0F;
    for (std::size_t h = 0; h < stands.size(); ++h)
        if (stands[h] != 0) room += site_.limit[h * kResources + 1];
    return std::max(0.0F, room * kFill - need.promised[1]);
}

float Standing::usd_h(std::span<const std::uint8_t> stands, const StandingNeed& need) {
    std::array<float, kDense> capacity{};
    for (std::size_t h = 0; h < stands.size(); ++h)
        if (stands[h] != 0)
            for (std::size_t r = 0; r < kDense; ++r) capacity[r] += hosts_.has(h).capacity[r];
    hosts_.clear_loads();
    std::fill(rack_up_.begin(), rack_up_.end(), std::uint8_t{0});
    float sum = 0.0F;
    for (std::size_t h = 0; h < stands.size(); ++h) {
        if (stands[h] == 0) {
            sum += site_.off_usd_h[h];
            continue;
        }
        Load load;
        for (std::size_t r = 0; r < kDense; ++r) {
            const float share = hosts_.has(h).capacity[r] / std::max(capacity[r], 1e-6F);
            load.mean[r] = need.demand.mean[r] * share;
            load.variance[r] = need.demand.variance[r] * share;
        }
        load.credit = need.demand.credit * hosts_.has(h).capacity[0] / std::max(capacity[0], 1e-6F);
        hosts_.add(h, load);
        if (at(site_.rack[h]) < rack_up_.size()) rack_up_[at(site_.rack[h])] = 1;
    }
    cost_.of_set(hosts_, now_);
    for (std::size_t h = 0; h < stands.size(); ++h)
        if (stands[h] != 0) sum += now_[h];
    for (std::size_t k = 0; k < rack_up_.size(); ++k)
        if (rack_up_[k] != 0) sum += site_.rack_usd_h[k];
    return sum;
}

// One host after the other, each time the one without which the rest costs least, while the rest is enough.
float Standing::drop_hosts(std::vector<std::uint8_t>& stands, const StandingNeed& need) {
    float least = usd_h(stands, need);
    while (true) {
        std::size_t best = stands.size();
        for (std::size_t h = 0; h < stands.size(); ++h) {
            if (stands[h] == 0) continue;
            const bool seen = h > 0 && stands[h - 1] != 0 && hosts_.has(h).curve == hosts_.has(h - 1).curve &&
                              site_.rack[h] == site_.rack[h - 1] &&
                              site_.limit[h * kResources + 1] == site_.limit[(h - 1) * kResources + 1];
            if (seen) continue; // one like it was just looked at
            stands[h] = 0;
            if (enough(stands, need)) {
                const float cost = usd_h(stands, need);
                if (cost < least) {
                    least = cost;
                    best = h;
                }
            }
            stands[h] = 1;
        }
        if (best == stands.size()) return least;
        stands[best] = 0;
    }
}

std::vector<std::uint8_t> Standing::choose(const StandingNeed& need) {
    const std::vector<std::uint8_t> all(site_.usable.begin(), site_.usable.end());
    std::vector<std::uint8_t> best = all;
    if (!enough(all, need)) return best;
    const std::size_t n_racks = site_.rack_usd_h.size();
    const auto without = [&](std::vector<std::uint8_t> stands, std::size_t rack) {
        for (std::size_t h = 0; h < stands.size(); ++h)
            if (at(site_.rack[h]) == rack) stands[h] = 0;
        return stands;
    };
    if (n_racks <= kFewRacks) {
        float least = 0.0F;
        bool any = false;
        for (std::size_t mask = 0; mask < (std::size_t{1} << n_racks); ++mask) {
            std::vector<std::uint8_t> stands = all;
            for (std::size_t k = 0; k < n_racks; ++k)
                if ((mask >> k & 1) != 0) stands = without(std::move(stands), k);
            if (!enough(stands, need)) continue;
            const float cost = drop_hosts(stands, need);
            if (any && cost >= least) continue;
            any = true;
            least = cost;
            best = stands;
        }
        return best;
    }
    // Racks by what they cost for the memory that they may promise, the dearest first.
    std::vector<std::pair<float, std::size_t>> dear;
    for (std::size_t k = 0; k < n_racks; ++k) {
        float usd = site_.rack_usd_h[k], room = 0.0F;
        for (std::size_t h = 0; h < all.size(); ++h)
            if (all[h] != 0 && at(site_.rack[h]) == k) {
                usd += cost_.idle_usd_h(h);
                room += site_.limit[h * kResources + 1];
            }
        if (room > 0.0F) dear.emplace_back(-usd / room, k);
    }
    std::sort(dear.begin(), dear.end());
    float least = usd_h(best, need);
    for (const auto& [price, rack] : dear) {
        std::vector<std::uint8_t> stands = without(best, rack);
        if (!enough(stands, need)) continue;
        const float cost = usd_h(stands, need);
        if (cost >= least) continue;
        least = cost;
        best = std::move(stands);
    }
    return best;
}

} // namespace foreshade
