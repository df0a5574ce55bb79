// Where the VMs stand when the day begins.
#pragma once

#include <cstddef>
#include <cstdint>

#include "cloudsim/cluster.hpp"

namespace foreshade::cloudsim {

enum class Placement : std::uint8_t {
    first_fit,   // NPA and DVFS
    power_aware, // best fit by rise of power, the others
};

// Puts every VM, in index order and at its full rating, on a host. Throws InputError where one fits nowhere.
void place_all(Cluster& cluster, Placement rule);

} // namespace foreshade::cloudsim
