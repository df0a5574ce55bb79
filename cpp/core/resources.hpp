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

// Four floats in one register; the compiler maps it to whatever the machine has.
using Vec4 = float __attribute__((vector_size(16)));
using Int4 = std::int32_t __attribute__((vector_size(16))); // what comparing two of them gives

inline Vec4 load4(const float* p) {
    Vec4 v;
    __builtin_memcpy(&v, p, sizeof(v));
    return v;
}

inline Vec4 min4(Vec4 a, Vec4 b) {
#ifdef __SSE__
    return __builtin_ia32_minps(a, b);
#else
    return a < b ? a : b;
#endif
}

inline Vec4 max4(Vec4 a, Vec4 b) {
#ifdef __SSE__
    return __builtin_ia32_maxps(a, b);
#else
    return a > b ? a : b;
#endif
}

// Whether any lane of a comparison holds.
inline bool any4(Int4 flags) {
#ifdef __SSE__
    return __builtin_ia32_movmskps(reinterpret_cast<Vec4>(flags)) != 0;
#else
    return (flags[0] | flags[1] | flags[2] | flags[3]) != 0;
#endif
}

} // namespace foreshade
