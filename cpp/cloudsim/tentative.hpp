// Hosts as the optimisation sees them: with the VMs that it has put there so far, which are not moved yet.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "cloudsim/cluster.hpp"
#include "cloudsim/history.hpp"
#include "cloudsim/host_set.hpp"
#include "cloudsim/overload.hpp"

namespace foreshade::cloudsim {

// What the search reads of a host.
struct Offer {
    double fitting;   // MIPS, the largest request that it can take: of what is left, and of one PE
    double room;      // a guest of more weight would certainly overload it
    double used;      // MIPS that its VMs get
    double power_w;   // P at this step's accounting: frozen while VMs come
    double available; // MIPS left
    double requested; // MIPS, uncapped
    double trend;     // MIPS, sum of the VMs' trends: decides local regression unless within rounding of 1
    double spread;    // IQR or MAD of its history; negative = not computed
    std::uint32_t host;
    std::uint32_t length; // of its history
    bool held;            // its history stands in `held_`
};

// The VM that a host is sought for.
struct Guest {
    std::size_t vm;
    double request; // MIPS
    double trend;   // MIPS
    double range;   // MIPS, largest less smallest of its history
    double weight;  // MIPS, what it takes of a host's room: as the policy measures it
    std::uint32_t length;

    // False where the host certainly cannot take it; one comparison each, for most hosts fail.
    bool may_fit(const Offer& offer) const {
        const unsigned fits = offer.fitting >= request ? 1U : 0U;
        const unsigned has_room = weight <= offer.room ? 1U : 0U;
        const unsigned longer = length > offer.length ? 1U : 0U; // then `room` says nothing
        return (fits & (has_room | longer)) != 0;
    }
};

class Tentative {
  public:
    Tentative(const Cluster& cluster, const History& history);

    // Takes up the cluster as it stands at a control step.
    void reset(Policy policy, double parameter);

    Guest guest(std::size_t vm) const;

    const std::vector<std::int32_t>& list(std::size_t h) const { return lists_[h]; }
    Offer& offer(std::size_t h) { return offers_[h]; } // as it was before B and C

    // Whether the host is overloaded with the VMs of its tentative list; may fill in the offer's `spread` and `room`.
    bool overloaded(Offer& offer) { return overloaded(offer, nullptr); }

    // Whether it were with `guest` appended.
    bool overloaded_with(Offer& offer, const Guest& guest) { return overloaded(offer, &guest); }

    // Takes the VM at `index` off the host's list and evaluates the rest; its `available` and `used` grow stale.
    void remove(std::size_t h, std::size_t index);

    // Appends a VM that fits: sums run in list order, so adding it is evaluating the list anew.
    void append(Offer& offer, const Guest& guest);

    // Takes the last VM off again and restores the offer.
    void undo(Offer& offer, const Offer& before);

  private:
    bool overloaded(Offer& offer, const Guest* guest);
    bool above_spread(Offer& offer, const Guest* guest, double utilisation);
    bool trend_reaches_one(std::size_t h, const Guest* guest) const;
    void add_history(std::size_t vm, double capacity, std::size_t n, double* sum) const;
    void hold(Offer& offer);
    double spread(const double* history, std::size_t length) const;
    void set_room(Offer& offer) const;
    Offer idle_offer(std::size_t h) const;
    bool uses_spread() const { return policy_ == Policy::iqr || policy_ == Policy::mad; }
    bool uses_trend() const { return policy_ == Policy::lr || policy_ == Policy::lrr; }

    const Cluster& cluster_;
    const History& history_;
    Policy policy_ = Policy::none;
    double parameter_ = 0;
    HostSet filled_;                                 // hosts with a list
    std::vector<Offer> offers_;                      // (n_hosts,)
    std::vector<std::vector<std::int32_t>> lists_;   // (n_hosts,)
    std::vector<std::array<double, kHistory>> held_; // (n_hosts,) history, newest first
    std::vector<double> trend_;                      // (n_vms,) MIPS
    std::vector<double> range_;                      // (n_vms,) MIPS
};

} // namespace foreshade::cloudsim
