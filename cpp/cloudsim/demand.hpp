// What every VM asks for at any time of the day, interpolated between five-minute samples.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace foreshade::cloudsim {

class Demand {
  public:
    // `percent` is row-major (n_vms, 288), whole percent of the VM's own rating. Throws InputError.
    Demand(std::span<const std::int32_t> percent, std::size_t n_vms);

    // Utilisation of every VM at `time_s`, which is never a multiple of 300.
    void at(double time_s, std::span<double> utilisation) const;

    std::size_t n_vms() const { return n_vms_; }

  private:
    std::size_t n_vms_;
    std::vector<double> sample_; // (288, n_vms) fraction
    std::vector<double> slope_;  // (288, n_vms) change per second until the next sample; the last row is 0
};

} // namespace foreshade::cloudsim
