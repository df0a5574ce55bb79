// What the online engine is told once. The defaults serve every resource and horizon; they were chosen on PlanetLab
// and Bitbrains (docs/forecasting.md says on which part) and never per data set.
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
inline constexpr std::size_t kWeek = 2016; // samples kept of each series: a week of 300 s
inline constexpr std::size_t kDay = 288;

using Row = std::array<float, kRow>; // one distribution: its quantiles at kLevel, the last entry unused

struct EngineConfig {
    std::vector<std::uint32_t> horizons{1, 3, 12, 288}; // steps ahead, ascending
    std::vector<std::uint32_t> strides{1, 1, 3, 48};    // learn from one origin in so many; origins overlap anyway
    float learning_rate = 2.0F;        // of the mixture's weights, in units of each expert's own deviation
    float memory_steps = 2016.0F;      // an expert's record fades over a week: the rhythm of the load
    float pool_memory = 50.0F;         // learning steps that the record of all series covers, as a prior
    float pool_weight = 0.3F;          // of that prior beside the series' own record
    float smoothing = 0.1F;            // share of the record that all levels of one expert have in common
    float prior_count = 10.0F;         // samples that the shape shared by all series counts for in a young one
    float conformal_rate = 0.04F;      // log of the width per miss, per series (Gibbs and Candes 2021, eq. 2)
    float pool_conformal_rate = 0.02F; // the same, of the correction shared by all series
    std::uint32_t threads = 1;
};

} // namespace foreshade::forecast
