// VMs of one application serve one load: what they want rises and falls together.
//
// With r the correlation between two of them, a host's variance is the sum of its VMs' own and of 2 r s s' for every
// pair of one application: so a VM adds more where its kin stand, and saves more where it leaves them.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "core/expected_cost.hpp"

namespace foreshade {

class Kin {
  public:
    // Nobody stands anywhere yet. `app` (n_vms,), -1 = of none; `loads` (n_vms,) is read as long as this is used.
    // Without a correlation there is nothing to keep, and nothing else may be called.
    void begin(std::span<const std::int32_t> app, std::span<const Load> loads, float correlation);

    explicit operator bool() const { return correlation_ > 0.0F; }

    void add(std::size_t v, std::size_t host) { change(v, host, 1.0F); }
    void remove(std::size_t v, std::size_t host) { change(v, host, -1.0F); }

    // Whether others of its application stand there.
    bool beside(std::size_t v, std::size_t host) const;
    // What the VM adds to a host where it does not stand, what it takes along from one where it does.
    Load coming(std::size_t v, std::size_t host) const;
    Load leaving(std::size_t v, std::size_t host) const;

  private:
    struct Stand { // the VMs of an application on a host
        std::int32_t host;
        std::int32_t vms;
        std::array<float, kDense> sigma; // sums
    };
    void change(std::size_t v, std::size_t host, float sign);
    const Stand* find(std::size_t v, std::size_t host) const;
    float sigma(std::size_t v, std::size_t r) const { return sigma_[v * kDense + r]; }

    float correlation_ = 0.0F;
    std::span<const Load> loads_;
    std::vector<std::int32_t> app_;          // (n_vms,) -1 = alone in its application
    std::vector<float> sigma_;               // (n_vms, 4)
    std::vector<std::vector<Stand>> stands_; // (n_apps,)
    std::vector<std::int32_t> members_;      // (n_apps,)
};

} // namespace foreshade
