#include "core/cluster_state.hpp"

#include <algorithm>
#include <memory>
#include <string>
#include <utility>

#include "bindings/views.hpp"

namespace foreshade::bindings {

namespace {

// A read-only property that shows a column of `Columns` as a NumPy view.
template <class Columns, class T>
void column(py::class_<Columns>& cls, const char* name, std::vector<T> Columns::* member, std::size_t width = 1) {
    cls.def_property_readonly(name, [member, width](const py::object& self) {
        return view(self.cast<const Columns&>().*member, self, width);
    });
}

using F32 = py::array_t<float, py::array::c_style>;
using U8 = py::array_t<std::uint8_t, py::array::c_style>;
using I32 = py::array_t<std::int32_t, py::array::c_style>;

std::span<const float> cells(const F32& array) {
    return {array.data(), static_cast<std::size_t>(array.size())};
}

std::span<const AnomalyLabel> labels(const U8& array) {
    return {reinterpret_cast<const AnomalyLabel*>(array.data()), static_cast<std::size_t>(array.size())};
}

// Takes the columns that a dictionary names; each must be as wide as it is and hold what it holds, or nothing changes
// and ValueError says which.
class Filler {
  public:
    Filler(const char* table, py::dict given) : table_(table), given_(std::move(given)) {}

    template <class T> void column(const char* name, std::vector<T>& out) {
        using Scalar = ScalarOf<T>::type;
        if (!given_.contains(name)) return;
        const auto array = py::array_t<Scalar, py::array::c_style>::ensure(given_[name]);
        if (!array || !py::isinstance<py::array_t<Scalar>>(given_[name]))
            throw py::value_error(told(name) + ": expected an array of " +
                                  std::string(py::str(py::dtype::of<Scalar>())));
        if (static_cast<std::size_t>(array.size()) != out.size())
            throw py::value_error(told(name) + ": expected " + std::to_string(out.size()) + " values, got " +
                                  std::to_string(array.size()));
        std::copy_n(reinterpret_cast<const T*>(array.data()), out.size(), out.begin());
        ++taken_;
    }

    void finish() const {
        if (taken_ == given_.size()) return;
        throw py::value_error(table_ + ": expected names of columns, got another among " +
                              std::string(py::str(py::list(given_))));
    }

  private:
    std::string told(const char* name) const { return table_ + "." + name; }

