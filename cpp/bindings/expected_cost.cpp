#include "core/expected_cost.hpp"

#include <pybind11/stl.h>

#include <memory>
#include <stdexcept>
#include <string>

#include "bindings/register.hpp"

namespace foreshade::bindings {

namespace {

using F32 = py::array_t<float, py::array::c_style>;
using I32 = py::array_t<std::int32_t, py::array::c_style>;

std::span<const float> floats(const F32& array, std::size_t size, const char* name) {
    if (static_cast<std::size_t>(array.size()) != size)
        throw std::invalid_argument(std::string(name) + ": expected " + std::to_string(size) + " numbers, got " +
                                    std::to_string(array.size()));
    return {array.data(), size};
}

Load load_of(std::span<const float> mean, std::span<const float> variance, float credit, std::size_t i) {
    Load load;
    for (std::size_t r = 0; r < kDense; ++r) {
        load.mean[r] = mean[i * kResources + r];
        load.variance[r] = variance[i * kResources + r];
    }
    load.credit = credit;
    return load;
}

// The model with the memory that a call works in: arrays of the same length are scored without allocation.
class Scorer {
  public:
    explicit Scorer(std::shared_ptr<ExpectedCost> cost) : cost_(std::move(cost)) {
        std::vector<std::int32_t> all(cost_->n_hosts());
        for (std::size_t h = 0; h < all.size(); ++h) all[h] = static_cast<std::int32_t>(h);
        cost_->select(all, set_);
        usd_h_.resize(padded(all.size()));
    }

    void hosts(const F32& mean, const F32& variance, const F32& credit, F32& out) {
        const std::size_t n = cost_->n_hosts();
        bear(mean, variance, credit);
        (void)floats(out, n, "out");
        cost_->of_set(set_, usd_h_);
        std::copy_n(usd_h_.begin(), n, out.mutable_data());
    }

    void moves(const F32& mean, const F32& variance, const F32& credit, const F32& vm_mean, const F32& vm_variance,
               const F32& vm_credit, const I32& vm_host, F32& out) {
        const auto n_vms = static_cast<std::size_t>(vm_host.size());
        bear(mean, variance, credit);
        const auto means = floats(vm_mean, n_vms * kResources, "vm_mean");
        const auto variances = floats(vm_variance, n_vms * kResources, "vm_variance");
        const auto credits = floats(vm_credit, n_vms, "vm_credit");
        (void)floats(out, n_vms * cost_->n_hosts(), "out");
        loads_.resize(n_vms);
        for (std::size_t v = 0; v < n_vms; ++v) {
            loads_[v] = load_of(means, variances, credits[v] * means[v * kResources], v);
            if (vm_host.data()[v] >= static_cast<std::int32_t>(cost_->n_hosts()))
                throw std::invalid_argument("vm_host: no such host: " + std::to_string(vm_host.data()[v]));
        }
        const std::span<float> rows(out.mutable_data(), n_vms * cost_->n_hosts());
        const std::span<const std::int32_t> source(vm_host.data(), n_vms);
        const py::gil_scoped_release unlocked;
        cost_->moves(set_, loads_, source, rows, scratch_);
    }

    const std::shared_ptr<ExpectedCost>& cost() const { return cost_; }

  private:
    void bear(const F32& mean, const F32& variance, const F32& credit) {
        const std::size_t n = cost_->n_hosts();
        const auto means = floats(mean, n * kResources, "mean");
        const auto variances = floats(variance, n * kResources, "variance");
        const auto credits = floats(credit, n, "credit");
        set_.clear_loads();
        for (std::size_t h = 0; h < n; ++h) set_.add(h, load_of(means, variances, credits[h], h));
    }

    std::shared_ptr<ExpectedCost> cost_;
    HostSet set_;
    std::vector<Load> loads_;
    std::vector<float> usd_h_, scratch_;
};

} // namespace

void register_expected_cost(py::module_& module) {
    module.def("expected_excess", &expected_excess, py::arg("excess"), py::arg("sigma"),
               "E(D - C)^+ of a normal D, from E(D) - C and its standard deviation.");
    py::class_<CostPrices>(module, "CostPrices")
        .def(py::init<>())
        .def_readwrite("unmet_usd_h", &CostPrices::unmet_usd_h)
        .def_readwrite("late_usd_mhz_h", &CostPrices::late_usd_mhz_h)
        .def_readwrite("slo_stretch", &CostPrices::slo_stretch)
        .def_readwrite("swap_factor", &CostPrices::swap_factor)
        .def_readwrite("sigma_scale", &CostPrices::sigma_scale);
    py::class_<Scorer>(module, "ExpectedCost")
        .def(py::init([](const CostPrices& prices, const F32& capacity, const F32& vm_overhead, const F32& power_w,
                         const I32& cores) {
                 const auto n = static_cast<std::size_t>(cores.size());
                 const CostHosts hosts{floats(capacity, n * kResources, "capacity"),
                                       floats(vm_overhead, n * kResources, "vm_overhead"),
                                       floats(power_w, n * 11, "power_w"),
                                       {cores.data(), n}};
                 return std::make_unique<Scorer>(std::make_shared<ExpectedCost>(prices, hosts));
             }),
             py::arg("prices"), py::arg("capacity"), py::arg("vm_overhead"), py::arg("power_w"), py::arg("cores"))
        .def("set_energy_price", [](Scorer& self, float usd_kwh) { self.cost()->set_energy_price(usd_kwh); })
        .def("power_w",
             [](const Scorer& self, std::size_t host, float share) {
                 if (host >= self.cost()->n_hosts()) throw std::invalid_argument("power_w: no such host");
                 return self.cost()->power_w(host, share);
             })
        .def("hosts", &Scorer::hosts, py::arg("mean"), py::arg("variance"), py::arg("credit"),
             py::arg("out").noconvert())
        .def("moves", &Scorer::moves, py::arg("mean"), py::arg("variance"), py::arg("credit"), py::arg("vm_mean"),
             py::arg("vm_variance"), py::arg("vm_credit"), py::arg("vm_host"), py::arg("out").noconvert())
        .def_property_readonly("n_hosts", [](const Scorer& self) { return self.cost()->n_hosts(); });
}

} // namespace foreshade::bindings
