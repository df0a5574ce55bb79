// The two kinds of host and four kinds of VM of the benchmark.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "cloudsim/power.hpp"

namespace foreshade::cloudsim {

struct HostModel {
    double pe_mips;  // one of its two processing elements; a VM has one PE
    double capacity; // MIPS, both PEs
    PowerCurve power;
};

struct VmType {
    double mips;   // its rating
    double ram_mb; // also sets how long it is copied
};

// SPECpower_ssj2008 results of HP ProLiant ML110 G4 and G5, W at 0, 10 .. 100 %.
inline constexpr std::array<HostModel, 2> kHostModels{{
    {1860.0, 3720.0, PowerCurve({86, 89.4, 92.6, 96, 99.5, 102, 106, 108, 112, 114, 117})},
    {2660.0, 5320.0, PowerCurve({93.7, 97, 101, 105, 110, 116, 121, 125, 129, 133, 135})},
}};

inline constexpr std::array<VmType, 4> kVmTypes{{{2500, 870}, {2000, 1740}, {1000, 1740}, {500, 613}}};

inline constexpr double kHostRamMb = 4096;
inline constexpr double kHostBandwidthKbps = 1'000'000;
inline constexpr double kVmBandwidthKbps = 100'000;

// Half of a host's bandwidth carries the copy: RAM / 62.5 s.
inline constexpr double kCopyMbPerS = 62.5;

inline constexpr double kStepS = 300;
inline constexpr std::size_t kSamples = 288; // a day of five-minute samples
inline constexpr std::size_t kSteps = 287;   // control steps: 300.1, 600.1 .. 86,100.1

// Hosts alternate between the models.
constexpr std::size_t model_of(std::size_t host) {
    return host % kHostModels.size();
}

} // namespace foreshade::cloudsim
