// Where a simulated plant takes its forecasts from.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <variant>
#include <vector>

#include "core/forecast/config.hpp"

namespace foreshade::forecast {

// Every forecast of a workload, made beforehand and shared by all environments. Row t knows the demand of the first t
// ticks and nothing later, so it is what stands in the state at tick t; row 0 knows nothing and is never shown.
struct Table {
    std::size_t n_ticks = 0; // of the workload; the table has one row more
    std::size_t n_rows = 0;  // series of the workload
    std::vector<std::int32_t> horizons;
    std::vector<float> levels;
    std::shared_ptr<const float> moments;   // (n_ticks + 1, n_horizons, n_rows, 4, 2)
    std::shared_ptr<const float> quantiles; // (n_ticks + 1, n_rows, 4, n_horizons, n_levels), or null
};

// Nothing, the table, or the engine run inside each environment on what that environment shows of its demand.
using Source = std::variant<std::monostate, Table, EngineConfig>;

} // namespace foreshade::forecast
