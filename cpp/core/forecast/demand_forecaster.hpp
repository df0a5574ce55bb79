// The demand of many loads forecast in the layout of ClusterState: one engine for each resource, fed tick by tick.
// It knows what it was shown and nothing later; the simulator runs it inside, the table is made with it beforehand.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "core/forecast/engine.hpp"
#include "core/resources.hpp"

namespace foreshade::forecast {

struct Moments {
    float mean;
    float sigma;
};

// Of the distribution whose quantile function is straight between the levels (kLevels values at kLevel), goes on with
// the same slope beyond the outermost, and is not negative.
Moments moments_of(const float* quantiles);

class DemandForecaster {
  public:
    // Throws std::invalid_argument for a configuration that the engine refuses.
    DemandForecaster(EngineConfig config, std::size_t n_rows);

    // Who stands behind each row now, -1 = nobody. A row with another owner than before has no past.
    void own(std::span<const std::int32_t> owner); // (n_rows,)

    // One tick of demand, (n_rows, 4), NaN = not seen; of a row without an owner nothing is taken.
    void observe(std::span<const float> demand);

    // `moments` (n_horizons, n_rows, 4, 2) and `quantiles` (n_rows, 4, n_horizons, kLevels), which may be empty. A row
    // that has shown nothing gets the spread of the others.
    void predict(std::span<float> moments, std::span<float> quantiles) const;

    bool informed() const { return engines_[0].has_value(); } // a cpu demand was seen
    std::size_t n_rows() const { return owner_.size(); }
    const EngineConfig& config() const { return config_; }
    std::size_t memory_bytes() const;

  private:
    EngineConfig config_;
    std::vector<std::int32_t> owner_; // (n_rows,)
    std::vector<std::size_t> slot_;   // (n_rows,) row in the engines; slot 0 never gets a sample and stands for nobody
    std::size_t n_slots_ = 1;
    // By resource. One begins with the first demand above 0: what a workload does not have costs nothing.
    std::array<std::optional<Engine>, kDense> engines_;
    std::vector<float> samples_;
};

} // namespace foreshade::forecast
