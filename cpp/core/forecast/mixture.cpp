#include "core/forecast/mixture.hpp"

#include <array>
#include <cmath>

#include "core/forecast/series.hpp"

namespace foreshade::forecast {

void mix(std::span<const Record> own, std::span<const Record> prior, float learning_rate, std::span<const Row> experts,
         Row& out) {
    std::array<Row, kMaxRows> score; // log of the weight
    for (std::size_t from = 0; from < kRow; from += kLanes) {
        Lanes best = all_lanes(-1e30F);
        for (std::size_t e = 0; e < experts.size(); ++e) {
            if (std::isnan(experts[e][0])) continue;
            const Lanes regret = lanes_at(&own[e].regret[from]) + lanes_at(&prior[e].regret[from]);
            const Lanes square = lanes_at(&own[e].square[from]) + lanes_at(&prior[e].square[from]) + 1e-3F;
            const Lanes now = -learning_rate * regret * inverse_root(square);
            store(&score[e][from], now);
            best = greater(best, now);
        }
        Lanes total{};
        Lanes sum{};
        for (std::size_t e = 0; e < experts.size(); ++e) {
            if (std::isnan(experts[e][0])) continue;
            const Lanes weight = exp_negative(lanes_at(&score[e][from]) - best);
            total += weight;
            sum += weight * lanes_at(&experts[e][from]);
        }
        store(&out[from], sum / total);
    }
    ascend(out); // levels are weighed apart and may cross (Chernozhukov et al. 2010)
}

void learn(std::span<Record> own, std::span<Record> sum, std::span<const Row> apart, const Row& mixture, float value,
           float norm, float keep, float smoothing) {
    constexpr float bound = 30.0F; // norms; a larger shock would outweigh, in the deviations, all that comes after it
    const Row missed = miss(mixture, value);
    const Lanes low_slope = lanes_at(missed.data()) / norm;
    const Lanes high_slope = lanes_at(missed.data() + kLanes) / norm; // the padding has slope 0
    const auto bounded = [](Lanes x) { return greater(lesser(x, all_lanes(bound)), all_lanes(-bound)); };
    for (std::size_t e = 0; e < apart.size(); ++e) {
        const Lanes low = bounded(low_slope * lanes_at(apart[e].data()));
        const Lanes high = bounded(high_slope * lanes_at(apart[e].data() + kLanes));
        const auto add = [&](Row& own_row, Row& sum_row, Lanes a, Lanes b) {
            const Lanes common = all_lanes(smoothing / static_cast<float>(kLevels) * sum_of(a + b));
            a = (1.0F - smoothing) * a + common;
            b = (1.0F - smoothing) * b + common;
            store(own_row.data(), keep * lanes_at(own_row.data()) + a);
            store(own_row.data() + kLanes, keep * lanes_at(own_row.data() + kLanes) + b);
            store(sum_row.data(), lanes_at(sum_row.data()) + a);
            store(sum_row.data() + kLanes, lanes_at(sum_row.data() + kLanes) + b);
        };
        add(own[e].regret, sum[e].regret, low, high);
        add(own[e].square, sum[e].square, low * low, high * high);
    }
}

} // namespace foreshade::forecast
