// Rollouts of candidates: costs to learn from.
#include <pybind11/numpy.h>
#include <pybind11/stl.h>

#include "bindings/register.hpp"
#include "core/decide/decision_batch.hpp"
#include "core/decide/rollout.hpp"

namespace foreshade::bindings {

namespace {

using F32 = py::array_t<float, py::array::c_style>;
using I64 = py::array_t<std::int64_t, py::array::c_style>;

} // namespace

void register_rollout(py::module_& module) {
    module.def(
        "roll_out",
        [](DecisionBatch& batch, std::size_t environment, const I64& candidates, std::vector<std::int64_t> marks,
           std::vector<float> futures, float discount) {
            if (environment >= batch.size()) throw py::index_error("environment out of range");
            std::int64_t last = 0;
            for (const std::int64_t mark : marks) {
                if (mark <= last) throw std::invalid_argument("roll_out: marks: expected ticks above 0, ascending");
                last = mark;
            }
            const DecisionEnv& from = batch.env(environment);
            const auto n = static_cast<std::size_t>(candidates.size());
            const std::size_t n_marks = marks.size();
            for (std::size_t i = 0; i < n; ++i)
                if (candidates.data()[i] < 0 || candidates.data()[i] >= static_cast<std::int64_t>(from.proposer().k()))
                    throw std::invalid_argument("roll_out: candidates: expected indices below k");
            const RolloutKnobs knobs{std::move(marks), std::move(futures), discount};
            const auto shape =
                std::vector<py::ssize_t>{static_cast<py::ssize_t>(n), static_cast<py::ssize_t>(knobs.futures.size()),
                                         static_cast<py::ssize_t>(n_marks)};
            F32 paid(shape), ahead(shape);
            float* const paid_out = paid.mutable_data();
            float* const ahead_out = ahead.mutable_data();
            {
                const std::int64_t* const chosen = candidates.data();
                const py::gil_scoped_release release;
                for (std::size_t i = 0; i < n; ++i)
                    for (std::size_t f = 0; f < knobs.futures.size(); ++f) {
                        const std::size_t at = (i * knobs.futures.size() + f) * n_marks;
                        roll_out(from, static_cast<std::size_t>(chosen[i]), knobs.futures[f], knobs,
                                 {paid_out + at, n_marks}, {ahead_out + at, n_marks});
                    }
            }
            return py::make_tuple(paid, ahead);
        },
        py::arg("batch"), py::arg("environment"), py::arg("candidates"), py::arg("marks"), py::arg("futures"),
        py::arg("discount") = 1.0F,
        "What each candidate leads to if the rules go on: costs paid until each mark, and what is then expected an\n"
        "hour, both (n_candidates, n_futures, n_marks) in the unit of rewards. The environment is left as it is.");
}

} // namespace foreshade::bindings
