#include "core/cluster_state.hpp"

#include <memory>

#include "bindings/views.hpp"

namespace foreshade::bindings {

namespace {

// A read-only property that shows a column of `Columns` as a NumPy view.
template <class Columns, class T>
void column(py::class_<Columns>& cls, const char* name, std::vector<T> Columns::* member, std::size_t width = 1) {
    cls.def_property_readonly(
        name, [member, width](py::object self) { return view(self.cast<const Columns&>().*member, self, width); });
}

using F32 = py::array_t<float, py::array::c_style>;
using U8 = py::array_t<std::uint8_t, py::array::c_style>;

std::span<const float> cells(const F32& array) {
    return {array.data(), static_cast<std::size_t>(array.size())};
}

std::span<const AnomalyLabel> labels(const U8& array) {
    return {reinterpret_cast<const AnomalyLabel*>(array.data()), static_cast<std::size_t>(array.size())};
}

} // namespace

void register_cluster_state(py::module_& module) {
    py::class_<HostColumns> hosts(module, "HostColumns");
    column(hosts, "capacity", &HostColumns::capacity, kResources);
    column(hosts, "allocated", &HostColumns::allocated, kResources);
    column(hosts, "usage", &HostColumns::usage, kResources);
    column(hosts, "overcommit", &HostColumns::overcommit, kResources);
    column(hosts, "contention", &HostColumns::contention);
    column(hosts, "power_w", &HostColumns::power_w);
    column(hosts, "idle_w", &HostColumns::idle_w);
    column(hosts, "peak_w", &HostColumns::peak_w);
    column(hosts, "boot_s", &HostColumns::boot_s);
    column(hosts, "price_usd_h", &HostColumns::price_usd_h);
    column(hosts, "hazard_per_h", &HostColumns::hazard_per_h);
    column(hosts, "hazard_confidence", &HostColumns::hazard_confidence);
    column(hosts, "since_s", &HostColumns::since_s);
    column(hosts, "age_s", &HostColumns::age_s);
    column(hosts, "n_vms", &HostColumns::n_vms);
    column(hosts, "arriving", &HostColumns::arriving);
    column(hosts, "rack", &HostColumns::rack);
    column(hosts, "zone", &HostColumns::zone);
    column(hosts, "model", &HostColumns::model);
    column(hosts, "profile", &HostColumns::profile);
    column(hosts, "state", &HostColumns::state);
    column(hosts, "anomaly", &HostColumns::anomaly);

    py::class_<VmColumns> vms(module, "VmColumns");
    column(vms, "flavour", &VmColumns::flavour, kResources);
    column(vms, "allocation", &VmColumns::allocation, kResources);
    column(vms, "usage", &VmColumns::usage, kResources);
    column(vms, "demand", &VmColumns::demand, kResources);
    column(vms, "contention", &VmColumns::contention);
    column(vms, "weight", &VmColumns::weight);
    column(vms, "credit", &VmColumns::credit);
    column(vms, "since_move_s", &VmColumns::since_move_s);
    column(vms, "age_s", &VmColumns::age_s);
    column(vms, "anomaly_p", &VmColumns::anomaly_p);
    column(vms, "widen", &VmColumns::widen);
    column(vms, "birth", &VmColumns::birth);
    column(vms, "app", &VmColumns::app);
    column(vms, "host", &VmColumns::host);
    column(vms, "destination", &VmColumns::destination);
    column(vms, "primary", &VmColumns::primary);
    column(vms, "state", &VmColumns::state);
    column(vms, "kind", &VmColumns::kind);
    column(vms, "anomaly", &VmColumns::anomaly);

    py::class_<ClusterState>(module, "ClusterState")
        .def(py::init<>())
        .def_readonly("time_s", &ClusterState::time_s)
        .def_readonly("tick", &ClusterState::tick)
        .def_readonly("hosts", &ClusterState::hosts)
        .def_readonly("vms", &ClusterState::vms)
        .def(
            "show_anomalies",
            [](ClusterState& self, const U8& vm, const F32& vm_p, const F32& vm_widen, const U8& host) {
                self.show_anomalies(labels(vm), cells(vm_p), cells(vm_widen), labels(host));
            },
            "Fill vms.anomaly, vms.anomaly_p, vms.widen and hosts.anomaly.", py::arg("vm").noconvert(),
            py::arg("vm_p").noconvert(), py::arg("vm_widen").noconvert(), py::arg("host").noconvert())
        .def(
            "show_hazards",
            [](ClusterState& self, const F32& per_h, const F32& confidence) {
                self.show_hazards(cells(per_h), cells(confidence));
            },
            "Fill hosts.hazard_per_h and hosts.hazard_confidence.", py::arg("per_h").noconvert(),
            py::arg("confidence").noconvert())
        .def(
            "copy", [](const ClusterState& self) { return std::make_unique<ClusterState>(self); },
            "An independent copy, e.g. to plan on.");
}

} // namespace foreshade::bindings
