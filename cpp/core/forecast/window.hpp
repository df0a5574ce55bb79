// Sliding order statistics: the last samples of one series, kept sorted in place.
#pragma once

#include <algorithm>
#include <array>
#include <cstring>

#include "core/forecast/config.hpp"

namespace foreshade::forecast {

// An hour and three hours of every sample; and a long window, which takes all samples until it is full and then one in
// seven, so that it is what there is of the first day and a week later on.
inline constexpr std::size_t kWindows = 3;
inline constexpr std::array<std::size_t, kWindows> kWindowCells{12, 36, kDay};
inline constexpr std::array<std::size_t, kWindows> kWindowStart{0, 12, 48};
inline constexpr std::size_t kSortedCells = 336;
inline constexpr std::size_t kLong = 2;
inline constexpr std::uint32_t kLongThin = 7; // shares no divisor with the hour, as the strides

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
    if (out == in) return;
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
    out[kLevels] = 0.0F;
}

} // namespace foreshade::forecast
