// Which hosts should stand: the set that bears the load for least, racks' own power included.
//
// Fluid: the load is spread over the hosts that stand by their capacity, and what is promised must fit in sum. Racks
// are chosen together, since one host alone never saves its rack: all combinations of a few, one after the other of
// many.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "core/cluster_state.hpp"
#include "core/expected_cost.hpp"

namespace foreshade {

struct StandingSite {
    std::span<const std::uint8_t> usable; // (n_hosts,) 1 = on, coming up, or can be woken
    std::span<const std::int32_t> rack;   // (n_hosts,)
    std::span<const float> limit;         // (n_hosts, 5) that may be promised
    std::span<const float> off_usd_h;     // (n_hosts,) while it is off
    std::span<const float> rack_usd_h;    // (n_racks,) while any of its hosts stands
};

struct StandingNeed {
    Amounts promised{}; // allocations, the hypervisor's memory and the room that is kept free
    Load demand;        // of all VMs
};

class Standing {
  public:
    // Reads `cost`'s hosts; throws std::invalid_argument on columns of another length.
    Standing(const ExpectedCost& cost, const StandingSite& site);

    // (n_hosts,) 1 = should stand; all that are usable where not even they are enough.
    std::vector<std::uint8_t> choose(const StandingNeed& need);

    // USD/h of the whole site, and memory that may still be promised, MiB.
    float usd_h(std::span<const std::uint8_t> stands, const StandingNeed& need);
    float free_mib(std::span<const std::uint8_t> stands, const StandingNeed& need) const;

  private:
    bool enough(std::span<const std::uint8_t> stands, const StandingNeed& need) const;
    float drop_hosts(std::vector<std::uint8_t>& stands, const StandingNeed& need);

    const ExpectedCost& cost_;
    StandingSite site_;
    HostSet hosts_;
    std::vector<float> now_;
    std::vector<std::uint8_t> rack_up_;
};

} // namespace foreshade
