// Two VMs' resources in one register, where the machine has AVX2: the same operations on every number in the same order
// as with one, so that the same bits come out.
//
// A loop is written once, over a type of lanes, and made for both: for Vec8 within a function of its own that may use
// AVX2 (FORESHADE_AVX2), called where wide_lanes() says so.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "core/resources.hpp"

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wpsabi" // all of this is inlined: no register is passed to anybody

#if defined(__x86_64__) && defined(__GNUC__)
#define FORESHADE_AVX2 [[gnu::target("avx2")]]
#else
#define FORESHADE_AVX2
#endif
#define FORESHADE_INLINE [[gnu::always_inline]] inline

// Before the definition of a hot function: it is made once more with AVX2's instructions, which the loader takes where
// the machine has them. The operations and their order are the source's in both. Not every libc's loader can choose,
// and sanitizers have not begun yet when it does.
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && defined(__GLIBC__) &&                           \
    !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define FORESHADE_CLONES [[gnu::target_clones("avx2", "default")]]
#else
#define FORESHADE_CLONES
#endif

namespace foreshade {

using Vec8 = float __attribute__((vector_size(32)));
using Int8 = std::int32_t __attribute__((vector_size(32)));

// Whether loops run over Vec8. FORESHADE_LANES=4 in the environment keeps them narrow, to compare.
bool wide_lanes();

template <class V> inline constexpr std::size_t kVmsOf = sizeof(V) == sizeof(Vec4) ? 1 : 2;

FORESHADE_INLINE Vec8 pair_of(Vec4 low, Vec4 high) {
    return __builtin_shufflevector(low, high, 0, 1, 2, 3, 4, 5, 6, 7);
}
FORESHADE_INLINE Vec4 low_of(Vec8 v) {
    return __builtin_shufflevector(v, v, 0, 1, 2, 3);
}
FORESHADE_INLINE Vec4 high_of(Vec8 v) {
    return __builtin_shufflevector(v, v, 4, 5, 6, 7);
}

template <class V> FORESHADE_INLINE V splat(float x) {
    if constexpr (kVmsOf<V> == 1)
        return Vec4{x, x, x, x};
    else
        return Vec8{x, x, x, x, x, x, x, x};
}

// The same for every VM.
template <class V> FORESHADE_INLINE V each(Vec4 x) {
    if constexpr (kVmsOf<V> == 1)
        return x;
    else
        return pair_of(x, x);
}

// Of VMs whose numbers lie `stride` floats apart.
template <class V> FORESHADE_INLINE V load_of(const float* p, std::size_t stride = kDense) {
    if constexpr (kVmsOf<V> == 1) {
        return load4(p);
    } else if (stride == kDense) {
        Vec8 v;
        std::memcpy(&v, p, sizeof(v));
        return v;
    } else {
        return pair_of(load4(p), load4(p + stride));
    }
}

template <class V> FORESHADE_INLINE void store_of(float* p, V v, std::size_t stride = kDense) {
    if (kVmsOf<V> == 1 || stride == kDense) {
        std::memcpy(p, &v, sizeof(v));
    } else if constexpr (kVmsOf<V> == 2) {
        const Vec4 low = low_of(v), high = high_of(v);
        std::memcpy(p, &low, sizeof(low));
        std::memcpy(p + stride, &high, sizeof(high));
    }
}

FORESHADE_INLINE Vec4 least(Vec4 a, Vec4 b) {
    return min4(a, b);
}
FORESHADE_INLINE Vec8 least(Vec8 a, Vec8 b) {
    return a < b ? a : b;
}
FORESHADE_INLINE Vec4 most(Vec4 a, Vec4 b) {
    return max4(a, b);
}
FORESHADE_INLINE Vec8 most(Vec8 a, Vec8 b) {
    return a > b ? a : b;
}

} // namespace foreshade

#pragma GCC diagnostic pop
