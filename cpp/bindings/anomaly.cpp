#include "core/anomaly.hpp"

#include <pybind11/native_enum.h>
#include <pybind11/stl.h>

#include "bindings/views.hpp"
#include "core/joint_anomaly.hpp"

namespace foreshade::bindings {

namespace {

using F64 = py::array_t<double, py::array::c_style>;

std::span<const double> cells(const F64& array) {
    return {array.data(), static_cast<std::size_t>(array.size())};
}

// Many samples at once: (n_steps, width) values at (n_steps,) times, the answers as (n_steps, n) arrays.
template <class Bank> py::tuple run(Bank& bank, std::size_t n, const F64& time_s, const F64& values) {
    const auto steps = static_cast<std::size_t>(time_s.size());
    const std::size_t width = steps > 0 ? static_cast<std::size_t>(values.size()) / steps : 0;
    if (time_s.ndim() != 1 || width * steps != static_cast<std::size_t>(values.size()))
        throw std::invalid_argument("anomaly run: expected times (n_steps,) and values (n_steps, ...), got " +
                                    std::to_string(steps) + " times and " + std::to_string(values.size()) + " values");
    const std::vector<py::ssize_t> shape{static_cast<py::ssize_t>(steps), static_cast<py::ssize_t>(n)};
    py::array_t<float> surprise(shape);
    py::array_t<std::uint8_t> label(shape);
    py::array_t<std::uint8_t> alarm(shape);
    float* out_surprise = surprise.mutable_data();
    std::uint8_t* out_label = label.mutable_data();
    std::uint8_t* out_alarm = alarm.mutable_data();
    const std::span<const double> times = cells(time_s);
    const std::span<const double> all = cells(values);
    {
        const py::gil_scoped_release release;
        for (std::size_t t = 0; t < steps; ++t) {
            bank.observe(times.subspan(t, 1), all.subspan(t * width, width));
            const AnomalyColumns& now = bank.columns();
            for (std::size_t s = 0; s < n; ++s) {
                out_surprise[t * n + s] = now.surprise[s];
                out_label[t * n + s] = static_cast<std::uint8_t>(now.label[s]);
                out_alarm[t * n + s] = now.alarm[s];
            }
        }
    }
    return py::make_tuple(surprise, label, alarm);
}

template <class Bank, class Class> void columns(Class& cls) {
    const auto add = [&cls](const char* name, auto member) {
        cls.def_property_readonly(
            name, [member](const py::object& self) { return view(self.cast<const Bank&>().columns().*member, self); });
    };
    add("surprise", &AnomalyColumns::surprise);
    add("deviation", &AnomalyColumns::deviation);
    add("since_s", &AnomalyColumns::since_s);
    add("label", &AnomalyColumns::label);
    add("alarm", &AnomalyColumns::alarm);
    add("gaps", &AnomalyColumns::gaps);
    add("stale", &AnomalyColumns::stale);
    cls.def(
        "observe",
        [](Bank& self, const F64& time_s, const F64& values) {
            const auto times = cells(time_s);
            const auto all = cells(values);
            const py::gil_scoped_release release;
            self.observe(times, all);
        },
        py::arg("time_s").noconvert(), py::arg("values").noconvert());
    cls.def("forget", &Bank::forget);
    cls.def("save", [](const Bank& self) {
        const std::vector<std::byte> state = self.save();
        return py::bytes(reinterpret_cast<const char*>(state.data()), state.size());
    });
    cls.def(
        "restore",
        [](Bank& self, const py::bytes& state) {
            const std::string_view bytes = state;
            self.restore(std::as_bytes(std::span(bytes)));
        },
        py::arg("state"));
}

void register_options(const py::module_& module) {
    py::class_<EpisodeOptions>(module, "EpisodeOptions")
        .def(py::init<>())
        .def_readwrite("alarm_surprise", &EpisodeOptions::alarm_surprise)
        .def_readwrite("clear_surprise", &EpisodeOptions::clear_surprise)
        .def_readwrite("clear_steps", &EpisodeOptions::clear_steps)
        .def_readwrite("refractory_steps", &EpisodeOptions::refractory_steps)
        .def_readwrite("accept_steps", &EpisodeOptions::accept_steps)
        .def_readwrite("escalation", &EpisodeOptions::escalation)
        .def_readwrite("ranked_steps", &EpisodeOptions::ranked_steps);
    py::class_<AnomalyOptions>(module, "AnomalyOptions")
        .def(py::init<>())
        .def_readwrite("slow_steps", &AnomalyOptions::slow_steps)
        .def_readwrite("spans", &AnomalyOptions::spans)
        .def_readwrite("warmup_steps", &AnomalyOptions::warmup_steps)
        .def_readwrite("season_s", &AnomalyOptions::season_s)
        .def_readwrite("slots", &AnomalyOptions::slots)
        .def_readwrite("profile_weight", &AnomalyOptions::profile_weight)
        .def_readwrite("stuck_steps", &AnomalyOptions::stuck_steps)
        .def_readwrite("stuck_surprise", &AnomalyOptions::stuck_surprise)
        .def_readwrite("missing_steps", &AnomalyOptions::missing_steps)
        .def_readwrite("away_deviation", &AnomalyOptions::away_deviation)
        .def_readwrite("episode", &AnomalyOptions::episode);
    py::class_<JointOptions>(module, "JointOptions")
        .def(py::init<>())
        .def_readwrite("slow_steps", &JointOptions::slow_steps)
        .def_readwrite("scale_floor", &JointOptions::scale_floor)
        .def_readwrite("ridge", &JointOptions::ridge)
        .def_readwrite("smooth_steps", &JointOptions::smooth_steps)
        .def_readwrite("power", &JointOptions::power)
        .def_readwrite("warmup_steps", &JointOptions::warmup_steps)
        .def_readwrite("refit_steps", &JointOptions::refit_steps)
        .def_readwrite("missing_steps", &JointOptions::missing_steps)
        .def_readwrite("episode", &JointOptions::episode);
}

} // namespace

void register_anomaly(const py::module_& module) {
    py::native_enum<AnomalyLabel>(module, "AnomalyLabel", "enum.IntEnum", "How a series deviates.")
        .value("NORMAL", AnomalyLabel::normal)
        .value("SURGE", AnomalyLabel::surge)
        .value("DROP", AnomalyLabel::drop)
        .value("STUCK", AnomalyLabel::stuck)
        .value("MISSING", AnomalyLabel::missing)
        .finalize();
    register_options(module);
    py::class_<AnomalyBank> bank(module, "AnomalyBank", "Online anomaly detectors of many series, side by side.");
    bank.def(py::init<std::size_t, const AnomalyOptions&>(), py::arg("n_series"), py::arg("options"));
    bank.def_property_readonly("n_series", &AnomalyBank::n_series);
    columns<AnomalyBank>(bank);
    bank.def(
        "run",
        [](AnomalyBank& self, const F64& time_s, const F64& values) {
            return run(self, self.n_series(), time_s, values);
        },
        py::arg("time_s").noconvert(), py::arg("values").noconvert());

    py::class_<JointBank> joint(module, "JointBank", "Joint detectors over the metrics of many machines.");
    joint.def(py::init<std::size_t, std::size_t, const JointOptions&>(), py::arg("n_machines"), py::arg("n_metrics"),
              py::arg("options"));
    joint.def_property_readonly("n_machines", &JointBank::n_machines);
    joint.def_property_readonly("n_metrics", &JointBank::n_metrics);
    columns<JointBank>(joint);
    joint.def_property_readonly("contribution", [](const py::object& self) {
        const auto& typed = self.cast<const JointBank&>();
        return view(typed.contribution(), self, typed.n_metrics());
    });
    joint.def(
        "run",
        [](JointBank& self, const F64& time_s, const F64& values) {
            return run(self, self.n_machines(), time_s, values);
        },
        py::arg("time_s").noconvert(), py::arg("values").noconvert());
}

} // namespace foreshade::bindings
