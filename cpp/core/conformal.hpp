// Rank p-values of a series' own scores, from a histogram of a fixed size.
//
// A score is any number >= 0 that grows with strangeness. Its p-value is the share of earlier scores at least
// as large (Vovk, Gammerman & Shafer, Algorithmic Learning in a Random World, 2005), so series of any unit and
// shape share one threshold. A rank alone cannot fall below 1/(n+1): beyond what was seen, the largest scores'
// mean excess in the logarithm (Hill, Ann. Statist. 3(5), 1975) continues the tail.
#pragma once

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>

namespace foreshade {

inline constexpr std::size_t kRankBins = 64;

// Log-spaced bins over a range of powers of two, told from the bits of the float: no libm, so the same
// everywhere. `fraction_bits` = 2 gives four bins to the octave, 4 gives sixteen.
struct RankScale {
    int least_exponent;
    int fraction_bits;

    std::size_t bin(float score) const noexcept {
        const int shift = std::numeric_limits<float>::digits - 1 - fraction_bits;
        const int first = (least_exponent + std::numeric_limits<float>::max_exponent - 1) << fraction_bits;
        const int position = static_cast<int>(std::bit_cast<std::uint32_t>(score) >> shift) - first;
        return static_cast<std::size_t>(std::clamp(position, 0, static_cast<int>(kRankBins) - 1));
    }
};

inline constexpr RankScale kResidualScale{-5, 2}; // 0.03 to 2,048 times the usual deviation
inline constexpr RankScale kSurpriseScale{1, 4};  // 2 to 32 decades of p, summed over views

struct RankCounts {
    std::span<std::uint16_t, kRankBins> bins;

    // Counts one score among `total` and gives the new total. Halves every count when one is full: old scores fade.
    std::uint32_t add(std::size_t bin, std::uint32_t total) noexcept {
        if (bins[bin] == std::numeric_limits<std::uint16_t>::max()) {
            total = 0;
            for (std::uint16_t& count : bins) total += count = static_cast<std::uint16_t>(count / 2);
        }
        ++bins[bin];
        return total + 1;
    }

    // -log10 p of a score in `bin` among `total` earlier ones; half of its own bin counts as larger.
    double surprise(std::size_t bin, std::uint32_t total) const noexcept {
        std::uint32_t above = 0;
        for (std::size_t i = bin + 1; i < kRankBins; ++i) above += bins[i];
        const double n = total;
        double p = (above + 0.5 * bins[bin] + 0.5) / (n + 1.0);
        if (above + bins[bin] <= 1) p = std::min(p, tail(bin, n));
        return -std::log10(p);
    }

  private:
    double tail(std::size_t bin, double n) const noexcept {
        const double wanted = std::max(5.0, 0.01 * n);
        double seen = 0.0;
        double weighted = 0.0;
        std::size_t lowest = kRankBins;
        while (lowest > 0 && seen + bins[lowest - 1] <= wanted) {
            --lowest;
            seen += bins[lowest];
            weighted += static_cast<double>(bins[lowest]) * static_cast<double>(lowest);
        }
        // The scores may lie in so few bins that the topmost one is already too many: then nothing is known of
        // the tail, and one bin's width stands for it.
        if (seen == 0.0) {
            seen = 1.0;
            weighted = static_cast<double>(lowest);
        }
        const double excess = 1.0 + std::max(weighted / seen - static_cast<double>(lowest), 0.0);
        const double beyond = static_cast<double>(bin) - static_cast<double>(lowest) + 0.5;
        return std::max(seen / n * std::exp(-std::max(beyond, 0.0) / excess), 1e-12);
    }
};

} // namespace foreshade
