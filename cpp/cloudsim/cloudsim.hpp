// CloudSim 3.0.3's PlanetLab power benchmark, bit for bit, in steps that any agent can drive.
//
//     CloudSim day(percent, n_vms, {});
//     for (day.advance(); !day.done(); day.advance()) day.migrate(day.optimise(Policy::lr, 1.2));
//     day.metrics();
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "cloudsim/cluster.hpp"
#include "cloudsim/demand.hpp"
#include "cloudsim/history.hpp"
#include "cloudsim/metrics.hpp"
#include "cloudsim/optimiser.hpp"
#include "cloudsim/placement.hpp"
#include "core/cluster_state.hpp"

namespace foreshade::cloudsim {

struct Options {
    std::size_t n_hosts = 800;
    bool keep_zero = false;  // false: a VM that asks for exactly 0 is removed for good, as CloudSim does (issue 159)
    bool full_power = false; // every host draws P(1) all day: NPA
    Placement placement = Placement::power_aware;
};

class CloudSim {
  public:
    // `percent`: row-major (n_vms, 288), VMs in the order of their upper-cased names. The VMs are placed, the clock
    // stands at 0. Throws InputError.
    CloudSim(std::span<const std::int32_t> percent, std::size_t n_vms, const Options& options);
    CloudSim(const CloudSim&) = delete;
    CloudSim& operator=(const CloudSim&) = delete;

    // Runs to just after the accounting of the next control step, ending migrations on the way; after the last
    // step it ends those and the day is done. Throws MoveError when the day is done.
    void advance();

    bool done() const { return done_; }
    double time_s() const { return time_s_; }
    std::size_t step() const { return step_; } // control steps so far; 0 before the first
    std::size_t n_hosts() const { return cluster_.n_hosts(); }
    std::size_t n_vms() const { return cluster_.n_vms(); }

    // The moves that a policy of CloudSim's makes of this control step, none of them started. Throws MoveError where
    // migrations are under way already, InputError for a parameter, AbortError.
    const std::vector<Move>& optimise(Policy policy, double parameter);

    // Starts moves, in order. A VM may have two at one step, to two hosts, as CloudSim's own have: it is then counted
    // and copied twice and ends on the second. Throws MoveError for the first that cannot be, and starts none.
    void migrate(std::span<const Move> moves);

    // The rest of the day under one of CloudSim's policies.
    void run(Policy policy, double parameter);

    // Of what has been accounted so far.
    Metrics metrics() const { return ledger_.metrics(cluster_); }
    const Series& series() const { return series_; }

    // Refills `state` with what an operator can know now.
    void observe(ClusterState& state) const;

  private:
    void account(double time_s, bool control_step);
    void land_all();
    void land(const Move& flight);
    void remove_idle_vms();
    void record();
    std::string refusal(const Move& move) const;
    void start(const Move& move);
    void take_back();
    void share_touched();

    Options options_;
    Demand demand_;
    Cluster cluster_;
    History history_;
    Optimiser optimiser_;
    Ledger ledger_;
    Series series_;
    double control_s_ = 0; // time of the last control step
    double time_s_ = 0;
    std::size_t step_ = 0;
    bool done_ = false;
    std::vector<Move> flights_;         // migrations under way, in start order
    std::vector<double> utilisation_;   // (n_vms,) of the VM's own rating
    std::vector<double> arrived_s_;     // (n_vms,) when its last migration ended, < 0 = never
    std::vector<std::int32_t> present_; // VMs that were not removed, ascending
    HostSet touched_;                   // hosts whose lists changed
};

} // namespace foreshade::cloudsim
