#include "core/curves.hpp"

#include <cmath>

namespace foreshade {

LateCurve::LateCurve(int cores, float stretch) {
    const double c = cores;
    const double exponent = std::sqrt(2.0 * (c + 1.0)) - 1.0;
    for (std::size_t i = 0; i < kSteps; ++i) {
        const double rho = static_cast<double>(i) / static_cast<double>(kSteps);
        const double late = std::pow(rho, exponent) * std::exp(-c * (1.0 - rho) * (stretch - 1.0));
        value_[i] = static_cast<float>(late);
        if (late < 1e-9) negligible_below_ = static_cast<float>(rho);
    }
    value_[kSteps] = value_[kSteps + 1] = 1.0F;
}

} // namespace foreshade
