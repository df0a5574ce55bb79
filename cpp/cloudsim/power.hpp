// Power of a host over utilisation: a straight line between eleven measured points.
#pragma once

#include <array>
#include <cstddef>

namespace foreshade::cloudsim {

class PowerCurve {
  public:
    // `watts` at 0, 10 .. 100 % utilisation.
    constexpr explicit PowerCurve(const std::array<double, 11>& watts) : watts_(watts) {
        for (std::size_t i = 0; i < 10; ++i) {
            rise_[i] = (watts[i + 1] - watts[i]) / 10;
            left_[i] = static_cast<double>(i) / 10.0;
        }
    }

    // W at `u` in [0, 1]. CloudSim asks first whether fmod(u, 0.1) is 0 and then reads the table; u * 10 rounds to
    // that table's index for every such u, so one question is enough and the bits are the same. The answer selects a
    // rise of 0: no branch, for the search asks of many hosts at once.
    double at(double u) const {
        const double tenths = u * 10;
        const int below = static_cast<int>(tenths);
        const auto piece = static_cast<std::size_t>(below);
        const auto exact = static_cast<std::size_t>(static_cast<double>(below) == tenths);
        return watts_[piece] + rise_[exact * kPoints + piece] * (u - left_[piece]) * 100;
    }

    constexpr double idle() const { return watts_.front(); }
    constexpr double peak() const { return watts_.back(); }

  private:
    static constexpr std::size_t kPoints = 11;

    std::array<double, kPoints> watts_;
    std::array<double, 2 * kPoints> rise_{}; // per percent; the second half stays 0
    std::array<double, kPoints> left_{};     // where a piece starts
};

} // namespace foreshade::cloudsim
