#include "core/half.hpp"

#include <bit>
#include <cstring>

#include "core/wide.hpp"

#pragma GCC diagnostic ignored "-Wpsabi" // as in wide.hpp

namespace foreshade {

Half half_of(float x) {
    constexpr std::uint32_t kSmallest = 0x38800000, kTooLarge = 0x47800000, kInfinity = 0x7F800000; // 2^-14, 2^16
    const auto bits = std::bit_cast<std::uint32_t>(x);
    const auto sign = static_cast<std::uint16_t>(bits >> 16U & 0x8000U);
    std::uint32_t size = bits & 0x7FFFFFFFU;
    const auto with_sign = [&](std::uint32_t half) { return Half{static_cast<std::uint16_t>(sign | half)}; };
    if (size >= kTooLarge) return with_sign(size > kInfinity ? 0x7E00U : 0x7C00U);
    if (size < kSmallest) { // next to 0.5 single precision has the steps of the smallest halves
        const float shifted = std::bit_cast<float>(size) + 0.5F;
        return with_sign(std::bit_cast<std::uint32_t>(shifted) - std::bit_cast<std::uint32_t>(0.5F));
    }
    size += 0xFFFU + (size >> 13U & 1U);
    return with_sign((size - 0x38000000U) >> 13U);
}

namespace {

void narrow(const float* from, std::size_t n, Half* to) {
    for (std::size_t i = 0; i < n; ++i) to[i] = half_of(from[i]);
}

#if defined(__x86_64__) && defined(__GNUC__)
[[gnu::target("avx,f16c")]] void wide(const float* from, std::size_t n, Half* to) {
    std::size_t i = 0;
    for (; i + 8 <= n; i += 8) {
        Vec8 eight;
        std::memcpy(&eight, from + i, sizeof(eight));
        const auto halves = __builtin_ia32_vcvtps2ph256(eight, 0);
        std::memcpy(&to[i].bits, &halves, sizeof(halves));
    }
    for (; i < n; ++i) to[i] = half_of(from[i]);
}
#else
constexpr auto wide = narrow;
#endif

bool has_f16c() {
#if defined(__x86_64__) && defined(__GNUC__)
    static const bool has = __builtin_cpu_supports("f16c") != 0;
    return has;
#else
    return false;
#endif
}

} // namespace

void copy_as(const float* from, std::size_t n, Half* to) {
    if (wide_lanes() && has_f16c())
        wide(from, n, to);
    else
        narrow(from, n, to);
}

void copy_as(const float* from, std::size_t n, float* to) {
    std::memcpy(to, from, n * sizeof(float));
}

} // namespace foreshade
