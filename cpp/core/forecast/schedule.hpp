// When a series learns: from one origin in `period` steps, and series in turn, so that every step costs the same.
// The clock's share of the arithmetic is done once a step for all series; a series then only compares.
#pragma once

#include <array>
#include <cstdint>

namespace foreshade::forecast {

// Of one period at one instant.
struct Beat {
    std::uint32_t rest = 0;              // clock % period
    std::uint32_t period = 0;            // 0 = before the first instant: nothing falls on it
    std::array<std::uint32_t, 2> slot{}; // of a ring of slots, where the beat counts as the last or as the next

    Beat() = default;
    Beat(std::uint32_t clock, std::uint32_t every, std::uint32_t slots)
        : rest(clock % every), period(every), slot{clock / every % slots, (clock / every + 1) % slots} {}

    // `phase` is below the period.
    bool falls_on(std::uint32_t phase) const {
        const std::uint32_t place = rest + phase;
        return period > 0 && (place == 0 || place == period);
    }
    std::uint32_t slot_of(std::uint32_t phase) const { return slot[phase > 0 ? 1 : 0]; }
};

} // namespace foreshade::forecast
