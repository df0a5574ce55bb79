#include "cloudsim/overload.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <utility>

namespace foreshade::cloudsim {

namespace {

constexpr std::size_t kWidth = 32; // of the sorting network: the next power of two

using Sorted = std::array<double, kWidth>;

struct Pair {
    std::uint8_t low;
    std::uint8_t high;
};

// Batcher's odd-even merge sort of 32 values: 191 exchanges, none of which depends on a branch.
constexpr auto network() {
    std::array<Pair, 191> out{};
    std::size_t n = 0;
    for (std::size_t p = 1; p < kWidth; p *= 2)
        for (std::size_t k = p; k >= 1; k /= 2)
            for (std::size_t j = k % p; j + k < kWidth; j += 2 * k)
                for (std::size_t i = j; i < std::min(j + k, kWidth - k); ++i)
                    if (i / (2 * p) == (i + k) / (2 * p))
                        out[n++] = {static_cast<std::uint8_t>(i), static_cast<std::uint8_t>(i + k)};
    return out;
}

constexpr std::array<Pair, 191> kNetwork = network();

template <std::size_t... I> void exchange_all(Sorted& values, std::index_sequence<I...>) {
    const auto exchange = [&values](std::size_t low, std::size_t high) {
        const double a = values[low];
        const double b = values[high];
        values[low] = std::min(a, b);
        values[high] = std::max(a, b);
    };
    (exchange(kNetwork[I].low, kNetwork[I].high), ...);
}

// Ascending, then infinities.
Sorted sorted(std::span<const double> values) {
    Sorted out{};
    out.fill(std::numeric_limits<double>::infinity());
    std::copy(values.begin(), values.end(), out.begin());
    exchange_all(out, std::make_index_sequence<kNetwork.size()>());
    return out;
}

// 1-based rank (n + 1) / 2, half way between neighbours where that is fractional.
double median_of(const Sorted& ascending, std::size_t n) {
    const std::size_t below = (n + 1) / 2 - 1;
    if (n % 2 == 1) return ascending[below];
    return ascending[below] + 0.5 * (ascending[below + 1] - ascending[below]);
}

} // namespace

double interquartile_range(std::span<const double> history) {
    const auto n = static_cast<double>(history.size());
    const auto rank = [n](double quarter) { return static_cast<std::size_t>(std::floor(quarter * (n + 1) + 0.5)); };
    const Sorted ascending = sorted(history);
    return ascending[rank(0.75) - 1] - ascending[rank(0.25) - 1];
}

double median_absolute_deviation(std::span<const double> history) {
    const std::size_t n = history.size();
    const double median = median_of(sorted(history), n);
    Sorted deviation{};
    for (std::size_t j = 0; j < n; ++j) deviation[j] = std::abs(median - history[j]);
    return median_of(sorted({deviation.data(), n}), n);
}

double next_of_trend(const double* newest_first) {
    double mean_x = 0;
    double mean_y = 0;
    double sum_x = 0;
    double sum_y = 0;
    double sxx = 0;
    double sxy = 0;
    for (std::size_t i = 0; i < kTrend; ++i) {
        const auto n = static_cast<double>(i);
        const double x = n + 1;
        const double y = newest_first[kTrend - 1 - i];
        if (i == 0) {
            mean_x = x;
            mean_y = y;
        } else {
            const double dx = x - mean_x;
            const double dy = y - mean_y;
            const double weight = n / (n + 1);
            sxx += dx * dx * weight;
            sxy += dx * dy * weight;
            mean_x += dx / (n + 1);
            mean_y += dy / (n + 1);
        }
        sum_x += x;
        sum_y += y;
    }
    const double slope = sxy / sxx;
    const double intercept = (sum_y - slope * sum_x) / static_cast<double>(kTrend);
    return intercept + slope * static_cast<double>(kTrend + 1);
}

} // namespace foreshade::cloudsim
