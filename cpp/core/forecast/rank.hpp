// Where the load will rank in its own week, given where it ranks now: a discrete copula of (now, h steps ahead).
// Independence gives the window's quantiles, a full diagonal the last value; most loads lie between, and a jump
// between two regimes, which no point forecast with residuals can tell, has its mass in two places.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>

#include "core/forecast/config.hpp"
#include "core/forecast/lanes.hpp"
#include "core/forecast/window.hpp"

namespace foreshade::forecast {

inline constexpr std::size_t kRanksNow = 8;
inline constexpr std::size_t kRanksAhead = 16;
inline constexpr std::uint16_t kRankCount = 64; // mass of one sample
inline constexpr std::uint32_t kRankCap = 500 * 64;

using RankRow = std::array<std::uint16_t, kRanksAhead>;
using Ranks = std::array<RankRow, kRanksNow>;

inline std::uint8_t rank_now(const float* sorted, std::size_t n, float value) {
    const std::size_t twice = count_below(sorted, n, value) + count_up_to(sorted, n, value);
    return static_cast<std::uint8_t>(std::min(kRanksNow - 1, twice * kRanksNow / (2 * n)));
}

// The share of one sample that falls into each cell: a tie spreads over all the ranks that it holds.
inline void rank_shares(const float* sorted, std::size_t n, float value, std::array<float, kRanksAhead>& share) {
    const auto size = static_cast<float>(n);
    float low = static_cast<float>(count_below(sorted, n, value)) / size;
    float high = static_cast<float>(count_up_to(sorted, n, value)) / size;
    constexpr float width = 1.0F / static_cast<float>(kRanksAhead);
    if (!(high > low)) { // never seen before: it lies between two ranks, or beyond the last
        low = std::min(low, 1.0F - 1e-4F);
        high = low + 1e-4F;
    }
    const float per_rank = 1.0F / (high - low);
    for (std::size_t c = 0; c < kRanksAhead; c += kLanes) {
        const Lanes cell = (static_cast<float>(c) + Lanes{0.0F, 1.0F, 2.0F, 3.0F}) * width;
        const Lanes part = lesser(all_lanes(high), cell + width) - greater(all_lanes(low), cell);
        store(&share[c], greater(part, Lanes{}) * per_rank);
    }
}

inline void count_rank(RankRow& row, const std::array<float, kRanksAhead>& share) {
    std::uint32_t total = 0;
    for (std::size_t c = 0; c < kRanksAhead; ++c) {
        row[c] = static_cast<std::uint16_t>(row[c] + static_cast<std::uint16_t>(share[c] * kRankCount + 0.5F));
        total += row[c];
    }
    if (total < kRankCap) return;
    for (auto& cell : row) cell = static_cast<std::uint16_t>(cell >> 1);
}

inline void rank_quantiles(const RankRow& own, const float* shared, const float* sorted, std::size_t n, Row& out) {
    std::array<float, kRanksAhead> mass;
    float total = 0.0F;
    for (std::size_t c = 0; c < kRanksAhead; ++c) {
        mass[c] = static_cast<float>(own[c]) * (1.0F / kRankCount) + shared[c] + 1e-3F;
        total += mass[c];
    }
    float below = 0.0F;
    std::size_t c = 0;
    for (std::size_t l = 0; l < kLevels; ++l) {
        const float wanted = kLevel[l] * total;
        while (c + 1 < kRanksAhead && below + mass[c] < wanted) below += mass[c++];
        const float inside = std::min((wanted - below) / mass[c], 1.0F);
        out[l] = quantile_sorted(sorted, n, (static_cast<float>(c) + inside) / static_cast<float>(kRanksAhead));
    }
}

} // namespace foreshade::forecast
