// What the engine keeps of one series: plain memory, so that saving is copying.
#pragma once

#include <array>
#include <cstdint>

#include "core/forecast/config.hpp"
#include "core/forecast/rank.hpp"
#include "core/forecast/residual.hpp"
#include "core/forecast/window.hpp"

namespace foreshade::forecast {

// Experts that give a point and take the spread from the histogram of their own errors.
enum class Point : std::uint8_t { kLast, kLastLocal, kSmoothed, kYesterday };
inline constexpr std::size_t kPoints = 4;

// Rows of experts: the windows, the points, the rank, then those from outside.
inline constexpr std::size_t kFirstPoint = kWindows;
inline constexpr std::size_t kRank = kWindows + kPoints;
inline constexpr std::size_t kExperts = kRank + 1;
inline constexpr std::size_t kMaxRows = kExperts + kMaxExtraRows;

struct Series {
    std::uint32_t seen = 0;
    std::uint32_t gap = 0;   // steps since the last sample
    std::uint32_t born = 0;  // clock of the first sample
    std::uint32_t phase = 0; // which of the steps it learns from
    float last = 0.0F;
    float level = 0.0F; // exponential smoothing
    float slow = 0.0F;  // mean step over a day: the scale of errors
    float local = 0.0F; // the same over an hour
    std::array<std::uint16_t, kWindows> filled{};
    std::uint16_t oldest = 0;                         // of `long_ring`, once it is full
    std::array<std::uint16_t, kMaxHorizons> phases{}; // phase % stride
    std::array<float, kSortedCells> sorted;           // the windows side by side
    std::array<float, kDay> day;                      // the sample of each step, NaN = missing
    std::array<float, kDay> long_ring;                // the samples of the long window as they came
};
static_assert(kWindowStart.back() + kWindowCells.back() == kSortedCells);

// One origin whose outcome is not yet known; its rows lie beside it, as differences from the mixture.
struct Origin {
    std::uint32_t due; // 0 = none: the clock starts at 1
    float slow;
    float local;
    std::uint32_t rank;
    Row mixture;
    Row answer; // the mixture after the conformal correction
    std::array<float, kPoints> point;
};

struct Horizon {
    std::uint32_t learnt = 0;
    float norm = 0.0F;                    // mean loss of the mixture
    Row width{};                          // log of the factor on the distance from the median, the conformal correction
    std::array<Row, kPoints> error_row{}; // quantiles of `errors`, refreshed in turn
    std::array<Histogram, kPoints> errors{};
    Ranks ranks{};
};

} // namespace foreshade::forecast
