// Room that is kept free: for the VMs that come, and for those of a host that fails.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "core/cluster_state.hpp"

namespace foreshade {

// What must find a place at once.
struct FreeRoom {
    Amounts sample{};          // a large arrival
    std::size_t count = 0;     // how many such
    double failover_mib = 0.0; // memory of the fullest host, 0 where failures cost less than keeping it free
};

// Learns what comes from what came; what a failure costs is handed in.
class Headroom {
  public:
    explicit Headroom(float tick_s);

    void reset();

    // Remembers the VMs that are new in this tick; once a tick. Throws std::invalid_argument where the number of VMs
    // has changed since the reset.
    void observe(const ClusterState& state, const Changed& changed = {});

    // What to keep free from now on: `arrivals` times the most that came in one tick, `failover` times the memory of
    // the fullest host. `outage_usd` (n_hosts,): what the failure of each host would cost if nothing had room for its
    // VMs; `on_usd_h` (n_hosts,): what keeping it on costs.
    FreeRoom needed(const ClusterState& state, double arrivals, double failover, std::span<const double> outage_usd,
                    std::span<const float> on_usd_h) const;

  private:
    bool comes(const ClusterState& state, std::size_t v);
    void look();

    std::size_t remembered_ticks_;
    std::vector<Amounts> came_;       // allocations of what came, the oldest first
    std::vector<std::size_t> counts_; // of came_ by tick, a ring
    std::vector<float> column_;
    std::vector<std::uint8_t> known_; // (n_vms,) 1 = was there in the last tick
    std::size_t observed_ = 0, most_ = 0;
    Amounts sample_{};
};

} // namespace foreshade
