// One function per noun; module.cpp calls them all.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

namespace foreshade::bindings {

namespace py = pybind11;

void register_affinity(const py::module_& module);
void register_cluster_state(const py::module_& module);
void register_data_centre(const py::module_& module);
void register_simulator(py::module_& module);
void register_cloudsim(const py::module_& module);
void register_forecast(const py::module_& module);
void register_forecast_source(py::module_& module);
void register_expected_cost(py::module_& module);
void register_demand_window(const py::module_& module);
void register_decide(py::module_& module);
void register_packer(const py::module_& module);
void register_rollout(py::module_& module);
void register_anomaly(const py::module_& module);
void register_trees(const py::module_& module);

} // namespace foreshade::bindings
