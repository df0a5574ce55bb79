#include "core/bandwidth.hpp"

#include <algorithm>
#include <ctime>
#include <vector>

namespace foreshade {

double triad_bytes_per_s(std::size_t n, int repeats) {
    std::vector<double> a(n, 0.0);
    const std::vector<double> b(n, 1.0);
    const std::vector<double> c(n, 2.0);
    double best = 0.0;
    for (int r = 0; r < repeats; ++r) {
        const std::clock_t begin = std::clock();
        for (std::size_t i = 0; i < n; ++i) a[i] = b[i] + 3.0 * c[i];
        // The compiler may not drop a loop whose result is looked at.
        const volatile double looked_at = a[n / 2];
        static_cast<void>(looked_at);
        const double seconds = static_cast<double>(std::clock() - begin) / CLOCKS_PER_SEC;
        if (seconds > 0.0) best = std::max(best, 24.0 * static_cast<double>(n) / seconds);
    }
    return best;
}

} // namespace foreshade
