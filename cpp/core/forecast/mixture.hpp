// Which expert to believe, level by level: exponential weights on discounted regret, with the gradient of the pinball
// loss at the mixture, so that the weights go to the best blend and not to the best single expert (Wintenberger 2017,
// Bernstein online aggregation; Berrisch and Ziel 2023, CRPS learning). Each expert's regret is measured in its own
// deviation, which makes the rate free of units. The record of all series stands beside the series' own as a prior.
#pragma once

#include <array>
#include <bit>
#include <cstdint>

#include "core/forecast/config.hpp"

namespace foreshade::forecast {

inline constexpr std::size_t kExperts = 16;

using Rows = std::array<Row, kExperts>;

struct Record {
    Rows regret{}; // discounted sum
    Rows square{}; // discounted sum of squares
};

// e^x for x <= 0 to 3e-7 relative, in steps that vectorise and give the same bits everywhere.
inline float exp_negative(float x) {
    const float clipped = x > -80.0F ? x : -80.0F;
    const float octaves = clipped * 1.44269504F;
    const auto whole = static_cast<std::int32_t>(octaves - 0.5F); // towards zero, that is to the nearest
    const float f = octaves - static_cast<float>(whole);
    const float power =
        1.0F +
        f * (0.693147182F + f * (0.240226462F + f * (0.0555032924F + f * (0.00961834099F + f * 0.00133981468F))));
    const std::int32_t bits = (whole + 127) << 23;
    return power * std::bit_cast<float>(bits);
}

// 1 / sqrt(x) for x > 0 to 5e-6 relative; std::sqrt may set errno and so keeps a loop from being vectorised.
inline float inverse_root(float x) {
    float root = std::bit_cast<float>(0x5f3759df - (std::bit_cast<std::int32_t>(x) >> 1));
    root *= 1.5F - 0.5F * x * root * root;
    root *= 1.5F - 0.5F * x * root * root;
    return root;
}

// Pinball loss of one row (Koenker and Bassett 1978), mean over the levels.
inline float pinball(const Row& quantiles, float value) {
    float sum = 0.0F;
    for (std::size_t l = 0; l < kLevels; ++l) {
        const float over = value - quantiles[l];
        sum += over > 0.0F ? kLevel[l] * over : (kLevel[l] - 1.0F) * over;
    }
    return sum / static_cast<float>(kLevels);
}

// 1 - level where the value lay below the quantile, -level above, 0 on it: a tie is evidence for neither side.
inline Row miss(const Row& quantiles, float value) {
    Row out{};
    for (std::size_t l = 0; l < kLevels; ++l) {
        if (value < quantiles[l]) out[l] = 1.0F - kLevel[l];
        if (value > quantiles[l]) out[l] = -kLevel[l];
    }
    return out;
}

// As `miss`, but a tie counts as the share of its probability that lies below the level: the randomised probability
// integral transform in expectation. The mass at the tie reaches half way to the levels that are not tied.
inline Row miss_of_atom(const Row& quantiles, float value) {
    std::size_t first = 0;
    while (first < kLevels && quantiles[first] < value) ++first;
    std::size_t past = first;
    while (past < kLevels && quantiles[past] <= value) ++past;
    Row out = miss(quantiles, value);
    if (past == first) return out;
    const float from = first == 0 ? 0.0F : 0.5F * (kLevel[first - 1] + kLevel[first]);
    const float to = past == kLevels ? 1.0F : 0.5F * (kLevel[past - 1] + kLevel[past]);
    for (std::size_t l = first; l < past; ++l) out[l] = (kLevel[l] - from) / (to - from) - kLevel[l];
    return out;
}

void mix(const Record& own, const Record& pool, const EngineConfig& config, const Rows& experts, Row& out);

// `keep` is the share of the record that outlives this step, `norm` the loss that counts as one.
void learn(Record& own, Record& sum, const Rows& experts, const Row& mixture, float value, float norm, float keep);

} // namespace foreshade::forecast
