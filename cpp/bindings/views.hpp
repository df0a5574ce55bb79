// NumPy views on columns that a C++ object owns; the array keeps its owner alive.
#pragma once

#include <type_traits>
#include <vector>

#include "bindings/register.hpp"

namespace foreshade::bindings {

template <class T> struct ScalarOf {
    using type = T;
};
template <class T>
    requires std::is_enum_v<T>
struct ScalarOf<T> {
    using type = std::underlying_type_t<T>;
};

// A view of `column` as (n,) or, with `width` > 1, as (n / width, width). Not writable unless asked for.
template <class T>
py::array view(const std::vector<T>& column, const py::object& owner, std::size_t width = 1, bool writable = false) {
    using Scalar = ScalarOf<T>::type;
    std::vector<py::ssize_t> shape{static_cast<py::ssize_t>(column.size() / width)};
    if (width > 1) shape.push_back(static_cast<py::ssize_t>(width));
    py::array array(py::dtype::of<Scalar>(), shape, reinterpret_cast<const Scalar*>(column.data()), owner);
    if (!writable) array.attr("setflags")(py::arg("write") = false);
    return array;
}

} // namespace foreshade::bindings
