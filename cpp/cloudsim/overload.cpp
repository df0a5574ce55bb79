#include "cloudsim/overload.hpp"

#include <algorithm>
#include <array>
#include <cmath>

namespace foreshade::cloudsim {

namespace {

using Sorted = std::array<double, kHistory>;

Sorted sorted(std::span<const double> values) {
    Sorted out{};
    std::copy(values.begin(), values.end(), out.begin());
    std::sort(out.begin(), out.begin() + static_cast<std::ptrdiff_t>(values.size()));
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
