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
    void at(double time_s, std::span<double> utilisation);

  private:
    static constexpr std::size_t kNoInterval = static_cast<std::size_t>(-1);

    void enter(std::size_t interval);

    std::size_t n_vms_;
    std::size_t interval_ = kNoInterval;
    std::vector<std::uint8_t> percent_; // (288, n_vms)
    std::vector<double> start_;         // (n_vms,) fraction at the interval's start
    std::vector<double> slope_;         // (n_vms,) change per second within the interval
};

} // namespace foreshade::cloudsim
