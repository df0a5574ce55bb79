// CloudSim's consolidation at a control step: which VMs go where.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "cloudsim/tentative.hpp"

namespace foreshade::cloudsim {

class Optimiser {
  public:
    Optimiser(const Cluster& cluster, const History& history);

    // The ordered moves of one control step; the cluster is not changed, and no VM may be under way. A VM that was
    // put on a host which is then drained has two. Throws AbortError where CloudSim itself would end.
    const std::vector<Move>& moves(Policy policy, double parameter, double time_s);

  private:
    // Where a VM was put, and what the host offered before.
    struct Placed {
        std::size_t target;
        Offer before;
    };

    struct Ranked {
        double request;
        std::size_t place;
        std::int32_t vm;
    };

    static constexpr std::size_t kNone = static_cast<std::size_t>(-1);

    void find_overloaded();
    void relieve_overloaded();
    void rehouse();
    void drain();
    bool empty_host(std::size_t h);
    std::size_t find(const Guest& guest);
    bool accepts(Offer& offer, const Guest& guest);
    void refuse_overfull(const Guest& guest, std::size_t n_open);
    std::size_t find_with_idle(const Guest& guest);
    void skip_busy(std::size_t& host) const;
    void sort_by_request(std::vector<std::int32_t>& vms);

    const Cluster& cluster_;
    Tentative tentative_;
    double time_s_ = 0;
    std::vector<Move> moves_;
    HostSet overloaded_;
    HostSet kept_;                       // not to be drained: took VMs of a drained host
    std::vector<std::int32_t> homeless_; // VMs taken off overloaded hosts
    std::vector<Offer> targets_;         // hosts that may take VMs, in host order
    std::vector<std::uint32_t> sources_; // hosts to drain, in order
    std::vector<std::int32_t> leaving_;  // VMs of the host being drained
    std::vector<Placed> placed_;
    std::vector<Ranked> ranked_;
    std::vector<double> rises_;                          // W, of those targets
    std::vector<std::uint32_t> open_;                    // targets that may take the VM at hand
    std::array<std::size_t, kHostModels.size()> idle_{}; // first idle host of each model that is no target yet
    double least_rise_ = 0;                              // W, of what `find` found
};

} // namespace foreshade::cloudsim
