// Small steps that the files of the proposer share: indices, and numbers brought into the range of features.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>

#include "core/cluster_state.hpp"

namespace foreshade {

inline constexpr float kLargest = 10.0F; // of every feature

inline std::size_t at(std::int32_t i) {
    return static_cast<std::size_t>(i);
}

inline bool serving(VmState state) {
    return state == VmState::running || state == VmState::migrating;
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

} // namespace foreshade
