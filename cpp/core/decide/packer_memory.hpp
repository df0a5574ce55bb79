// What VMs are expected to want, and the room to keep for those that come: learnt once for all packers of a tick.
#pragma once

#include <optional>

#include "core/cluster_state.hpp"
#include "core/decide/headroom.hpp"
#include "core/demand_window.hpp"

namespace foreshade {

// What packers remember from tick to tick; several may share one.
class PackerMemory {
  public:
    // Throws std::invalid_argument on a window without ticks or a tick without length.
    PackerMemory(const WindowKnobs& window, float tick_s);

    void reset();

    // Its window watches VMs' sizes from now on.
    void look_for(const SizeWatch& watch) {
        watch_ = watch;
        if (window_) window_->look_for(watch);
    }

    // Takes the tick's sample in; once a tick.
    void observe(const ClusterState& state, const Changed& changed = {});

    bool seen() const { return seen_; } // since the reset
    const DemandWindow& window() const { return *window_; }
    const Headroom& headroom() const { return headroom_; }

  private:
    WindowKnobs knobs_;
    float tick_s_;
    bool seen_ = false;
    std::optional<SizeWatch> watch_;
    std::optional<DemandWindow> window_; // from the first state, which tells the number of VMs
    Headroom headroom_;
};

} // namespace foreshade
