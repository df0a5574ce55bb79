#include "core/trees.hpp"

#include <pybind11/stl.h>

#include "bindings/register.hpp"

namespace foreshade::bindings {

namespace {

using F32 = py::array_t<float, py::array::c_style | py::array::forcecast>;

} // namespace

void register_trees(const py::module_& module) {
    py::class_<GrownTree>(module, "GrownTree", "One regression tree, a row per split.")
        .def(py::init([](std::vector<std::int32_t> feature, std::vector<double> threshold,
                         std::vector<std::uint8_t> nan_left, std::vector<std::int32_t> left,
                         std::vector<std::int32_t> right, std::vector<double> leaf) {
                 return GrownTree{std::move(feature), std::move(threshold), std::move(nan_left),
                                  std::move(left),    std::move(right),     std::move(leaf)};
             }),
             py::arg("feature"), py::arg("threshold"), py::arg("nan_left"), py::arg("left"), py::arg("right"),
             py::arg("leaf"));
    py::class_<TreeSums>(module, "TreeSums", "Sums of small regression trees over many rows at once.")
        .def(py::init<std::size_t>(), py::arg("n_features"))
        .def_property_readonly_static("most_leaves", [](const py::object&) { return TreeSums::kMostLeaves; })
        .def("add_output", &TreeSums::add_output, py::arg("trees"))
        .def_property_readonly("n_features", &TreeSums::n_features)
        .def_property_readonly("n_outputs", &TreeSums::n_outputs)
        .def(
            "predict",
            [](const TreeSums& self, const F32& rows) {
                if (rows.ndim() != 2) throw py::value_error("trees: expected rows (n, n_features)");
                py::array_t<double> out({static_cast<std::size_t>(rows.shape(0)), self.n_outputs()});
                const std::span<const float> in(rows.data(), static_cast<std::size_t>(rows.size()));
                const std::span<double> sums(out.mutable_data(), static_cast<std::size_t>(out.size()));
                {
                    const py::gil_scoped_release release;
                    self.predict(in, sums);
                }
                return out;
            },
            py::arg("rows"));
}

} // namespace foreshade::bindings
