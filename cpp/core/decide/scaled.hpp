// Small steps that the files of the proposer share: indices, kinds of actions, numbers brought into the range of
// features.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <span>

#include "core/action.hpp"
#include "core/cluster_state.hpp"
#include "core/spec.hpp"

namespace foreshade {

inline constexpr float kDaySeconds = 86'400.0F;
inline constexpr float kLargest = 10.0F; // of every feature

inline std::size_t at(std::int32_t i) {
    return static_cast<std::size_t>(i);
}

inline bool serving(VmState state) {
    return state == VmState::running || state == VmState::migrating;
}

inline bool has_load(VmState state) { // serves, or will once it has booted
    return serving(state) || state == VmState::booting;
}

// How many VMs are in a state, or of a kind; sixteen are counted at a time.
template <class Said> std::size_t count_of(std::span<const Said> states, Said state) {
    constexpr std::size_t kBlock = 240; // a byte holds as many
    std::size_t sum = 0;
    for (std::size_t first = 0; first < states.size(); first += kBlock) {
        std::uint8_t n = 0;
        for (const Said said : states.subspan(first, std::min(kBlock, states.size() - first)))
            n = static_cast<std::uint8_t>(n + (said == state ? 1 : 0));
        sum += n;
    }
    return sum;
}

inline float clip(float x) {
    return std::isfinite(x) ? std::clamp(x, -kLargest, kLargest) : (x > 0.0F ? kLargest : -kLargest);
}

// Of what is never negative, though sums that come and go may be by a rounding.
inline float clip_share(float x) {
    return clip(std::max(0.0F, x));
}

inline float hours(float seconds) {
    return clip_share(seconds / 3600.0F);
}

// A spare that is resumed has its slot and its room already.
inline bool resumes(const Action& action) {
    return action.kind == ActionKind::spawn && action.vm < 0 && action.value == static_cast<float>(BootPath::spare);
}

inline bool makes_vm(const Action& action) {
    return action.kind == ActionKind::shadow || action.kind == ActionKind::microvm ||
           (action.kind == ActionKind::spawn && action.vm < 0 && !resumes(action));
}

} // namespace foreshade
