#include "core/packing.hpp"

#include <pybind11/stl.h>

#include <stdexcept>

#include "bindings/register.hpp"

namespace foreshade::bindings {

std::shared_ptr<const ExpectedCost> cost_behind(const py::object& scorer); // expected_cost.cpp

namespace {

using F32 = py::array_t<float, py::array::c_style>;
using I32 = py::array_t<std::int32_t, py::array::c_style>;
using U8 = py::array_t<std::uint8_t, py::array::c_style>;

template <class T> std::span<const T> values(const py::array_t<T, py::array::c_style>& array) {
    return {array.data(), static_cast<std::size_t>(array.size())};
}

} // namespace

void register_packing(py::module_& module) {
    py::enum_<HostUse>(module, "HostUse", py::arithmetic())
        .value("none", HostUse::none)
        .value("spare", HostUse::spare)
        .value("target", HostUse::target)
        .value("leaving", HostUse::leaving);
    py::class_<PackingKnobs>(module, "PackingKnobs")
        .def(py::init<>())
        .def_readwrite("horizon_h", &PackingKnobs::horizon_h)
        .def_readwrite("drain_horizon_h", &PackingKnobs::drain_horizon_h)
        .def_readwrite("margin_usd", &PackingKnobs::margin_usd)
        .def_readwrite("peaks", &PackingKnobs::peaks)
        .def_readwrite("z", &PackingKnobs::z)
        .def_readwrite("target", &PackingKnobs::target)
        .def_readwrite("relief", &PackingKnobs::relief)
        .def_readwrite("fullest", &PackingKnobs::fullest);
    py::class_<Packing>(module, "Packing")
        .def(py::init([](const py::object& cost) { return std::make_unique<Packing>(cost_behind(cost)); }),
             py::arg("cost"))
        .def(
            "limit_vms", [](Packing& self, const F32& cpu_mhz) { self.limit_vms(values(cpu_mhz)); }, py::arg("cpu_mhz"))
        .def(
            "begin",
            [](Packing& self, const ClusterState& state, const F32& mean, const F32& variance, const F32& move_usd,
               const U8& fixed, const U8& use, const PackingKnobs& knobs) {
                std::vector<HostUse> uses;
                for (const std::uint8_t x : values(use)) {
                    if (x > static_cast<std::uint8_t>(HostUse::leaving))
                        throw std::invalid_argument("use: expected 0 to 3, got " + std::to_string(x));
                    uses.push_back(static_cast<HostUse>(x));
                }
                self.begin(state, {values(mean), values(variance), values(move_usd), values(fixed)}, uses, knobs);
            },
            py::arg("state"), py::arg("mean"), py::arg("variance"), py::arg("move_usd"), py::arg("fixed"),
            py::arg("use"), py::arg("knobs"))
        .def(
            "place",
            [](Packing& self, std::int32_t vm, const I32& spares, const F32& on_usd_h) {
                return self.place(vm, values(spares), values(on_usd_h));
            },
            py::arg("vm"), py::arg("spares"), py::arg("on_usd_h"))
        .def("open", &Packing::open, py::arg("host"))
        .def(
            "improve", [](Packing& self, std::size_t budget) { return self.improve(budget); }, py::arg("budget"),
            py::call_guard<py::gil_scoped_release>())
        .def("relieve", &Packing::relieve, py::arg("budget"), py::call_guard<py::gil_scoped_release>())
        .def("try_open", &Packing::try_open, py::arg("host"), py::arg("price_usd"), py::arg("budget"), py::arg("keep"))
        .def(
            "drain",
            [](Packing& self, std::size_t budget, std::size_t trials, const F32& price_usd, const F32& kept_usd_h,
               const Amounts& sample, std::size_t reserve, float free_mib) {
                return self.drain(budget, trials, values(price_usd), values(kept_usd_h), sample, reserve, free_mib);
            },
            py::arg("budget"), py::arg("trials"), py::arg("price_usd"), py::arg("kept_usd_h"), py::arg("sample"),
            py::arg("reserve"), py::arg("free_mib"))
        .def("free_mib", &Packing::free_mib)
        .def("room_for", &Packing::room_for, py::arg("sample"))
        .def("moves",
             [](const Packing& self) {
                 py::list out;
                 for (const Move& move : self.moves())
                     out.append(py::make_tuple(move.vm, move.source, move.destination));
                 return out;
             })
        .def("opened",
             [](const Packing& self) { return std::vector<std::int32_t>(self.opened().begin(), self.opened().end()); })
        .def("usd_h",
             [](const Packing& self) {
                 F32 out(static_cast<py::ssize_t>(self.usd_h().size()));
                 std::copy(self.usd_h().begin(), self.usd_h().end(), out.mutable_data());
                 return out;
             })
        .def("peak_share", &Packing::peak_share, py::arg("host"), py::arg("resource"));
}

} // namespace foreshade::bindings
