// Counter-based random numbers: the n-th draw of a stream depends on nothing but (seed, stream, n), so neither the
// order of events nor the number of threads can change it. SplitMix64 (Steele, Lea, Flood, OOPSLA 2014).
#pragma once

#include <cmath>
#include <cstdint>

namespace foreshade {

class RandomStream {
  public:
    RandomStream() = default;
    RandomStream(std::uint64_t seed, std::uint64_t stream) : state_(mix(seed ^ mix(stream + 0x9e3779b97f4a7c15ULL))) {}

    std::uint64_t next() {
        state_ += 0x9e3779b97f4a7c15ULL;
        return mix(state_);
    }

    double uniform() { return static_cast<double>(next() >> 11) * 0x1.0p-53; } // [0, 1)

    double exponential(double mean) { return -mean * std::log1p(-uniform()); }

  private:
    static std::uint64_t mix(std::uint64_t z) {
        z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
        z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
        return z ^ (z >> 31);
    }

    std::uint64_t state_ = 0;
};

} // namespace foreshade
