#include "core/decide/packer.hpp"

#include <pybind11/stl.h>

#include "bindings/views.hpp"

namespace foreshade::bindings {

void register_packer(const py::module_& module) {
    py::class_<Economy>(module, "Economy")
        .def(py::init<>())
        .def_readwrite("usd_kwh", &Economy::usd_kwh)
        .def_readwrite("unmet_usd_h", &Economy::unmet_usd_h)
        .def_readwrite("late_usd_mhz_h", &Economy::late_usd_mhz_h)
        .def_readwrite("downtime_usd_h", &Economy::downtime_usd_h)
        .def_readwrite("migration_usd", &Economy::migration_usd)
        .def_readwrite("boot_usd", &Economy::boot_usd)
        .def_readwrite("slo_stretch", &Economy::slo_stretch);
    py::class_<Site, std::shared_ptr<Site>>(module, "Site")
        .def(py::init<>())
        .def_readwrite("tick_s", &Site::tick_s)
        .def_readwrite("capabilities", &Site::capabilities)
        .def_readwrite("economy", &Site::economy)
        .def_readwrite("power_w", &Site::power_w)
        .def_readwrite("cores", &Site::cores)
        .def_readwrite("off_w", &Site::off_w)
        .def_readwrite("vm_overhead", &Site::vm_overhead)
        .def_readwrite("rented", &Site::rented)
        .def_readwrite("largest_vm", &Site::largest_vm)
        .def_readwrite("migration_mbit_s", &Site::migration_mbit_s)
        .def_readwrite("rack_w", &Site::rack_w)
        .def_readwrite("sleep_w", &Site::sleep_w)
        .def_readwrite("wake_s", &Site::wake_s)
        .def_readwrite("offloadable", &Site::offloadable)
        .def_readwrite("guest_cpu", &Site::guest_cpu)
        .def_property(
            "affinity", [](const Site& self) { return std::const_pointer_cast<Affinity>(self.affinity); },
            [](Site& self, const std::shared_ptr<Affinity>& rules) { self.affinity = rules; });
    py::class_<PackerKnobs>(module, "PackerKnobs")
        .def(py::init<>())
        .def_readwrite("window", &PackerKnobs::window)
        .def_readwrite("horizon_ticks", &PackerKnobs::horizon_ticks)
        .def_readwrite("drain_ticks", &PackerKnobs::drain_ticks)
        .def_readwrite("margin_usd", &PackerKnobs::margin_usd)
        .def_readwrite("boot_weight", &PackerKnobs::boot_weight)
        .def_readwrite("move_weight", &PackerKnobs::move_weight)
        .def_readwrite("drain_hosts", &PackerKnobs::drain_hosts)
        .def_readwrite("drain_trials", &PackerKnobs::drain_trials)
        .def_readwrite("drain_misses", &PackerKnobs::drain_misses)
        .def_readwrite("near", &PackerKnobs::near)
        .def_readwrite("reserve", &PackerKnobs::reserve)
        .def_readwrite("failover", &PackerKnobs::failover)
        .def_readwrite("grace_s", &PackerKnobs::grace_s)
        .def_readwrite("hazard_per_h", &PackerKnobs::hazard_per_h)
        .def_readwrite("racks", &PackerKnobs::racks)
        .def_readwrite("rack_credit", &PackerKnobs::rack_credit)
        .def_readwrite("wake_trials", &PackerKnobs::wake_trials)
        .def_readwrite("layout", &PackerKnobs::layout)
        .def_readwrite("acute_uneven", &PackerKnobs::acute_uneven)
        .def_readwrite("kin", &PackerKnobs::kin)
        .def_readwrite("whole_racks", &PackerKnobs::whole_racks)
        .def_readwrite("urgent", &PackerKnobs::urgent)
        .def_readwrite("urgent_gpus", &PackerKnobs::urgent_gpus)
        .def_readwrite("acute_weight", &PackerKnobs::acute_weight)
        .def_readwrite("peaks", &PackerKnobs::peaks)
        .def_readwrite("z", &PackerKnobs::z)
        .def_readwrite("target", &PackerKnobs::target)
        .def_readwrite("relief", &PackerKnobs::relief)
        .def_readwrite("fullest", &PackerKnobs::fullest)
        .def_readwrite("sigma_scale", &PackerKnobs::sigma_scale)
        .def("check", &PackerKnobs::check);
    py::class_<PackerMemory, std::shared_ptr<PackerMemory>>(module, "PackerMemory")
        .def(py::init<const WindowKnobs&, float>(), py::arg("window"), py::arg("tick_s"))
        .def("reset", &PackerMemory::reset)
        .def("observe", [](PackerMemory& self, const ClusterState& state) { self.observe(state); }, py::arg("state"));
    py::class_<Packer>(module, "Packer")
        .def(py::init([](std::shared_ptr<Site> site, const PackerKnobs& knobs, std::shared_ptr<PackerMemory> memory) {
                 return memory ? std::make_unique<Packer>(std::move(site), knobs, std::move(memory))
                               : std::make_unique<Packer>(std::move(site), knobs);
             }),
             py::arg("site"), py::arg("knobs"), py::arg("memory") = std::shared_ptr<PackerMemory>())
        .def("reset", &Packer::reset)
        .def("observe", &Packer::observe, py::arg("state"))
        .def(
            "plan",
            [](Packer& self, const ClusterState& state) {
                std::span<const Action> plan;
                {
                    const py::gil_scoped_release unlocked;
                    plan = self.plan(state);
                }
                py::list out;
                for (std::size_t k = 0; k < plan.size(); ++k) {
                    const Action& action = plan[k];
                    out.append(py::make_tuple(static_cast<int>(action.kind), action.vm, action.host, action.rack,
                                              action.value, reason_text(self.reasons()[k])));
                }
                return out;
            },
            py::arg("state"))
        .def("gain_usd", &Packer::gain_usd)
        .def("dark_racks",
             [](const Packer& self) { return std::vector<bool>(self.dark_racks().begin(), self.dark_racks().end()); })
        .def(
            "assume_dark",
            [](Packer& self, const std::vector<bool>& racks) {
                self.assume_dark(std::vector<std::uint8_t>(racks.begin(), racks.end()));
            },
            py::arg("racks"));
}

} // namespace foreshade::bindings
