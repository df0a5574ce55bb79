// Four floats side by side. The loops over a row are short, and compilers unroll short loops before they think of
// vectors; GCC's and Clang's vector type says what is meant, needs no instruction set beyond the baseline of each
// processor and gives the same bits as the loop would.
#pragma once

#include <bit>
#include <cstdint>
#include <cstring>

namespace foreshade::forecast {

using Lanes = float __attribute__((vector_size(16)));
using Words = std::int32_t __attribute__((vector_size(16)));
inline constexpr std::size_t kLanes = 4;

inline Lanes lanes_at(const float* from) {
    Lanes out;
    std::memcpy(&out, from, sizeof out);
    return out;
}

inline void store(float* to, Lanes values) {
    std::memcpy(to, &values, sizeof values);
}

inline Lanes all_lanes(float value) {
    return Lanes{value, value, value, value};
}

inline Lanes lesser(Lanes a, Lanes b) {
    return a < b ? a : b;
}

inline Lanes greater(Lanes a, Lanes b) {
    return a > b ? a : b;
}

inline float sum_of(Lanes v) {
    return (v[0] + v[1]) + (v[2] + v[3]);
}

// e^x for x <= 0 to 3e-7 relative.
inline Lanes exp_negative(Lanes x) {
    const Lanes octaves = greater(x, all_lanes(-80.0F)) * 1.44269504F;
    const Words whole = __builtin_convertvector(octaves - 0.5F, Words); // towards zero, that is to the nearest
    const Lanes f = octaves - __builtin_convertvector(whole, Lanes);
    const Lanes power =
        1.0F +
        f * (0.693147182F + f * (0.240226462F + f * (0.0555032924F + f * (0.00961834099F + f * 0.00133981468F))));
    return power * std::bit_cast<Lanes>((whole + 127) << 23);
}

inline float exp_negative(float x) {
    return exp_negative(all_lanes(x))[0];
}

// 1 / sqrt(x) for x > 0 to 5e-6 relative.
inline Lanes inverse_root(Lanes x) {
    Lanes root = std::bit_cast<Lanes>(0x5f3759df - (std::bit_cast<Words>(x) >> 1));
    root *= 1.5F - 0.5F * x * root * root;
    root *= 1.5F - 0.5F * x * root * root;
    return root;
}

} // namespace foreshade::forecast
