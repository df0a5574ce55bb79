// The engine's settings as Python gives them: the lists, and the rates by name.
#pragma once

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "bindings/register.hpp"
#include "core/forecast/config.hpp"

namespace foreshade::bindings {

// Throws py::value_error for a rate that the engine does not know.
inline forecast::EngineConfig engine_config(std::vector<std::uint32_t> horizons, std::vector<std::uint32_t> strides,
                                            const std::map<std::string, float>& rates, std::uint32_t threads) {
    forecast::EngineConfig config;
    config.horizons = std::move(horizons);
    config.strides = std::move(strides);
    config.threads = threads;
    const std::map<std::string, float*> known{
        {"learning_rate", &config.learning_rate},   {"memory_steps", &config.memory_steps},
        {"pool_memory", &config.pool_memory},       {"pool_weight", &config.pool_weight},
        {"smoothing", &config.smoothing},           {"prior_count", &config.prior_count},
        {"conformal_rate", &config.conformal_rate}, {"pool_conformal_rate", &config.pool_conformal_rate},
    };
    for (const auto& [name, value] : rates) {
        const auto found = known.find(name);
        if (found == known.end()) throw py::value_error("forecaster: unknown setting " + name);
        *found->second = value;
    }
    return config;
}

} // namespace foreshade::bindings
