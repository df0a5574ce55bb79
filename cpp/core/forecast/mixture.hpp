// Which expert to believe, level by level: exponential weights on discounted regret, with the gradient of the pinball
// loss at the mixture, so that the weights go to the best blend and not to the best single expert (Wintenberger 2017,
// Bernstein online aggregation; Berrisch and Ziel 2023, CRPS learning). Each expert's regret is measured in its own
// deviation, which makes the rate free of units. The record of all series stands beside the series' own as a prior.
#pragma once

#include <array>
#include <cstdint>
#include <span>

#include "core/forecast/config.hpp"
#include "core/forecast/lanes.hpp"

namespace foreshade::forecast {

// Of one expert at one horizon; every level holds a share of the mean over the levels (EngineConfig::smoothing).
struct Record {
    Row regret{}; // discounted sum
    Row square{}; // discounted sum of squares
};

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

// Sorts the seven levels: a network of 16 exchanges (Knuth, vol. 3, 5.3.4), as a sort would guess at branches.
inline void ascend(Row& row) {
    constexpr std::array<std::array<std::uint8_t, 2>, 16> exchange{{{0, 6},
                                                                    {2, 3},
                                                                    {4, 5},
                                                                    {0, 2},
                                                                    {1, 4},
                                                                    {3, 6},
                                                                    {0, 1},
                                                                    {2, 5},
                                                                    {3, 4},
                                                                    {1, 2},
                                                                    {4, 6},
                                                                    {2, 3},
                                                                    {4, 5},
                                                                    {1, 2},
                                                                    {3, 4},
                                                                    {5, 6}}};
    for (const auto [a, b] : exchange) {
        const float low = row[b] < row[a] ? row[b] : row[a];
        row[b] = row[b] < row[a] ? row[a] : row[b];
        row[a] = low;
    }
}

// The blend of `experts`; an expert that says nothing has NaN at its first level and no part in it. `prior` is the
// record of all series, already weighted.
void mix(std::span<const Record> own, std::span<const Record> prior, float learning_rate, std::span<const Row> experts,
         Row& out);

// `apart` are the experts' differences from the mixture, `keep` the share of the record that outlives this step,
// `norm` the loss that counts as one. What is added to `own` is added to `sum` too.
void learn(std::span<Record> own, std::span<Record> sum, std::span<const Row> apart, const Row& mixture, float value,
           float norm, float keep, float smoothing);

} // namespace foreshade::forecast