    std::string table_;
    py::dict given_;
    std::size_t taken_ = 0;
};

void fill(HostColumns& hosts, const py::dict& given) {
    Filler from("hosts", given);
    from.column("capacity", hosts.capacity);
    from.column("allocated", hosts.allocated);
    from.column("usage", hosts.usage);
    from.column("overcommit", hosts.overcommit);
    from.column("contention", hosts.contention);
    from.column("power_w", hosts.power_w);
    from.column("idle_w", hosts.idle_w);
    from.column("peak_w", hosts.peak_w);
    from.column("boot_s", hosts.boot_s);
    from.column("price_usd_h", hosts.price_usd_h);
    from.column("inlet_c", hosts.inlet_c);
    from.column("since_s", hosts.since_s);
    from.column("age_s", hosts.age_s);
    from.column("n_vms", hosts.n_vms);
    from.column("arriving", hosts.arriving);
    from.column("rack", hosts.rack);
    from.column("zone", hosts.zone);
    from.column("model", hosts.model);
    from.column("profile", hosts.profile);
    from.column("state", hosts.state);
    from.finish();
}

void fill(VmColumns& vms, const py::dict& given) {
    Filler from("vms", given);
    from.column("flavour", vms.flavour);
    from.column("allocation", vms.allocation);
    from.column("usage", vms.usage);
    from.column("demand", vms.demand);
    from.column("contention", vms.contention);
    from.column("weight", vms.weight);
    from.column("credit", vms.credit);
    from.column("since_move_s", vms.since_move_s);
    from.column("age_s", vms.age_s);
    from.column("birth", vms.birth);
    from.column("app", vms.app);
    from.column("host", vms.host);
    from.column("destination", vms.destination);
    from.column("primary", vms.primary);
    from.column("state", vms.state);
    from.column("kind", vms.kind);
    from.finish();
}

template <class T> std::vector<T> listed(const py::array_t<T, py::array::c_style>& array) {
    return {array.data(), array.data() + array.size()};
}

// What a span borrows, in `shape`; the array keeps the lender alive, which the next tick may not.
py::array borrowed(std::span<const float> values, const std::shared_ptr<const void>& owner,
                   const std::vector<std::size_t>& shape) {
    const py::capsule lender(new std::shared_ptr<const void>(owner),
                             [](void* held) { delete static_cast<std::shared_ptr<const void>*>(held); });
    py::array array(py::dtype::of<float>(), shape, values.data(), lender);
    array.attr("setflags")(py::arg("write") = false);
    return array;
}

} // namespace

void register_cluster_state(const py::module_& module) {
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
    column(hosts, "inlet_c", &HostColumns::inlet_c);
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

    py::class_<ForecastColumns> forecasts(module, "ForecastColumns");
    forecasts.def_property_readonly(
        "moments",
        [](const ForecastColumns& self) {
            return borrowed(self.moments, self.owner, {self.horizons.size(), self.n_rows(), kDense, 2});
        },
        "(n_horizons, n_rows, 4, 2) mean and standard deviation of cpu MHz, memory MiB, disk MiB/s, network Mbit/s");
    forecasts.def_property_readonly(
        "quantiles",
        [](const ForecastColumns& self) {
            const std::size_t n_rows = self.quantiles.empty() ? 0 : self.n_rows();
            return borrowed(self.quantiles, self.owner, {n_rows, kDense, self.horizons.size(), self.levels.size()});
        },
        "(n_rows, 4, n_horizons, n_levels), in the same units; no rows where only moments are kept");
    column(forecasts, "levels", &ForecastColumns::levels);
    column(forecasts, "horizons", &ForecastColumns::horizons);
    column(forecasts, "series", &ForecastColumns::series);
    column(forecasts, "share", &ForecastColumns::share);
    column(forecasts, "memory_share", &ForecastColumns::memory_share);

    py::class_<ClusterState>(module, "ClusterState")
        .def(py::init<>())
        .def_readonly("time_s", &ClusterState::time_s)
        .def_readonly("tick", &ClusterState::tick)
        .def_readonly("hosts", &ClusterState::hosts)
        .def_readonly("vms", &ClusterState::vms)
        .def_readonly("forecasts", &ClusterState::forecasts)
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
            "fill",
            [](ClusterState& self, double time_s, std::int64_t tick, std::size_t n_hosts, std::size_t n_vms,
               const py::dict& of_hosts, const py::dict& of_vms) {
                ClusterState next = self;
                next.time_s = time_s;
                next.tick = tick;
                next.resize(n_hosts, n_vms);
                fill(next.hosts, of_hosts);
                fill(next.vms, of_vms);
                next.validate();
                self = std::move(next);
            },
            "What telemetry shows: time, sizes and the columns named; the others stay. All of it or, with ValueError, "
            "nothing.",
            py::arg("time_s"), py::arg("tick"), py::arg("n_hosts"), py::arg("n_vms"), py::arg("hosts"), py::arg("vms"))
        .def(
            "show_forecasts",
            [](ClusterState& self, const F32& moments, const F32& quantiles, const I32& horizons, const F32& levels,
               const I32& series, const F32& share, const F32& memory_share) {
                auto owner = std::make_shared<std::pair<std::vector<float>, std::vector<float>>>(listed(moments),
                                                                                                 listed(quantiles));
                ForecastColumns said;
                said.moments = owner->first;
                said.quantiles = owner->second;
                said.owner = std::move(owner);
                said.horizons = listed(horizons);
                said.levels = listed(levels);
                said.series = listed(series);
                said.share = listed(share);
                said.memory_share = listed(memory_share);
                self.show_forecasts(std::move(said));
            },
            "Fill the forecasts: moments (n_horizons, n_rows, 4, 2), quantiles (n_rows, 4, n_horizons, n_levels) or "
            "none, and per VM its row, -1 = none, and its shares of it.",
            py::arg("moments").noconvert(), py::arg("quantiles").noconvert(), py::arg("horizons").noconvert(),
            py::arg("levels").noconvert(), py::arg("series").noconvert(), py::arg("share").noconvert(),
            py::arg("memory_share").noconvert())
        .def(
            "copy", [](const ClusterState& self) { return std::make_unique<ClusterState>(self); },
            "An independent copy, e.g. to plan on.");
}

} // namespace foreshade::bindings
