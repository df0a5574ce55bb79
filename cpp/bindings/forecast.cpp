#include <pybind11/stl.h>

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "bindings/register.hpp"
#include "core/forecast/engine.hpp"

namespace foreshade::bindings {

using forecast::Engine;
using forecast::EngineConfig;

namespace {

using F32 = py::array_t<float, py::array::c_style | py::array::forcecast>;

} // namespace

void register_forecast(const py::module_& module) {
    py::class_<Engine>(module, "ForecastEngine")
        .def(py::init<EngineConfig, std::size_t>(), py::arg("config"), py::arg("n_series"))
        .def(
            "observe",
            [](Engine& self, const F32& samples) {
                if (samples.ndim() != 2) throw py::value_error("forecaster: expected samples (n_series, steps)");
                const std::span<const float> values(samples.data(), static_cast<std::size_t>(samples.size()));
                const auto steps = static_cast<std::size_t>(samples.shape(1));
                const py::gil_scoped_release release;
                self.observe(values, steps);
            },
            py::arg("samples"))
        .def("predict",
             [](const Engine& self) {
                 py::array_t<float> out({self.size(), self.n_horizons(), forecast::kLevels});
                 const std::span<float> values(out.mutable_data(), static_cast<std::size_t>(out.size()));
                 {
                     const py::gil_scoped_release release;
                     self.predict(values);
                 }
                 return out;
             })
        .def(
            "experts",
            [](const Engine& self, std::size_t horizon) {
                py::array_t<float> out({self.size(), self.n_rows(), forecast::kLevels});
                self.experts(horizon, {out.mutable_data(), static_cast<std::size_t>(out.size())});
                return out;
            },
            py::arg("horizon"))
        .def(
            "offer",
            [](Engine& self, std::size_t extra_row, const F32& quantiles) {
                self.offer(extra_row, {quantiles.data(), static_cast<std::size_t>(quantiles.size())});
            },
            py::arg("extra_row"), py::arg("quantiles"))
        .def("add", &Engine::add, py::arg("count"))
        .def(
            "remove", [](Engine& self, const std::vector<std::size_t>& who) { self.remove(who); }, py::arg("who"))
        .def("save", [](const Engine& self) { return py::bytes(self.save()); })
        .def(
            "load", [](Engine& self, const py::bytes& bytes) { self.load(std::string(bytes)); }, py::arg("bytes"))
        .def_property_readonly("rejected",
                               [](const Engine& self) {
                                   py::dict out;
                                   out["missing"] = self.rejected().missing;
                                   out["negative"] = self.rejected().negative;
                                   out["unbounded"] = self.rejected().unbounded;
                                   return out;
                               })
        .def_property_readonly("bytes_per_series", &Engine::bytes_per_series)
        .def_property_readonly("memory_bytes", &Engine::memory_bytes)
        .def("__len__", &Engine::size);
}

} // namespace foreshade::bindings
