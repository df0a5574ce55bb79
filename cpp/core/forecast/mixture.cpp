#include "core/forecast/mixture.hpp"

#include <algorithm>

namespace foreshade::forecast {

void mix(const Record& own, const Record& pool, const EngineConfig& config, const Rows& experts, Row& out) {
    const float kappa = config.pool_weight;
    const float apart = 1.0F - config.smoothing;
    const float shared = config.smoothing / static_cast<float>(kLevels);
    Rows weight;
    Row top;
    top.fill(-1e30F);
    for (std::size_t e = 0; e < kExperts; ++e) {
        Row regret;
        Row square;
        float regrets = 0.0F;
        float squares = 0.0F;
        for (std::size_t l = 0; l < kRow; ++l) {
            regret[l] = own.regret[e][l] + kappa * pool.regret[e][l];
            square[l] = own.square[e][l] + kappa * pool.square[e][l];
        }
        for (std::size_t l = 0; l < kLevels; ++l) {
            regrets += regret[l];
            squares += square[l];
        }
        for (std::size_t l = 0; l < kRow; ++l) {
            const float spread = apart * square[l] + shared * squares + 1e-3F;
            weight[e][l] = -config.learning_rate * (apart * regret[l] + shared * regrets) * inverse_root(spread);
            top[l] = top[l] > weight[e][l] ? top[l] : weight[e][l];
        }
    }
    Row total{};
    Row sum{};
    for (std::size_t e = 0; e < kExperts; ++e) {
        for (std::size_t l = 0; l < kRow; ++l) {
            const float w = exp_negative(weight[e][l] - top[l]);
            total[l] += w;
            sum[l] += w * experts[e][l];
        }
    }
    for (std::size_t l = 0; l < kRow; ++l) out[l] = sum[l] / total[l];
    std::sort(out.begin(), out.begin() + kLevels); // levels are weighed apart and may cross (Chernozhukov et al. 2010)
}

void learn(Record& own, Record& sum, const Rows& experts, const Row& mixture, float value, float norm, float keep) {
    constexpr float bound = 1000.0F; // one sample in a thousand norms must not settle a week
    Row slope = miss(mixture, value);
    for (auto& s : slope) s /= norm;
    for (std::size_t e = 0; e < kExperts; ++e) {
        for (std::size_t l = 0; l < kRow; ++l) {
            const float raw = slope[l] * (experts[e][l] - mixture[l]);
            const float low = raw < bound ? raw : bound;
            const float x = low > -bound ? low : -bound;
            own.regret[e][l] = keep * own.regret[e][l] + x;
            own.square[e][l] = keep * own.square[e][l] + x * x;
            sum.regret[e][l] += x;
            sum.square[e][l] += x * x;
        }
    }
}

} // namespace foreshade::forecast
