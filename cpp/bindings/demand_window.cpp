#include "core/demand_window.hpp"

#include <pybind11/stl.h>

#include "bindings/register.hpp"

namespace foreshade::bindings {

namespace {

// (n, 5) view of a span that `owner` keeps.
py::array rows(std::span<const float> values, const py::object& owner) {
    const auto n = static_cast<py::ssize_t>(values.size() / kResources);
    py::array array(py::dtype::of<float>(), {n, static_cast<py::ssize_t>(kResources)}, values.data(), owner);
    array.attr("setflags")(py::arg("write") = false);
    return array;
}

} // namespace

void register_demand_window(py::module_& module) {
    py::class_<WindowKnobs>(module, "WindowKnobs")
        .def(py::init<>())
        .def_readwrite("ticks", &WindowKnobs::ticks)
        .def_readwrite("last", &WindowKnobs::last)
        .def_readwrite("prior_ticks", &WindowKnobs::prior_ticks)
        .def_readwrite("prior_mean", &WindowKnobs::prior_mean)
        .def_readwrite("prior_sigma", &WindowKnobs::prior_sigma)
        .def_readwrite("floor_sigma", &WindowKnobs::floor_sigma)
        .def_readwrite("slope", &WindowKnobs::slope)
        .def_readwrite("sigma_ticks", &WindowKnobs::sigma_ticks)
        .def_readwrite("forecast", &WindowKnobs::forecast)
        .def_readwrite("forecast_ticks", &WindowKnobs::forecast_ticks);
    py::class_<DemandWindow>(module, "DemandWindow")
        .def(py::init<const WindowKnobs&, std::size_t, float>(), py::arg("knobs"), py::arg("n_vms"), py::arg("tick_s"))
        .def("update", &DemandWindow::update, py::arg("state"))
        .def_property_readonly(
            "mean", [](const py::object& self) { return rows(self.cast<const DemandWindow&>().mean(), self); })
        .def_property_readonly(
            "variance", [](const py::object& self) { return rows(self.cast<const DemandWindow&>().variance(), self); });
}

} // namespace foreshade::bindings
