// CloudSim's five ways of telling that a host is, or will be, overloaded.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "cloudsim/history.hpp"

namespace foreshade::cloudsim {

enum class Policy : std::uint8_t {
    none, // never migrates: NPA and DVFS
    thr,  // utilisation above a threshold
    iqr,  // above 1 - p * interquartile range of the history
    mad,  // above 1 - p * median absolute deviation of the history
    lr,   // p * the trend's next value reaches 1
    lrr,  // the same to the bit: its robust weights are never used
};

inline constexpr double kFallback = 0.7; // threshold until the history is long enough
inline constexpr std::size_t kSpreadLength = 12;

// Weight of the sample of age j in the value that a least-squares line through ten samples takes one step ahead:
// mean + slope * 5.5 with x = 10 - j.
constexpr double trend_weight(std::size_t age) {
    return 0.1 + (4.5 - static_cast<double>(age)) / 15.0;
}

// Interquartile range of `history` (any order), by CloudSim's rounded ranks.
double interquartile_range(std::span<const double> history);

// Median of |median - h|.
double median_absolute_deviation(std::span<const double> history);

// The next value of the least-squares line through ten samples, newest first; running means as CloudSim has them.
double next_of_trend(const double* newest_first);

} // namespace foreshade::cloudsim
