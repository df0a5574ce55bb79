// The five resources, and a vector of the four that every VM uses.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace foreshade {

// Order and units of every (n, 5) array in the product.
enum class Resource : std::uint8_t {
    cpu,     // MHz
    memory,  // MiB
    disk,    // MiB/s, read + write
    network, // Mbit/s, received + sent
    gpu,     // GPUs, fractions allowed
};

inline constexpr std::size_t kResources = 5;
inline constexpr std::size_t kDense = 4; // without gpu, which few VMs have

using Amounts = std::array<float, kResources>;

} // namespace foreshade
