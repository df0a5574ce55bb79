// What the engine keeps of one series: plain memory, so that saving is copying.
#pragma once

#include <array>
#include <cstdint>

#include "core/forecast/config.hpp"
#include "core/forecast/mixture.hpp"
#include "core/forecast/rank.hpp"
#include "core/forecast/regression.hpp"
#include "core/forecast/residual.hpp"
#include "core/forecast/window.hpp"

namespace foreshade::forecast {

// Experts that give a point and take the spread from the histogram of their own errors.
enum class Point : std::uint8_t { kLast, kLastLocal, kSes50, kSes20, kSes05, kDaily, kWeekly, kRegression };
inline constexpr std::size_t kPoints = 8;
inline constexpr std::array<float, 3> kSesRate{0.5F, 0.2F, 0.05F};

// Rows of `Rows`: the windows, the points, then those that give quantiles of their own.
inline constexpr std::size_t kFirstPoint = kWindows;
inline constexpr std::size_t kTimeOfDay = kWindows + kPoints;
inline constexpr std::size_t kRankLast = kTimeOfDay + 1;
inline constexpr std::size_t kRankLevel = kTimeOfDay + 2;
static_assert(kRankLevel + 1 == kExperts);

struct Series {
    std::array<float, kWeek> ring;          // the sample of each step, NaN = missing
    std::array<float, kWindowCells> sorted; // the windows side by side
    std::array<std::uint16_t, kWindows> filled{};
    std::array<float, 3> ses{};
    float last = 0.0F;
    float mean = 0.0F;  // over a day
    float slow = 0.0F;  // mean distance from the slow level, over a day
    float local = 0.0F; // the same over an hour
    std::uint32_t seen = 0;
    std::uint32_t gap = 0;   // steps since the last sample
    std::uint32_t phase = 0; // which of the steps it learns from
};

// One origin whose outcome is not yet known.
struct Origin {
    Rows experts;
    Row mixture;
    Row answer; // the mixture after the conformal correction
    std::array<float, kPoints> point;
    Inputs inputs;
    float slow;
    float local;
    float level;
    std::array<std::uint8_t, 2> rank;
    std::uint32_t due;
};

struct Horizon {
    Record record;
    std::array<Histogram, kPoints> errors{};
    std::array<Row, kPoints> error_row{}; // quantiles of `errors`, refreshed now and then
    std::array<Ranks, 2> ranks{};
    Regression regression;
    Row width{}; // log of the factor on the distance from the median, the conformal correction
    float norm = 0.0F;
    std::uint32_t learnt = 0;
};

// What all series share, per horizon.
struct Pool {
    Record record;
    std::array<std::array<float, kBins>, kPoints> errors{};
    std::array<std::array<std::array<float, kRanksAhead>, kRanksNow>, 2> ranks{};
    Row width{};
};

} // namespace foreshade::forecast
