// What the scenario refuses: each message is one line with what, where, expected and got.
#pragma once

#include <stdexcept>

namespace foreshade::cloudsim {

// A percent matrix, fleet or parameter that cannot be simulated.
struct InputError : std::invalid_argument {
    using std::invalid_argument::invalid_argument;
};

// A move, or a call in the wrong phase of the day; nothing was changed.
struct MoveError : std::logic_error {
    using std::logic_error::logic_error;
};

// CloudSim ends here: a host that is full but for rounding was found fit, and its power model rejects utilisation > 1.
struct AbortError : std::runtime_error {
    using std::runtime_error::runtime_error;
};

} // namespace foreshade::cloudsim
