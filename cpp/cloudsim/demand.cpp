#include "cloudsim/demand.hpp"

#include <algorithm>
#include <string>

#include "cloudsim/errors.hpp"
#include "cloudsim/machine.hpp"

namespace foreshade::cloudsim {

Demand::Demand(std::span<const std::int32_t> percent, std::size_t n_vms)
    : n_vms_(n_vms), percent_(kSamples * n_vms), start_(n_vms), slope_(n_vms) {
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
            percent_[k * n_vms + vm] = static_cast<std::uint8_t>(value);
        }
    }
}

void Demand::at(double time_s, std::span<double> utilisation) {
    const auto interval = static_cast<std::size_t>(time_s / kStepS);
    if (interval != interval_) enter(interval);
    const double since = time_s - static_cast<double>(interval) * kStepS;
    const double* const start = start_.data();
    const double* const slope = slope_.data();
    double* const out = utilisation.data();
    for (std::size_t vm = 0; vm < n_vms_; ++vm) out[vm] = start[vm] + slope[vm] * since;
}

// The day's last sample stays until midnight.
void Demand::enter(std::size_t interval) {
    interval_ = interval;
    const std::uint8_t* const left = percent_.data() + interval * n_vms_;
    const std::uint8_t* const right = percent_.data() + std::min(interval + 1, kSamples - 1) * n_vms_;
    double* const start = start_.data();
    double* const slope = slope_.data();
    for (std::size_t vm = 0; vm < n_vms_; ++vm) {
        const double from = left[vm] / 100.0;
        const double to = right[vm] / 100.0;
        start[vm] = from;
        slope[vm] = (to - from) / kStepS;
    }
}

} // namespace foreshade::cloudsim
