#include <pybind11/stl.h>

#include "bindings/register.hpp"
#include "core/spec.hpp"

namespace foreshade::bindings {

void register_data_centre(const py::module_& module) {
    py::class_<ServerModel>(module, "ServerModel")
        .def(py::init<>())
        .def_readwrite("name", &ServerModel::name)
        .def_readwrite("capacity", &ServerModel::capacity)
        .def_readwrite("cores", &ServerModel::cores)
        .def_readwrite("power_w", &ServerModel::power_w)
        .def_readwrite("off_w", &ServerModel::off_w)
        .def_readwrite("sleep_w", &ServerModel::sleep_w)
        .def_readwrite("boot_w", &ServerModel::boot_w)
        .def_readwrite("boot_s", &ServerModel::boot_s)
        .def_readwrite("shutdown_s", &ServerModel::shutdown_s)
        .def_readwrite("sleep_enter_s", &ServerModel::sleep_enter_s)
        .def_readwrite("wake_s", &ServerModel::wake_s)
        .def_readwrite("gpu_idle_w", &ServerModel::gpu_idle_w)
        .def_readwrite("gpu_peak_w", &ServerModel::gpu_peak_w);

    py::class_<HypervisorProfile>(module, "HypervisorProfile")
        .def(py::init<>())
        .def_readwrite("name", &HypervisorProfile::name)
        .def_readwrite("efficiency", &HypervisorProfile::efficiency)
        .def_readwrite("vm_cpu_mhz", &HypervisorProfile::vm_cpu_mhz)
        .def_readwrite("vm_memory_mib", &HypervisorProfile::vm_memory_mib)
        .def_readwrite("boot_s", &HypervisorProfile::boot_s)
        .def_readwrite("shutdown_s", &HypervisorProfile::shutdown_s)
        .def_readwrite("cpu_up", &HypervisorProfile::cpu_up)
        .def_readwrite("cpu_down", &HypervisorProfile::cpu_down)
        .def_readwrite("memory_up", &HypervisorProfile::memory_up)
        .def_readwrite("memory_down", &HypervisorProfile::memory_down)
        .def_readwrite("disk", &HypervisorProfile::disk)
        .def_readwrite("network", &HypervisorProfile::network)
        .def_readwrite("swap_factor", &HypervisorProfile::swap_factor)
        .def_readwrite("oom_overflow", &HypervisorProfile::oom_overflow)
        .def_readwrite("migration_mbit_s", &HypervisorProfile::migration_mbit_s)
        .def_readwrite("migration_setup_s", &HypervisorProfile::migration_setup_s)
        .def_readwrite("downtime_limit_s", &HypervisorProfile::downtime_limit_s)
        .def_readwrite("resume_s", &HypervisorProfile::resume_s)
        .def_readwrite("max_rounds", &HypervisorProfile::max_rounds)
        .def_readwrite("max_concurrent", &HypervisorProfile::max_concurrent)
        .def_readwrite("migration_cpu_mhz_per_mbit", &HypervisorProfile::migration_cpu_mhz_per_mbit)
        .def_readwrite("migration_slowdown", &HypervisorProfile::migration_slowdown)
        .def_readwrite("dirty_share_per_s", &HypervisorProfile::dirty_share_per_s)
        .def_readwrite("working_set", &HypervisorProfile::working_set);

    py::class_<Rack>(module, "Rack")
        .def(py::init<>())
        .def_readwrite("zone", &Rack::zone)
        .def_readwrite("overhead_w", &Rack::overhead_w)
        .def_readwrite("uplink_mbit_s", &Rack::uplink_mbit_s)
        .def_readwrite("heat_c_per_kw", &Rack::heat_c_per_kw);

    py::class_<Host>(module, "Host")
        .def(py::init<>())
        .def_readwrite("model", &Host::model)
        .def_readwrite("profile", &Host::profile)
        .def_readwrite("rack", &Host::rack)
        .def_readwrite("overcommit", &Host::overcommit)
        .def_readwrite("rented", &Host::rented)
        .def_readwrite("price_usd_h", &Host::price_usd_h)
        .def_readwrite("provision_s", &Host::provision_s)
        .def_readwrite("committed", &Host::committed)
        .def_readwrite("reclaims_per_h", &Host::reclaims_per_h)
        .def_readwrite("notice_s", &Host::notice_s);

    py::class_<Prices>(module, "Prices")
        .def(py::init<>())
        .def_readwrite("electricity_usd_kwh", &Prices::electricity_usd_kwh)
        .def_readwrite("carbon_g_kwh", &Prices::carbon_g_kwh)
        .def_readwrite("carbon_usd_per_t", &Prices::carbon_usd_per_t)
        .def_readwrite("pue", &Prices::pue)
        .def_readwrite("unmet_usd_h", &Prices::unmet_usd_h)
        .def_readwrite("late_usd_ghz_h", &Prices::late_usd_ghz_h)
        .def_readwrite("downtime_usd_h", &Prices::downtime_usd_h)
        .def_readwrite("migration_usd", &Prices::migration_usd)
        .def_readwrite("boot_usd", &Prices::boot_usd);

    py::class_<Failures>(module, "Failures")
        .def(py::init<>())
        .def_readwrite("mtbf_h", &Failures::mtbf_h)
        .def_readwrite("repair_h", &Failures::repair_h)
        .def_readwrite("recall", &Failures::recall)
        .def_readwrite("false_alarms_per_host_day", &Failures::false_alarms_per_host_day)
        .def_readwrite("lead_h", &Failures::lead_h);

    py::class_<MaintenanceWindow>(module, "MaintenanceWindow")
        .def(py::init<>())
        .def_readwrite("host", &MaintenanceWindow::host)
        .def_readwrite("start_s", &MaintenanceWindow::start_s)
        .def_readwrite("end_s", &MaintenanceWindow::end_s);

    py::enum_<Scheduler>(module, "Scheduler")
        .value("first_fit", Scheduler::first_fit)
        .value("best_fit", Scheduler::best_fit)
        .value("worst_fit", Scheduler::worst_fit);

    py::class_<DataCentre>(module, "DataCentre")
        .def(py::init<>())
        .def_readwrite("tick_s", &DataCentre::tick_s)
        .def_readwrite("models", &DataCentre::models)
        .def_readwrite("profiles", &DataCentre::profiles)
        .def_readwrite("racks", &DataCentre::racks)
        .def_readwrite("hosts", &DataCentre::hosts)
        .def_readwrite("prices", &DataCentre::prices)
        .def_readwrite("failures", &DataCentre::failures)
        .def_readwrite("maintenance", &DataCentre::maintenance)
        .def_property(
            "affinity", [](const DataCentre& self) { return std::const_pointer_cast<Affinity>(self.affinity); },
            [](DataCentre& self, const std::shared_ptr<Affinity>& rules) { self.affinity = rules; })
        .def_readwrite("scheduler", &DataCentre::scheduler)
        .def_readwrite("slo_stretch", &DataCentre::slo_stretch)
        .def_readwrite("knee", &DataCentre::knee)
        .def_readwrite("guest_cpu", &DataCentre::guest_cpu)
        .def_readwrite("supply_c", &DataCentre::supply_c)
        .def_readwrite("spare_slots", &DataCentre::spare_slots);
}

} // namespace foreshade::bindings
