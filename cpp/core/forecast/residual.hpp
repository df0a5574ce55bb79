// The distribution of an expert's errors as a histogram: errors are divided by the scale known at the origin and
// counted in bins of half an octave, so one layout serves every unit and a shape can be shared between series.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <cstring>

#include "core/forecast/config.hpp"
#include "core/forecast/lanes.hpp"

namespace foreshade::forecast {

inline constexpr std::size_t kBins = 57; // 28 on each side of the bin of no error
inline constexpr std::size_t kZeroBin = 28;
inline constexpr std::size_t kBinRow = 64;
static_assert(kBins % 4 == 1);
inline constexpr std::uint16_t kCount = 16;         // one error; leaves halving four bits before it rounds away
inline constexpr std::uint32_t kBinCap = 1024 * 16; // at which old errors count half

using Histogram = std::array<std::uint16_t, kBinRow>; // [kBins] is not a bin: it holds the sum / kCount

// Bounds of the bins above zero, in scales: 2^-7 to 2^7.
inline constexpr std::array<float, 29> kEdge = [] {
    std::array<float, 29> edge{};
    float octave = 0.0078125F;
    for (std::size_t i = 0; i < 29; i += 2) {
        edge[i] = octave;
        if (i + 1 < 29) edge[i + 1] = 1.5F * octave;
        octave *= 2.0F;
    }
    return edge;
}();

inline std::size_t bin_of(float error) {
    const float size = std::fabs(error);
    if (!(size >= kEdge[0])) return kZeroBin;
    std::uint32_t bits = 0;
    std::memcpy(&bits, &size, sizeof bits);
    // exponent and first bit of the mantissa number the half octaves; 240 is that of 2^-7
    std::size_t half = (bits >> 22) - 240;
    if (half > 27) half = 27;
    return error > 0.0F ? kZeroBin + 1 + half : kZeroBin - 1 - half;
}

inline void count_error(Histogram& histogram, std::size_t bin) {
    histogram[bin] = static_cast<std::uint16_t>(histogram[bin] + kCount);
    if (++histogram[kBins] * static_cast<std::uint32_t>(kCount) < kBinCap) return;
    std::uint32_t sum = 0;
    for (std::size_t b = 0; b < kBins; ++b) {
        histogram[b] = static_cast<std::uint16_t>(histogram[b] >> 1);
        sum += histogram[b];
    }
    histogram[kBins] = static_cast<std::uint16_t>(sum / kCount);
}

// Quantiles, in scales, of the counts plus `shared` (kBinRow), which is already weighted; 0 where nothing was counted.
inline void error_quantiles(const Histogram& own, const float* shared, Row& out) {
    using Counts = std::uint16_t __attribute__((vector_size(2 * kLanes)));
    std::array<float, kBinRow> mass;
    std::array<float, kBinRow / kLanes> group; // four bins at a time are passed over
    float total = 0.0F;
    for (std::size_t g = 0; g < group.size(); ++g) {
        Counts counts;
        std::memcpy(&counts, &own[g * kLanes], sizeof counts);
        Lanes four = __builtin_convertvector(counts, Lanes) * (1.0F / kCount) + lanes_at(shared + g * kLanes);
        if (g == kBins / kLanes) four *= Lanes{1.0F, 0.0F, 0.0F, 0.0F}; // behind the last bin stands the sum
        store(&mass[g * kLanes], four);
        group[g] = sum_of(four);
        total += group[g];
    }
    out.fill(0.0F);
    if (!(total > 0.0F)) return;
    float below = 0.0F;
    std::size_t b = 0;
    for (std::size_t l = 0; l < kLevels; ++l) {
        const float wanted = kLevel[l] * total;
        while (b + 1 < kBins && below + mass[b] < wanted) {
            const bool whole = b % kLanes == 0 && b + kLanes < kBins && below + group[b / kLanes] < wanted;
            below += whole ? group[b / kLanes] : mass[b];
            b += whole ? kLanes : 1;
        }
        const float share = mass[b] > 0.0F ? std::min((wanted - below) / mass[b], 1.0F) : 0.5F;
        if (b > kZeroBin) {
            const std::size_t i = b - kZeroBin - 1;
            out[l] = kEdge[i] + share * (kEdge[i + 1] - kEdge[i]);
        } else if (b < kZeroBin) {
            const std::size_t i = kZeroBin - 1 - b;
            out[l] = -(kEdge[i] + (1.0F - share) * (kEdge[i + 1] - kEdge[i]));
        }
    }
}

} // namespace foreshade::forecast
