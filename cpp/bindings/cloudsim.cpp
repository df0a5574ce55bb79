#include "cloudsim/cloudsim.hpp"

#include <memory>
#include <string>

#include <pybind11/native_enum.h>

#include "bindings/views.hpp"
#include "cloudsim/errors.hpp"

namespace foreshade::bindings {

namespace {

using namespace foreshade::cloudsim;

using Percent = py::array_t<std::int32_t, py::array::c_style>;
using Moves = py::array_t<std::int32_t, py::array::c_style>; // (n, 2): VM, host

std::unique_ptr<CloudSim> make(const Percent& percent, std::size_t n_hosts, bool keep_zero, bool full_power,
                               bool first_fit) {
    if (percent.ndim() != 2)
        throw InputError("percent matrix: expected two dimensions, got " + std::to_string(percent.ndim()));
    Options options;
    options.n_hosts = n_hosts;
    options.keep_zero = keep_zero;
    options.full_power = full_power;
    options.placement = first_fit ? Placement::first_fit : Placement::power_aware;
    return std::make_unique<CloudSim>(std::span(percent.data(), static_cast<std::size_t>(percent.size())),
                                      static_cast<std::size_t>(percent.shape(0)), options);
}

Moves to_array(const std::vector<Move>& moves) {
    Moves out({static_cast<py::ssize_t>(moves.size()), py::ssize_t{2}});
    auto cells = out.mutable_unchecked<2>();
    for (py::ssize_t i = 0; i < cells.shape(0); ++i) {
        cells(i, 0) = moves[static_cast<std::size_t>(i)].vm;
        cells(i, 1) = moves[static_cast<std::size_t>(i)].host;
    }
    return out;
}

std::vector<Move> from_array(const Moves& moves) {
    if (moves.ndim() != 2 || moves.shape(1) != 2) throw InputError("moves: expected an array of shape (n, 2)");
    const auto cells = moves.unchecked<2>();
    std::vector<Move> out;
    out.reserve(static_cast<std::size_t>(cells.shape(0)));
    for (py::ssize_t i = 0; i < cells.shape(0); ++i) out.push_back({cells(i, 0), cells(i, 1)});
    return out;
}

// A refill must not move the columns under the views that Python holds.
void refill(const CloudSim& self, ClusterState& state) {
    if (state.n_hosts() != self.n_hosts() || state.n_vms() != self.n_vms())
        throw InputError("observe: expected a state of " + std::to_string(self.n_hosts()) + " hosts and " +
                         std::to_string(self.n_vms()) + " VMs, got " + std::to_string(state.n_hosts()) + " and " +
                         std::to_string(state.n_vms()));
    self.observe(state);
}

template <class T> py::array_t<T> copied(const std::vector<T>& values) {
    return py::array_t<T>(static_cast<py::ssize_t>(values.size()), values.data());
}

void register_results(const py::module_& module) {
    py::class_<Metrics>(module, "CloudSimMetrics")
        .def_readonly("energy_kwh", &Metrics::energy_kwh)
        .def_readonly("migrations", &Metrics::migrations)
        .def_readonly("slatah", &Metrics::slatah)
        .def_readonly("pdm", &Metrics::pdm)
        .def_readonly("slav", &Metrics::slav)
        .def_readonly("esv", &Metrics::esv)
        .def_readonly("overall_sla", &Metrics::overall_sla)
        .def_readonly("average_sla", &Metrics::average_sla)
        .def_readonly("host_shutdowns", &Metrics::host_shutdowns)
        .def_readonly("unmet_demand", &Metrics::unmet_demand)
        .def_readonly("unmet_demand_worst_vm", &Metrics::unmet_demand_worst_vm);
    py::class_<Series>(module, "CloudSimSeries")
        .def_property_readonly("power_w", [](const Series& s) { return copied(s.power_w); })
        .def_property_readonly("hosts_on", [](const Series& s) { return copied(s.hosts_on); })
        .def_property_readonly("migrations", [](const Series& s) { return copied(s.migrations); })
        .def_property_readonly("requested_mips", [](const Series& s) { return copied(s.requested_mips); })
        .def_property_readonly("allocated_mips", [](const Series& s) { return copied(s.allocated_mips); });
}

} // namespace

void register_cloudsim(const py::module_& module) {
    using NoGil = py::call_guard<py::gil_scoped_release>;
    // InputError is a std::invalid_argument, which arrives as ValueError.
    py::register_exception<MoveError>(module, "CloudSimMoveError", PyExc_RuntimeError);
    py::register_exception<AbortError>(module, "CloudSimAbortError", PyExc_RuntimeError);
    py::native_enum<Policy>(module, "CloudSimPolicy", "enum.IntEnum", "How CloudSim tells that a host is overloaded.")
        .value("NONE", Policy::none)
        .value("THR", Policy::thr)
        .value("IQR", Policy::iqr)
        .value("MAD", Policy::mad)
        .value("LR", Policy::lr)
        .value("LRR", Policy::lrr)
        .finalize();
    register_results(module);
    py::class_<CloudSim>(module, "CloudSim", "CloudSim 3.0.3's PlanetLab power benchmark, bit for bit, in steps.")
        .def(py::init(&make), py::arg("percent").noconvert(), py::kw_only(), py::arg("n_hosts") = 800,
             py::arg("keep_zero") = false, py::arg("full_power") = false, py::arg("first_fit") = false)
        .def("advance", &CloudSim::advance, NoGil())
        .def_property_readonly("done", &CloudSim::done)
        .def_property_readonly("time_s", &CloudSim::time_s)
        .def_property_readonly("step", &CloudSim::step)
        .def_property_readonly("n_hosts", &CloudSim::n_hosts)
        .def_property_readonly("n_vms", &CloudSim::n_vms)
        .def(
            "optimise",
            [](CloudSim& self, Policy policy, double parameter) { return to_array(self.optimise(policy, parameter)); },
            py::arg("policy"), py::arg("parameter"))
        .def(
            "migrate", [](CloudSim& self, const Moves& moves) { self.migrate(from_array(moves)); },
            py::arg("moves").noconvert())
        .def("run", &CloudSim::run, py::arg("policy"), py::arg("parameter"), NoGil())
        .def("metrics", &CloudSim::metrics)
        .def("series", [](const CloudSim& self) { return self.series(); })
        .def("new_state",
             [](const CloudSim& self) {
                 auto state = std::make_unique<ClusterState>();
                 self.observe(*state);
                 return state;
             })
        .def("observe", &refill, py::arg("state"));
}

} // namespace foreshade::bindings
