#include "core/decide/packer_knobs.hpp"

#include <cmath>
#include <stdexcept>
#include <string>

namespace foreshade {

void PackerKnobs::check() const {
    const auto positive = [](const char* name, double x) {
        if (!(x > 0.0) || !std::isfinite(x))
            throw std::invalid_argument(std::string("packer: ") + name + ": expected a positive number, got " +
                                        std::to_string(x));
    };
    const auto not_negative = [](const char* name, double x) {
        if (!(x >= 0.0) || !std::isfinite(x))
            throw std::invalid_argument(std::string("packer: ") + name + ": expected 0 or more, got " +
                                        std::to_string(x));
    };
    positive("window.ticks", static_cast<double>(window.ticks));
    positive("horizon_ticks", static_cast<double>(horizon_ticks));
    positive("drain_ticks", static_cast<double>(drain_ticks));
    positive("target", target);
    positive("relief", relief);
    positive("sigma_scale", sigma_scale);
    not_negative("margin_usd", margin_usd);
    not_negative("boot_weight", boot_weight);
    not_negative("move_weight", move_weight);
    not_negative("acute_weight", acute_weight);
    not_negative("acute_uneven", acute_uneven);
    not_negative("kin", kin);
    not_negative("reserve", reserve);
    not_negative("failover", failover);
    not_negative("grace_s", grace_s);
    not_negative("hazard_per_h", hazard_per_h);
    not_negative("rack_credit", rack_credit);
    not_negative("z", z);
}

} // namespace foreshade
