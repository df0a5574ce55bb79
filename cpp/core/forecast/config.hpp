// What the online engine is told once. The defaults serve every resource and horizon; docs/forecasting.md says on
// which data they were chosen.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace foreshade::forecast {

inline constexpr std::size_t kLevels = 7;
inline constexpr std::size_t kRow = 8; // a row of levels is padded to 8 so that loops over it are whole vectors
inline constexpr std::array<float, kLevels> kLevel{0.025F, 0.1F, 0.25F, 0.5F, 0.75F, 0.9F, 0.975F};
inline constexpr std::size_t kMedian = 3;
inline constexpr std::size_t kMaxHorizons = 8;
inline constexpr std::size_t kMaxExtraRows = 16;
inline constexpr std::uint32_t kDay = 288; // steps of 300 s
inline constexpr std::uint32_t kWeek = 2016;

using Row = std::array<float, kRow>; // one distribution: its quantiles at kLevel, the last entry unused

struct EngineConfig {
    std::vector<std::uint32_t> horizons{1, 3, 12, 288}; // steps ahead, ascending
    // Learn from one origin in so many. Loads repeat by the hour and its parts, 12 steps and their divisors: a stride
    // that shares a divisor with them would see some minutes of the hour always and others never.
    std::vector<std::uint32_t> strides{5, 7, 13, 37};
    std::vector<std::uint32_t> young_strides{1, 1, 1, 37}; // the same in a series' first `young_steps`
    std::uint32_t young_steps = kDay;
    std::uint32_t extra_rows = 0;      // experts from outside, see Engine::offer
    float learning_rate = 6.0F;        // of the mixture's weights, in units of each expert's own deviation
    float memory_steps = 2016.0F;      // an expert's record fades over a week: the rhythm of the load
    float pool_memory = 50.0F;         // learning steps that the record of all series covers, as a prior
    float pool_weight = 0.3F;          // of that prior beside the series' own record
    float smoothing = 0.1F;            // share of the record that all levels of one expert have in common
    float prior_count = 100.0F;        // samples that the shape shared by all series counts for in a young one
    float conformal_rate = 0.04F;      // log of the width per miss, per series (Gibbs and Candes 2021, eq. 2)
    float pool_conformal_rate = 0.02F; // the same, of the correction shared by all series
    std::uint32_t threads = 1;
};

} // namespace foreshade::forecast
