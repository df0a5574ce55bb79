#include "cloudsim/demand.hpp"

#include <string>

#include "cloudsim/errors.hpp"
#include "cloudsim/machine.hpp"

namespace foreshade::cloudsim {

Demand::Demand(std::span<const std::int32_t> percent, std::size_t n_vms)
    : n_vms_(n_vms), sample_(kSamples * n_vms), slope_(kSamples * n_vms, 0.0) {
    if (n_vms == 0) throw InputError("percent matrix: expected at least one VM, got none");
    if (percent.size() != n_vms * kSamples)
        throw InputError("percent matrix: expected " + std::to_string(kSamples) + " samples per VM, got " +
                         std::to_string(percent.size()) + " values for " + std::to_string(n_vms) + " VMs");
    for (std::size_t vm = 0; vm < n_vms; ++vm) {
        for (std::size_t k = 0; k < kSamples; ++k) {
            const std::int32_t value = percent[vm * kSamples + k];
            if (value < 0 || value > 100)
                throw InputError("percent matrix: VM " + std::to_string(vm) + ", sample " + std::to_string(k) +
                                 ": expected 0 to 100, got " + std::to_string(value));
            sample_[k * n_vms + vm] = value / 100.0;
        }
    }
    for (std::size_t i = 0; i < (kSamples - 1) * n_vms; ++i) slope_[i] = (sample_[i + n_vms] - sample_[i]) / kStepS;
}

void Demand::at(double time_s, std::span<double> utilisation) const {
    const auto left = static_cast<std::size_t>(time_s / kStepS);
    const double since = time_s - static_cast<double>(left) * kStepS;
    const double* const sample = sample_.data() + left * n_vms_;
    const double* const slope = slope_.data() + left * n_vms_;
    double* const out = utilisation.data();
    for (std::size_t vm = 0; vm < n_vms_; ++vm) out[vm] = sample[vm] + slope[vm] * since;
}

} // namespace foreshade::cloudsim
