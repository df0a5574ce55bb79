// Sliding order statistics: the last n samples of one series, kept sorted in place.
#pragma once

#include <algorithm>
#include <array>
#include <cstring>
#include <span>

#include "core/forecast/config.hpp"

namespace foreshade::forecast {

inline constexpr std::size_t kWindows = 5;
inline constexpr std::array<std::size_t, kWindows> kWindowSteps{12, 36, 144, kDay, kWeek};
// Of a week every fourth sample is kept: the quantiles of 504 samples of a slow distribution are those of 2016.
inline constexpr std::array<std::size_t, kWindows> kWindowThin{1, 1, 1, 1, 4};
inline constexpr std::array<std::size_t, kWindows> kWindowStart{0, 12, 48, 192, 480};
inline constexpr std::size_t kWindowCells = 984;

// Number of entries below `value`; branch-free, as where a sample falls cannot be predicted.
inline std::size_t count_below(const float* sorted, std::size_t n, float value) {
    const float* base = sorted;
    while (n > 1) {
        const std::size_t half = n / 2;
        base += base[half - 1] < value ? half : 0;
        n -= half;
    }
    return static_cast<std::size_t>(base - sorted) + (n == 1 && *base < value ? 1 : 0);
}

inline std::size_t count_up_to(const float* sorted, std::size_t n, float value) {
    const float* base = sorted;
    while (n > 1) {
        const std::size_t half = n / 2;
        base += base[half - 1] <= value ? half : 0;
        n -= half;
    }
    return static_cast<std::size_t>(base - sorted) + (n == 1 && *base <= value ? 1 : 0);
}

inline void insert_sorted(float* sorted, std::size_t n, float value) {
    const std::size_t at = count_below(sorted, n, value);
    std::memmove(sorted + at + 1, sorted + at, (n - at) * sizeof(float));
    sorted[at] = value;
}

inline void erase_sorted(float* sorted, std::size_t n, float value) {
    const std::size_t at = count_below(sorted, n, value);
    std::memmove(sorted + at, sorted + at + 1, (n - at - 1) * sizeof(float));
}

// Takes `in` in and `out` away; only what lies between the two moves.
inline void replace_sorted(float* sorted, std::size_t n, float out, float in) {
    const std::size_t from = count_below(sorted, n, out);
    std::size_t to = count_below(sorted, n, in);
    if (to > from) {
        --to; // the place that `out` leaves
        std::memmove(sorted + from, sorted + from + 1, (to - from) * sizeof(float));
    } else {
        std::memmove(sorted + to + 1, sorted + to, (from - to) * sizeof(float));
    }
    sorted[to] = in;
}

// Linear interpolation between order statistics (Hyndman and Fan 1996, type 7).
inline float quantile_sorted(const float* sorted, std::size_t n, float level) {
    const float place = level * static_cast<float>(n - 1);
    const auto below = static_cast<std::size_t>(place);
    if (below + 1 >= n) return sorted[n - 1];
    return sorted[below] + (place - static_cast<float>(below)) * (sorted[below + 1] - sorted[below]);
}

inline void quantiles_sorted(const float* sorted, std::size_t n, Row& out) {
    for (std::size_t l = 0; l < kLevels; ++l) out[l] = quantile_sorted(sorted, n, kLevel[l]);
}

} // namespace foreshade::forecast
