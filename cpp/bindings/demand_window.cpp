#include "core/demand_window.hpp"

#include <pybind11/stl.h>

#include "bindings/register.hpp"

namespace foreshade::bindings {

namespace {

// (n, 5) array that `tell` fills.
template <class Tell> py::array_t<float> rows(std::size_t n, const Tell& tell) {
    py::array_t<float> out({static_cast<py::ssize_t>(n), static_cast<py::ssize_t>(kResources)});
    tell(std::span(out.mutable_data(), n * kResources));
    return out;
}

} // namespace

void register_demand_window(const py::module_& module) {
    py::class_<WindowKnobs>(module, "WindowKnobs")
        .def(py::init<>())
        .def_readwrite("ticks", &WindowKnobs::ticks)
        .def_readwrite("last", &WindowKnobs::last)
        .def_readwrite("prior_ticks", &WindowKnobs::prior_ticks)
        .def_readwrite("prior_mean", &WindowKnobs::prior_mean)
        .def_readwrite("prior_sigma", &WindowKnobs::prior_sigma)
        .def_readwrite("floor_sigma", &WindowKnobs::floor_sigma)
        .def_readwrite("sigma_ticks", &WindowKnobs::sigma_ticks)
        .def_readwrite("forecast", &WindowKnobs::forecast)
        .def_readwrite("forecast_ticks", &WindowKnobs::forecast_ticks);
    py::class_<DemandWindow>(module, "DemandWindow")
        .def(py::init<const WindowKnobs&, std::size_t, float>(), py::arg("knobs"), py::arg("n_vms"), py::arg("tick_s"))
        .def(
            "update", [](DemandWindow& self, const ClusterState& state) { self.update(state); }, py::arg("state"))
        .def_property_readonly(
            "mean",
            [](const DemandWindow& self) { return rows(self.n_vms(), [&](std::span<float> out) { self.mean(out); }); })
        .def_property_readonly("variance", [](const DemandWindow& self) {
            return rows(self.n_vms(), [&](std::span<float> out) { self.variance(out); });
        });
}

} // namespace foreshade::bindings
