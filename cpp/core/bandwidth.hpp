// The yardstick of the benchmarks: what this machine's memory gives one core right now.
#pragma once

#include <cstddef>

namespace foreshade {

// Bytes per second of CPU time of a[i] = b[i] + s * c[i] over arrays of `n` doubles each (STREAM's triad, McCalpin
// 1995: 24 bytes an element, write-allocation not counted); best of `repeats`.
double triad_bytes_per_s(std::size_t n, int repeats);

} // namespace foreshade
