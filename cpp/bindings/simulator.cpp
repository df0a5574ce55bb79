#include "core/simulator.hpp"

#include <pybind11/stl.h>

#include <memory>

#include "bindings/views.hpp"
#include "core/bandwidth.hpp"
#include "core/batch.hpp"

namespace foreshade::bindings {

namespace {

using F32 = py::array_t<float, py::array::c_style>;
using I32 = py::array_t<std::int32_t, py::array::c_style | py::array::forcecast>;

template <class T, int Flags> std::vector<T> to_vector(const py::array_t<T, Flags>& array) {
    return {array.data(), array.data() + array.size()};
}

// A plant keeps the arrays of its workload alive.
struct SharedPlant {
    std::shared_ptr<const Plant> plant;
    F32 demand;
    F32 gpu;
};

py::dict costs_dict(const Costs& costs) {
    py::dict out;
    for (std::size_t c = 0; c < kCostTerms; ++c) out[kCostTermNames[c]] = costs[c];
    return out;
}

py::dict totals_dict(const Totals& t) {
    py::dict out;
    out["host_kwh"] = t.host_j / 3.6e6;
    out["rack_kwh"] = t.rack_j / 3.6e6;
    out["demand"] = t.demand;
    out["unmet"] = t.unmet;
    out["late_mhz_s"] = t.late;
    out["migration_unmet_mhz_s"] = t.migration_unmet;
    out["on_s"] = t.on_s;
    out["overloaded_s"] = t.overloaded_s;
    out["used_mhz_s"] = t.used_cpu;
    out["capacity_mhz_s"] = t.capacity_cpu;
    out["dark_s"] = t.dark_s;
    out["migration_downtime_s"] = t.downtime_s;
    out["migrations"] = t.migrations;
    out["migrations_failed"] = t.migrations_failed;
    out["host_shutdowns"] = t.host_shutdowns;
    out["host_boots"] = t.host_boots;
    out["host_failures"] = t.host_failures;
    out["hosts_reclaimed"] = t.hosts_reclaimed;
    out["crashed_s"] = t.crashed_s;
    out["oom_kills"] = t.oom_kills;
    out["sla_violations"] = t.sla_violations;
    out["spawned"] = t.spawned;
    out["scheduled"] = t.scheduled;
    out["refused"] = t.refused;
    out["cost"] = costs_dict(t.cost);
    return out;
}

} // namespace

std::shared_ptr<const Plant> plant_behind(const py::object& plant) {
    return plant.cast<const SharedPlant&>().plant;
}

py::dict costs_by_name(const Costs& costs) {
    return costs_dict(costs);
}

void register_simulator(py::module_& module) {
    py::class_<Action>(module, "Action")
        .def(py::init([](int kind, std::int32_t vm, std::int32_t host, std::int32_t app, std::int32_t rack, float value,
                         float value2, const std::optional<Amounts>& allocation) {
                 if (kind < 0 || kind >= static_cast<int>(kActionKinds))
                     throw py::value_error("unknown kind of action");
                 return Action{static_cast<ActionKind>(kind), vm, host, app, rack, value, value2,
                               allocation.value_or(Amounts{})};
             }),
             py::arg("kind"), py::arg("vm") = -1, py::arg("host") = -1, py::arg("app") = -1, py::arg("rack") = -1,
             py::arg("value") = 0.0F, py::arg("value2") = 0.0F, py::arg("allocation") = py::none());

    py::class_<SharedPlant>(module, "Plant")
        .def(py::init([](const DataCentre& spec, const F32& demand, const F32& gpu, const I32& gpu_series,
                         const I32& app_series, const I32& app_members, const F32& app_memory_floor,
                         const F32& app_offloadable, const I32& vm_app, const F32& vm_flavour, const I32& vm_arrival,
                         const I32& vm_departure, const F32& vm_credit, const std::vector<int>& allowed,
                         const forecast::Source& forecast) {
                 if (demand.ndim() != 3 || demand.shape(2) != static_cast<py::ssize_t>(kDense))
                     throw py::value_error("demand: expected shape (n_ticks, n_series, 4)");
                 WorkloadView work;
                 work.n_ticks = static_cast<std::size_t>(demand.shape(0));
                 work.n_series = static_cast<std::size_t>(demand.shape(1));
                 work.demand = demand.data();
                 work.n_gpu_series = static_cast<std::size_t>(gpu_series.size());
                 if (gpu.size() != static_cast<py::ssize_t>(work.n_ticks * work.n_gpu_series))
                     throw py::value_error("gpu: expected shape (n_ticks, n_gpu_series)");
                 work.gpu = gpu.data();
                 work.gpu_column.assign(work.n_series, -1);
                 for (py::ssize_t i = 0; i < gpu_series.size(); ++i)
                     work.gpu_column.at(static_cast<std::size_t>(gpu_series.at(i))) = static_cast<std::int32_t>(i);
                 work.app_series = to_vector(app_series);
                 work.app_members = to_vector(app_members);
                 work.app_memory_floor = to_vector(app_memory_floor);
                 work.app_offloadable = to_vector(app_offloadable);
                 work.vm_app = to_vector(vm_app);
                 work.vm_flavour = to_vector(vm_flavour);
                 work.vm_arrival = to_vector(vm_arrival);
                 work.vm_departure = to_vector(vm_departure);
                 work.vm_credit = to_vector(vm_credit);
                 std::uint32_t bits = 0;
                 for (const int kind : allowed) bits |= 1U << static_cast<unsigned>(kind);
                 return SharedPlant{std::make_shared<const Plant>(spec, std::move(work), bits, forecast), demand, gpu};
             }),
             py::arg("spec"), py::arg("demand").noconvert(), py::arg("gpu").noconvert(), py::arg("gpu_series"),
             py::arg("app_series"), py::arg("app_members"), py::arg("app_memory_floor"), py::arg("app_offloadable"),
             py::arg("vm_app"), py::arg("vm_flavour"), py::arg("vm_arrival"), py::arg("vm_departure"),
             py::arg("vm_credit"), py::arg("allowed"), py::arg("forecast") = py::none());

    py::class_<Simulator>(module, "Simulator")
        .def(py::init([](const SharedPlant& plant, std::uint64_t seed) {
                 return std::make_unique<Simulator>(plant.plant, seed);
             }),
             py::arg("plant"), py::arg("seed"), py::keep_alive<1, 2>())
        .def("reset", &Simulator::reset, py::arg("seed"), py::arg("start_tick") = 0)
        .def(
            "execute",
            [](Simulator& self, const std::vector<Action>& actions) {
                std::vector<std::pair<std::string, std::int32_t>> results;
                results.reserve(actions.size());
                for (const Action& action : actions) {
                    const ActionResult result = self.execute(action);
                    results.emplace_back(refusal_text(result.refusal), result.vm);
                }
                return results;
            },
            "For each action: why it was refused (empty = it was begun), and the VM it is about.")
        .def("schedule", &Simulator::schedule)
        .def("advance", &Simulator::advance, py::call_guard<py::gil_scoped_release>())
        .def("prepare", &Simulator::prepare)
        .def("observe", &Simulator::observe)
        .def_property_readonly("done", &Simulator::done)
        .def_property_readonly("tick", &Simulator::tick)
        .def_property_readonly("time_s", &Simulator::time_s)
        .def_property_readonly("worst_vm_unmet", &Simulator::worst_vm_unmet)
        .def_property_readonly("memory_bytes", &Simulator::memory_bytes)
        .def("last_cost", [](const Simulator& self) { return costs_dict(self.last_tick().cost); })
        .def("last_tick", [](const Simulator& self) { return totals_dict(self.last_tick()); })
        .def("totals", [](const Simulator& self) { return totals_dict(self.totals()); })
        .def("record_history", &Simulator::record_history)
        .def("perturb_hidden_demand", &Simulator::perturb_hidden_demand)
        .def("postpone_silent_failures", &Simulator::postpone_silent_failures, py::arg("by_s"))
        .def("history", [](const Simulator& self) {
            const auto& records = self.history();
            py::dict out;
            const auto field = [&](const char* name, auto member) {
                py::array_t<double> values(static_cast<py::ssize_t>(records.size()));
                for (std::size_t i = 0; i < records.size(); ++i)
                    values.mutable_at(static_cast<py::ssize_t>(i)) = static_cast<double>(records[i].*member);
                out[name] = values;
            };
            field("time_s", &TickRecord::time_s);
            field("host_power_w", &TickRecord::host_power_w);
            field("rack_power_w", &TickRecord::rack_power_w);
            field("demand_cpu_mhz", &TickRecord::demand_cpu_mhz);
            field("used_cpu_mhz", &TickRecord::used_cpu_mhz);
            field("capacity_cpu_mhz", &TickRecord::capacity_cpu_mhz);
            field("unmet_cpu_mhz", &TickRecord::unmet_cpu_mhz);
            field("hosts_on", &TickRecord::hosts_on);
            field("migrations", &TickRecord::migrations);
            field("cost_usd", &TickRecord::cost_usd);
            return out;
        });

    py::class_<Batch>(module, "Batch")
        .def(py::init([](const SharedPlant& plant, std::size_t n_envs, std::uint64_t seed, std::size_t threads) {
                 return std::make_unique<Batch>(plant.plant, n_envs, seed, threads);
             }),
             py::arg("plant"), py::arg("n_envs"), py::arg("seed"), py::arg("threads") = 1, py::keep_alive<1, 2>())
        .def("advance", &Batch::advance, py::arg("ticks") = 1, py::call_guard<py::gil_scoped_release>())
        .def("start_at", &Batch::start_at, py::arg("env"), py::arg("tick"))
        .def("__len__", &Batch::size)
        .def(
            "env",
            [](Batch& self, std::size_t i) -> Simulator& {
                if (i >= self.size()) throw py::index_error("environment out of range");
                return self.env(i);
            },
            py::return_value_policy::reference_internal)
        .def_property_readonly("memory_bytes", &Batch::memory_bytes)
        .def_property_readonly("bytes_per_tick", &Batch::bytes_per_tick);

    module.def("triad_bytes_per_s", &triad_bytes_per_s, py::arg("n"), py::arg("repeats") = 5,
               py::call_guard<py::gil_scoped_release>());
}

} // namespace foreshade::bindings
