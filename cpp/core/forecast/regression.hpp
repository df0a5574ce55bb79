// Recursive least squares with forgetting (Haykin, Adaptive Filter Theory, ch. 10): where the load will stand, in
// scales above its slow level, from where it, its fast level and its day stand now.
#pragma once

#include <algorithm>
#include <array>

namespace foreshade::forecast {

inline constexpr std::size_t kInputs = 4; // bias, last, SES 0.2, same time of former days
inline constexpr float kForgetting = 0.998F;
inline constexpr float kMaxTrace = 50.0F; // of the covariance: without excitation it would grow without end
inline constexpr float kClip = 8.0F;      // scales; a burst beyond teaches no more than one of this size

using Inputs = std::array<float, kInputs>;

struct Regression {
    Inputs weight{0.0F, 0.5F, 0.0F, 0.0F}; // before anything is learnt: half way back to the level
    std::array<float, kInputs * kInputs> covariance{1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1};

    float predict(const Inputs& x) const {
        float sum = 0.0F;
        for (std::size_t i = 0; i < kInputs; ++i) sum += weight[i] * x[i];
        return sum;
    }

    void learn(const Inputs& x, float target) {
        Inputs gain{};
        float denominator = kForgetting;
        for (std::size_t r = 0; r < kInputs; ++r) {
            for (std::size_t c = 0; c < kInputs; ++c) gain[r] += covariance[r * kInputs + c] * x[c];
            denominator += x[r] * gain[r];
        }
        const float error = (target - predict(x)) / denominator;
        float trace = 0.0F;
        for (std::size_t r = 0; r < kInputs; ++r) {
            weight[r] = std::clamp(weight[r] + gain[r] * error, -2.0F, 2.0F);
            for (std::size_t c = 0; c < kInputs; ++c) {
                float& p = covariance[r * kInputs + c];
                p = (p - gain[r] * gain[c] / denominator) / kForgetting;
            }
            trace += covariance[r * kInputs + r];
        }
        if (trace > kMaxTrace) {
            for (auto& p : covariance) p *= kMaxTrace / trace;
        }
    }
};

} // namespace foreshade::forecast
