// Power and response time as functions of a host's utilisation.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>

namespace foreshade {

// Straight lines between the 11 points of SPECpower_ssj2008.
class PowerCurve {
  public:
    PowerCurve() = default;
    explicit PowerCurve(const std::array<float, 11>& watts) {
        for (std::size_t i = 0; i < 11; ++i) base_[i] = watts[i];
        for (std::size_t i = 0; i < 10; ++i) slope_[i] = watts[i + 1] - watts[i];
    }

    // Watts at utilisation u; values outside [0, 1] count as the nearer end.
    float operator()(float u) const {
        const float x = std::clamp(u, 0.0F, 1.0F) * 10.0F;
        const auto i = static_cast<std::size_t>(x);
        return base_[i] + slope_[i] * (x - static_cast<float>(i));
    }

  private:
    std::array<float, 12> base_{};
    std::array<float, 12> slope_{}; // 0 at index 10, so u = 1 needs no branch
};

// Share of requests that wait longer than the objective: an M/M/c queue's tail (docs/physics.md, Response time).
class LateCurve {
  public:
    LateCurve() = default;
    LateCurve(int cores, float stretch);

    float operator()(float rho) const {
        if (rho < negligible_below_) return 0.0F;
        const float x = std::clamp(rho, 0.0F, 1.0F) * static_cast<float>(kSteps);
        const auto i = static_cast<std::size_t>(x);
        return value_[i] + (value_[i + 1] - value_[i]) * (x - static_cast<float>(i));
    }

  private:
    static constexpr std::size_t kSteps = 1024;
    std::array<float, kSteps + 2> value_{};
    float negligible_below_ = 0.0F; // where fewer than one request in a billion is late
};

} // namespace foreshade
