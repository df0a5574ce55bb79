// Half precision (IEEE 754 binary16), for what is shown to learners: rounded to nearest, ties to even.
#pragma once

#include <cstddef>
#include <cstdint>

namespace foreshade {

struct Half {
    std::uint16_t bits;
};

Half half_of(float x);

// Of `n` numbers; in one instruction for eight where the machine has it, with the same results.
void copy_as(const float* from, std::size_t n, Half* to);
void copy_as(const float* from, std::size_t n, float* to);

} // namespace foreshade
