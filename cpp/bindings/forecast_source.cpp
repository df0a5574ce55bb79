#include "core/forecast/source.hpp"

#include <pybind11/stl.h>

#include <map>
#include <memory>
#include <string>

#include "bindings/register.hpp"
#include "core/forecast/demand_forecaster.hpp"

namespace foreshade::bindings {

using forecast::DemandForecaster;
using forecast::EngineConfig;
using forecast::kLevels;
using forecast::Table;

namespace {

using F32 = py::array_t<float, py::array::c_style>;
using Cast32 = py::array_t<float, py::array::c_style | py::array::forcecast>;
using I32 = py::array_t<std::int32_t, py::array::c_style | py::array::forcecast>;

// Numbers that keep their array alive, and take the interpreter's lock before they let go of it.
std::shared_ptr<const float> shared(const F32& array) {
    auto* const held = new F32(array);
    return {array.data(), [held](const float*) {
                const py::gil_scoped_acquire locked;
                delete held;
            }};
}

Table table_of(const F32& moments, const std::optional<F32>& quantiles, std::vector<std::int32_t> horizons,
               std::vector<float> levels) {
    const auto n_horizons = static_cast<py::ssize_t>(horizons.size());
    if (moments.ndim() != 5 || moments.shape(0) < 2 || moments.shape(1) != n_horizons ||
        moments.shape(3) != static_cast<py::ssize_t>(kDense) || moments.shape(4) != 2)
        throw py::value_error("forecast table: expected moments (n_ticks + 1, n_horizons, n_rows, 4, 2)");
    Table table;
    table.n_ticks = static_cast<std::size_t>(moments.shape(0) - 1);
    table.n_rows = static_cast<std::size_t>(moments.shape(2));
    table.moments = shared(moments);
    if (quantiles) {
        if (quantiles->ndim() != 5 || quantiles->shape(0) != moments.shape(0) ||
            quantiles->shape(1) != moments.shape(2) || quantiles->shape(2) != static_cast<py::ssize_t>(kDense) ||
            quantiles->shape(3) != n_horizons || quantiles->shape(4) != static_cast<py::ssize_t>(levels.size()))
            throw py::value_error("forecast table: expected quantiles (n_ticks + 1, n_rows, 4, n_horizons, n_levels)");
        table.quantiles = shared(*quantiles);
    }
    table.horizons = std::move(horizons);
    table.levels = std::move(levels);
    return table;
}

// Throws py::value_error for a rate that the engine does not know.
EngineConfig engine_config(std::vector<std::uint32_t> horizons, std::vector<std::uint32_t> strides,
                           std::vector<std::uint32_t> young_strides, std::uint32_t young_steps,
                           std::uint32_t extra_rows, const std::map<std::string, float>& rates, std::uint32_t threads) {
    EngineConfig config;
    config.horizons = std::move(horizons);
    config.strides = std::move(strides);
    config.young_strides = std::move(young_strides);
    config.young_steps = young_steps;
    config.extra_rows = extra_rows;
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

} // namespace

void register_forecast_source(py::module_& module) {
    py::class_<EngineConfig>(module, "EngineConfig")
        .def(py::init(&engine_config), py::arg("horizons"), py::arg("strides"), py::arg("young_strides"),
             py::arg("young_steps"), py::arg("extra_rows"), py::arg("rates"), py::arg("threads") = 1);

    py::class_<Table>(module, "ForecastTable")
        .def(py::init(&table_of), py::arg("moments").noconvert(), py::arg("quantiles").noconvert().none(true),
             py::arg("horizons"), py::arg("levels"))
        .def_readonly("n_ticks", &Table::n_ticks)
        .def_readonly("n_rows", &Table::n_rows);

    py::class_<DemandForecaster>(module, "DemandForecaster")
        .def(py::init<EngineConfig, std::size_t>(), py::arg("config"), py::arg("n_rows"))
        .def(
            "own",
            [](DemandForecaster& self, const I32& owner) {
                self.own({owner.data(), static_cast<std::size_t>(owner.size())});
            },
            py::arg("owner"))
        .def(
            "observe",
            [](DemandForecaster& self, const Cast32& demand) {
                const std::span<const float> values(demand.data(), static_cast<std::size_t>(demand.size()));
                const py::gil_scoped_release release;
                self.observe(values);
            },
            py::arg("demand"))
        .def(
            "predict",
            [](const DemandForecaster& self, F32& moments, std::optional<F32> quantiles) {
                const std::span<float> first(moments.mutable_data(), static_cast<std::size_t>(moments.size()));
                std::span<float> second;
                if (quantiles) second = {quantiles->mutable_data(), static_cast<std::size_t>(quantiles->size())};
                const py::gil_scoped_release release;
                self.predict(first, second);
            },
            py::arg("moments").noconvert(), py::arg("quantiles").noconvert().none(true) = py::none())
        .def_property_readonly("memory_bytes", &DemandForecaster::memory_bytes);

    module.def(
        "moments_of",
        [](const Cast32& quantiles) {
            if (quantiles.ndim() != 2 || quantiles.shape(1) != static_cast<py::ssize_t>(kLevels))
                throw py::value_error("moments: expected quantiles (n, 7)");
            py::array_t<float> out({quantiles.shape(0), py::ssize_t{2}});
            for (py::ssize_t i = 0; i < quantiles.shape(0); ++i) {
                const forecast::Moments both = forecast::moments_of(quantiles.data(i, 0));
                out.mutable_at(i, 0) = both.mean;
                out.mutable_at(i, 1) = both.sigma;
            }
            return out;
        },
        py::arg("quantiles"), "Mean and standard deviation, (n, 2), of distributions given by their seven quantiles.");
}

} // namespace foreshade::bindings
