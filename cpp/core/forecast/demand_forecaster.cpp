#include "core/forecast/demand_forecaster.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <stdexcept>

namespace foreshade::forecast {

Moments moments_of(const float* quantiles) {
    // Distances from the median: the squares of what varies little about a large mean would cancel.
    std::array<float, kLevels + 2> at;
    std::array<float, kLevels + 2> value;
    const float median = quantiles[kMedian];
    at.front() = 0.0F;
    at.back() = 1.0F;
    for (std::size_t l = 0; l < kLevels; ++l) {
        at[l + 1] = kLevel[l];
        value[l + 1] = quantiles[l] - median;
    }
    const auto beyond = [&](std::size_t end, std::size_t last, std::size_t inner) {
        const float slope = (value[last] - value[inner]) / (at[last] - at[inner]);
        return value[last] + slope * (at[end] - at[last]);
    };
    value.front() = std::max(-median, beyond(0, 1, 2));
    value.back() = beyond(kLevels + 1, kLevels, kLevels - 1);
    float mean = 0.0F;
    float square = 0.0F;
    for (std::size_t i = 0; i + 1 < at.size(); ++i) {
        const float share = at[i + 1] - at[i];
        const float a = value[i];
        const float b = value[i + 1];
        mean += share * 0.5F * (a + b);
        square += share * (a * a + a * b + b * b) / 3.0F;
    }
    return {median + mean, std::sqrt(std::max(0.0F, square - mean * mean))};
}

DemandForecaster::DemandForecaster(EngineConfig config, std::size_t n_rows)
    : config_(std::move(config)), owner_(n_rows, -1), slot_(n_rows, 0) {
    const Engine refuses_what_it_cannot_take(config_, 0);
}

void DemandForecaster::own(std::span<const std::int32_t> owner) {
    if (owner.size() != n_rows()) throw std::invalid_argument("demand forecaster: expected one owner per row");
    std::vector<std::size_t> gone;
    for (std::size_t row = 0; row < n_rows(); ++row) {
        if (owner[row] == owner_[row] || slot_[row] == 0) continue;
        gone.push_back(slot_[row]);
        slot_[row] = 0;
    }
    if (!gone.empty()) {
        std::sort(gone.begin(), gone.end());
        for (auto& engine : engines_)
            if (engine) engine->remove(gone);
        for (std::size_t& slot : slot_) // those after the removed move up
            slot -= static_cast<std::size_t>(std::lower_bound(gone.begin(), gone.end(), slot) - gone.begin());
        n_slots_ -= gone.size();
    }
    std::size_t born = 0;
    for (std::size_t row = 0; row < n_rows(); ++row) {
        owner_[row] = owner[row];
        if (owner[row] >= 0 && slot_[row] == 0) slot_[row] = n_slots_ + born++;
    }
    if (born == 0) return;
    for (auto& engine : engines_)
        if (engine) engine->add(born);
    n_slots_ += born;
}

void DemandForecaster::observe(std::span<const float> demand) {
    if (demand.size() != n_rows() * kDense)
        throw std::invalid_argument("demand forecaster: expected four samples per row");
    for (std::size_t r = 0; r < kDense; ++r) {
        samples_.assign(n_slots_, std::numeric_limits<float>::quiet_NaN());
        bool wanted = false;
        for (std::size_t row = 0; row < n_rows(); ++row) {
            if (slot_[row] == 0) continue;
            samples_[slot_[row]] = demand[row * kDense + r];
            wanted = wanted || demand[row * kDense + r] > 0.0F;
        }
        if (!engines_[r] && !wanted) continue;
        if (!engines_[r]) engines_[r].emplace(config_, n_slots_);
        engines_[r]->observe(samples_, 1);
    }
}

void DemandForecaster::predict(std::span<float> moments, std::span<float> quantiles) const {
    const std::size_t n_horizons = config_.horizons.size();
    const std::size_t width = n_horizons * kLevels; // of one slot's quantiles
    if (moments.size() != n_horizons * n_rows() * kDense * 2 ||
        (!quantiles.empty() && quantiles.size() != n_rows() * kDense * width))
        throw std::invalid_argument("demand forecaster: expected room for every moment and quantile");
    std::vector<float> said(n_slots_ * width);
    for (std::size_t r = 0; r < kDense; ++r) {
        if (engines_[r])
            engines_[r]->predict(said);
        else
            std::fill(said.begin(), said.end(), 0.0F);
        for (std::size_t row = 0; row < n_rows(); ++row) {
            const float* const of_row = said.data() + slot_[row] * width;
            for (std::size_t h = 0; h < n_horizons; ++h) {
                const Moments both = moments_of(of_row + h * kLevels);
                float* const to = moments.data() + ((h * n_rows() + row) * kDense + r) * 2;
                to[0] = both.mean;
                to[1] = both.sigma;
            }
            if (!quantiles.empty())
                std::copy_n(of_row, width, quantiles.begin() + static_cast<std::ptrdiff_t>((row * kDense + r) * width));
        }
    }
}

std::size_t DemandForecaster::memory_bytes() const {
    std::size_t bytes = owner_.size() * (sizeof(std::int32_t) + sizeof(std::size_t)) + samples_.size() * sizeof(float);
    for (const auto& engine : engines_)
        if (engine) bytes += engine->memory_bytes();
    return bytes;
}

} // namespace foreshade::forecast
